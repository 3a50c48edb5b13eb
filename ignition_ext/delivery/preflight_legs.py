"""The pre-flights of a campaign's channels as one: whether a run begins, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignition_ext.delivery.preflight import Preflight
from ignition_ext.delivery.preflight_report import preflight_document, preflight_markdown
from ignition_ext.errors import ConfigurationError


def would_run(legs: Sequence[Preflight]) -> bool:
    """Whether nothing keeps a run with these legs from beginning."""
    return all(leg.would_run for leg in legs) and any(leg.found.messages for leg in legs)


def require_all(legs: Sequence[Preflight]) -> None:
    """Refuse a run of which a leg should not begin, or that has nobody to write to by any.

    Raises:
        ConfigurationError: with every error of the first such leg, and what to mend.
    """
    for leg in legs:
        leg.require()
    if not would_run(legs):
        raise ConfigurationError(
            f"the audience of {legs[0].reference} has nobody to write to:"
            f" {legs[0].found.recipients} recipients.",
            mend="Look at the audience (ignition audience list) and at `where`.",
        )


def legs_document(legs: Sequence[Preflight]) -> dict[str, Any]:
    """What ``ignition campaign check --json`` prints: with two channels each in ``legs``."""
    if len(legs) == 1:
        return preflight_document(legs[0])
    lead = legs[0]
    return {
        "campaign": lead.reference,
        "version": lead.version,
        "template": lead.template,
        "limit": lead.limit,
        "would_run": would_run(legs),
        "legs": [preflight_document(leg) for leg in legs],
    }


def legs_markdown(legs: Sequence[Preflight]) -> str:
    """The pages of a dry run, one after the other."""
    return "\n\n".join(preflight_markdown(leg) for leg in legs)
