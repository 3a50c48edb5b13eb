"""What a run that stopped shows: a page of Markdown, and the question to whoever decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignition_ext.models import RunSteps
from ignition_ext.values import MessageState

_UNSAFE = str.maketrans({"|": "\\|", "\n": " ", "`": "'", "<": "&lt;"})


def stop_markdown(reference: str, steps: RunSteps) -> str:
    """The artifact's page: rates, how the run stands, failures by class, domains."""
    stop: Mapping[str, Any] = steps.stop
    counts = stop.get("counts", {})
    out = sum(counts.get(state.value, 0) for state in (MessageState.SENT, MessageState.DELIVERED))
    lines = [
        f"# {reference} stopped: {_cell(stop.get('reason', ''))}",
        "",
        f"{out} messages are out and well; {_left(steps)} wait for a decision. Nothing is sent"
        " until somebody decides: press **Resume** on the flow run's page, or run"
        f" `ignition campaign approve {steps.run_id} --continue` (or `--cancel`).",
        "",
        *_table("Reached", ("rate", "messages", "of", "limit"), _rates(stop)),
        *_table("Messages", ("state", "messages"), sorted(counts.items())),
        *_table("What went wrong", ("class", "messages"), _most(stop.get("classes", {}))),
        *_table("Where", ("domain", "messages"), _most(stop.get("domains", {}))),
    ]
    return "\n".join(lines)


def question(reference: str, steps: RunSteps) -> str:
    """What the form says above its fields."""
    stop: Mapping[str, Any] = steps.stop
    classes = ", ".join(f"{count} {_cell(name)}" for name, count in _most(stop.get("classes", {})))
    domains = ", ".join(f"{_cell(name)} {count}" for name, count in _most(stop.get("domains", {})))
    lines = [
        f"**{reference}** stopped by itself: {_cell(stop.get('reason', ''))}.",
        "",
        f"- {_left(steps)} messages are not sent yet",
        *([f"- By class: {classes}"] if classes else []),
        *([f"- By domain: {domains}"] if domains else []),
        "",
        "`continue` sends the rest, and from now on only measures what comes later. `cancel` ends"
        " the run; its unsent messages become cancelled.",
    ]
    return "\n".join(lines)


def _left(steps: RunSteps) -> int:
    counts: Mapping[str, int] = steps.stop.get("counts", {})
    waiting = (MessageState.PENDING, MessageState.CLAIMED, MessageState.DEFERRED)
    return sum(counts.get(state.value, 0) for state in waiting)


def _rates(stop: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["name"], one["count"], one["tried"], one["limit"]) for one in stop["rates"]]


def _most(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))


def _table(title: str, names: tuple[str, ...], rows: list[Any]) -> list[str]:
    if not rows:
        return []
    lines = [f"## {title}", "", f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return [*lines, ""]


def _cell(value: object) -> str:
    return str(value).translate(_UNSAFE)
