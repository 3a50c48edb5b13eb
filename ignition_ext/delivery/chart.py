"""The report's chart: an SVG with a background of its own, so that dark pages show it too."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ignition_ext.delivery.page import environment
from ignition_ext.delivery.progress import ORDER
from ignition_ext.values import MessageState

WIDTH = 640
BAR_ROOM = 380
"""Pixels that the longest bar takes; the number stands behind it."""
COLOURS = {
    MessageState.SENT: "#2da44e",
    MessageState.DELIVERED: "#1a7f37",
    MessageState.FAILED: "#cf222e",
    MessageState.BOUNCED: "#a40e26",
    MessageState.COMPLAINED: "#82071e",
    MessageState.SUPPRESSED: "#8c959f",
    MessageState.UNCERTAIN: "#bf8700",
    MessageState.CANCELLED: "#6e7781",
    MessageState.EXPIRED: "#57606a",
    MessageState.DEFERRED: "#d4a72c",
}
OPEN_COLOUR = "#54aeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Messages sent in equal slices of the run's time.

    Attributes:
        slices: how many were sent in each.
        slice_seconds: how long each is.
        begin, end: the axis' labels.
    """

    slices: Sequence[int]
    slice_seconds: float
    begin: str
    end: str


def chart_svg(title: str, counts: Mapping[MessageState, int], pace: Pace | None) -> str:
    """A bar for each state that has messages, and the rate of sending over time."""
    present = [(state, counts[state]) for state in ORDER if counts.get(state)]
    most = max((count for _, count in present), default=1)
    bars = [
        {
            "y": 48 + 28 * index,
            "label": state.value,
            "text": f"{count:,}",
            "width": max(2, round(BAR_ROOM * count / most)),
            "colour": COLOURS.get(state, OPEN_COLOUR),
        }
        for index, (state, count) in enumerate(present)
    ]
    below = 60 + 28 * len(present)
    line = _line(pace, below + 24) if pace and any(pace.slices) else None
    return (
        environment()
        .get_template("chart.svg.j2")
        .render(width=WIDTH, height=below + (150 if line else 0), title=title, bars=bars, line=line)
    )


def data_uri(svg: str) -> str:
    """The image as Markdown can hold it; Prefect's UI strips inline ``<svg>``."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _line(pace: Pace, top: int) -> dict[str, Any]:
    bottom, left, right = top + 90, 20, WIDTH - 20
    rates = [count / pace.slice_seconds for count in pace.slices]
    step = (right - left) / max(1, len(rates) - 1)
    points = [
        f"{left + step * index:.1f},{bottom - 80 * rate / max(rates):.1f}"
        for index, rate in enumerate(rates)
    ]
    if len(points) == 1:
        points.append(f"{right},{points[0].partition(',')[2]}")
    return {
        "top": top,
        "bottom": bottom,
        "title": f"messages per second, at most {max(rates):,.0f}",
        "points": " ".join(points),
        "area": " ".join([f"{left},{bottom}", *points, f"{right},{bottom}"]),
        "begin": pace.begin,
        "end": pace.end,
    }
