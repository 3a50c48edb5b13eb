"""What a benchmark says at the end: medians over its rounds, as a document or as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Document = dict[str, Any]
WHAT, RATE, RATIO = "sender", "messages/s", "ignition is"
CPU, MEMORY = "CPU s/10,000", "peak RSS, MB"
COLUMNS = (WHAT, RATE, RATIO, CPU, MEMORY)
SHOWN = frozenset({"rate", "cpu_seconds_per_10k", "peak_rss_mb", "peers", "ratios", "sink_rate"})
"""Keys of the document that stand in the table."""
_DIGITS = 2
_WHOLE_ABOVE = 100.0
"""Rates are counted in whole messages; a fraction would only look exact."""


def rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    """A figure without digits that mean nothing."""
    if value is None:
        return None
    return round(value) if value >= _WHOLE_ABOVE else round(value, digits)


def middle(rounds: Sequence[Document], key: str) -> float | None:
    """The median of one figure; None where any round has none."""
    values = [one[key] for one in rounds]
    return None if None in values else median(values)


def summary(rounds: Sequence[Document], keys: Sequence[str], shared: Document) -> Document:
    """One document for all rounds: rate, processor, memory, peers, then the rest.

    Args:
        rounds: each with ``messages``, ``seconds``, ``cpu_seconds``, ``peak_rss_mb`` and ``peers``.
        keys: further figures of which the median is wanted.
        shared: what is the same in every round.
    """
    rates = [one["messages"] / one["seconds"] for one in rounds]
    costs = [one["cpu_seconds"] / one["messages"] * 10_000 for one in rounds]
    peers = {name: middle([one["peers"] for one in rounds], name) for name in rounds[0]["peers"]}
    rate = median(rates)
    return {
        "rate": rounded(rate),
        "cpu_seconds_per_10k": round(median(costs), 3),
        "peak_rss_mb": round(max(one["peak_rss_mb"] for one in rounds), 1),
        "peers": {name: rounded(value) for name, value in peers.items()},
        "ratios": {
            name: None if value is None else round(rate / value, 3) for name, value in peers.items()
        },
        **{key: rounded(middle(rounds, key), 3) for key in keys},
        "messages": rounds[0]["messages"],
        "seconds": round(median([one["seconds"] for one in rounds]), 6),
        **shared,
        "rounds": [round(rate, 1) for rate in rates],
    }


def table(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Rows for people: us, the server by itself and each peer, with how they compare."""
    rows: list[dict[str, Any]] = [
        {
            WHAT: "ignition",
            RATE: document["rate"],
            CPU: document["cpu_seconds_per_10k"],
            MEMORY: document["peak_rss_mb"],
        }
    ]
    rows += [
        {
            WHAT: name,
            RATE: "not measured" if rate is None else rate,
            RATIO: "" if rate is None else f"{document['ratios'][name]} ×",
        }
        for name, rate in document["peers"].items()
    ]
    if document.get("sink_rate"):
        share = document["rate"] * document.get("segments", 1) / document["sink_rate"]
        rows.append(
            {
                WHAT: "sink by itself",
                RATE: document["sink_rate"],
                RATIO: f"{share:.3f} ×",
            }
        )
    return rows
