"""A pre-flight for people and for programs: a page of Markdown, a document for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ignition_ext.costs.sums import cost_words
from ignition_ext.delivery.estimate import Estimate
from ignition_ext.delivery.examine import Examined
from ignition_ext.delivery.page import environment
from ignition_ext.delivery.preflight import Preflight
from ignition_ext.delivery.report import moment, shortened
from ignition_ext.values import Channel


def preflight_document(preflight: Preflight) -> dict[str, Any]:
    """What ``ignition campaign check --json`` prints."""
    found, answer = preflight.found, preflight.answer
    return {
        "campaign": preflight.reference,
        "channel": found.channel.value,
        "version": preflight.version,
        "template": preflight.template,
        "limit": preflight.limit,
        "would_run": preflight.would_run,
        "findings": [
            {"severity": one.severity.value, "text": one.text, "mend": one.mend}
            for one in preflight.findings
        ],
        "counts": _counts(found),
        "content": _content(found),
        "empty": {
            name: {"recipients": count, "rows": found.empty_rows[name]}
            for name, count in found.empty.most_common()
        },
        "problems": [
            {
                "row": one.row,
                "address": one.address,
                "class": one.failure_class.value,
                "reason": one.reason,
            }
            for one in found.problems
        ],
        "server": {
            "server": answer.server,
            "answered": answer.offer is not None,
            "words": answer.words,
        },
        "estimate": _estimate(preflight.estimate),
        "steps": [
            {"step": one.number, "messages": one.messages, "upto": one.upto, "begins": one.begins}
            for one in preflight.steps
        ],
        "cost": None if found.cost is None else found.cost.document,
        "samples": found.samples,
    }


def preflight_markdown(preflight: Preflight) -> str:
    """The page of a dry run; the samples' addresses are shortened, their texts are whole."""
    found, expected = preflight.found, preflight.estimate
    rows = [(COUNTS[name], count) for name, count in _counts(found).items()]
    rows += [(name, count) for name, count in _content_rows(found)]
    return (
        environment()
        .get_template("preflight.md.j2")
        .render(
            preflight=preflight,
            rows=rows,
            takes=takes(expected),
            cost=None if found.cost is None else cost_words(found.cost.document),
            begins=moment(expected.begin),
            ends=moment(expected.end),
            steps=[(one, moment(one.begins)) for one in preflight.steps],
            samples=[{**one, "to": shortened(one["to"])} for one in found.samples],
        )
    )


def takes(expected: Estimate) -> str:
    """``about 1:20:00, at 50 a second (the rate campaign:acme/news)``."""
    if expected.rate is None or expected.end is None:
        return "unknown: no rate is set, and there is no past run to go by"
    seconds = round((expected.end - expected.begin).total_seconds())
    return (
        f"about {timedelta(seconds=max(seconds, 1))}, at {expected.rate:.4g} a second"
        f" ({expected.by})"
    )


COUNTS = {
    "recipients": "Recipients",
    "messages": "Messages that would go out",
    "unrenderable": "Cannot be rendered",
    "unaddressable": "Cannot be addressed",
    "refused": "Would be refused as too long or too large",
    "suppressed": "On the suppression list",
    "duplicates": "Duplicates",
    "skipped": "Without an address for the channel",
    "elsewhere": "Written to by the other channel",
    "rejected": "Rows that are no recipient",
    "partial": "Recipients that lose a wrong field",
}
"""What each count of a pre-flight says."""


def _counts(found: Examined) -> Mapping[str, int]:
    unfit = {kind.value: count for kind, count in found.unfit.items()}
    return {
        "recipients": found.recipients,
        "messages": found.messages,
        "unrenderable": unfit.get("render", 0),
        "unaddressable": unfit.get("address", 0),
        "refused": unfit.get("content", 0),
        "suppressed": found.suppressed,
        "duplicates": found.duplicates,
        "skipped": found.skipped,
        **({} if found.is_alone else {"elsewhere": found.elsewhere}),
        "rejected": found.rejected,
        "partial": found.partial,
    }


def _content(found: Examined) -> dict[str, Any]:
    if found.channel is Channel.EMAIL:
        return {"octets": found.octets, "largest": found.largest}
    return {
        "segments": found.all_segments,
        "by_segments": {str(number): found.segments[number] for number in sorted(found.segments)},
        "encodings": dict(found.encodings.most_common()),
    }


def _content_rows(found: Examined) -> list[tuple[str, int]]:
    if found.channel is Channel.EMAIL:
        return [("Octets of mail", found.octets), ("The largest", found.largest)]
    return [
        ("SMS segments", found.all_segments),
        *((f"… texts of {number}", found.segments[number]) for number in sorted(found.segments)),
        *((f"… texts in {name}", count) for name, count in found.encodings.most_common()),
    ]


def _estimate(expected: Estimate) -> dict[str, Any]:
    seconds = None
    if expected.end is not None:
        seconds = round((expected.end - expected.begin).total_seconds(), 1)
    return {
        "rate": expected.rate,
        "by": expected.by,
        "begin": expected.begin,
        "end": expected.end,
        "seconds": seconds,
        "late": expected.late,
    }
