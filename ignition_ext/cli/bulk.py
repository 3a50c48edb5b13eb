"""What commands share that may be for many campaigns: their options and how they tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, NoReturn

from cyclopts import Parameter

from ignition_ext.campaigns.selection import Selection
from ignition_ext.cli.output import err, note, print_json
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration.operations import Item

Json = Annotated[bool, Parameter(negative="")]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="")]
WRONG_USAGE = 2


def selected(pattern: str | None, tenant: str | None, tag: str | None) -> Selection:
    """What the options select; ends the command as wrongly used when they select nothing."""
    selection = Selection(pattern=pattern, tenant=tenant, tag=tag)
    if selection.is_empty:
        wrong_usage("give a campaign, a pattern such as 'acme/news-*', --tenant or --tag.")
    return selection


def wrong_usage(message: str) -> NoReturn:
    """End the command as wrongly used.

    Raises:
        SystemExit: always, with code 2.
    """
    err.print(f"Error: {message}", markup=False, soft_wrap=True)
    err.print("Mend: add --help to see what the command takes.", markup=False, soft_wrap=True)
    raise SystemExit(WRONG_USAGE)


def tell_items(items: Sequence[Item], *, json: bool) -> int:
    """Print what became of each; the exit code, 1 if one failed."""
    if json:
        print_json(items)
    else:
        for item in items:
            note(f"{item.subject}: {'' if item.done else 'failed: '}{item.detail}")
    return 0 if all(item.done for item in items) else 1


def moment(text: str | None) -> datetime | None:
    """The time that an operator wrote, in UTC.

    Raises:
        ConfigurationError: it is none, or names no zone: nobody can tell which one is meant.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is not a time.", mend="Write 2026-11-21T07:00:00Z."
        ) from error
    if at.tzinfo is None:
        raise ConfigurationError(
            f"{text!r} has no offset from UTC.", mend=f"Write {text}Z or {text}+01:00."
        )
    return at.astimezone(UTC)
