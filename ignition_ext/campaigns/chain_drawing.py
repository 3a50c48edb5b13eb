"""Draws which campaigns come after which, as Mermaid or as Graphviz's DOT."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from ignition_ext.campaigns.chain import Graph, On, ParentSpec
from ignition_ext.campaigns.duration import write_duration


class Drawing(StrEnum):
    """How a graph is written."""

    MERMAID = "mermaid"
    DOT = "dot"


def draw(graph: Graph, drawing: Drawing) -> str:
    """The graph as text, campaigns and arrows in a fixed order."""
    names = sorted(graph.keys() | {p.campaign for parents in graph.values() for p in parents})
    match drawing:
        case Drawing.MERMAID:
            return _mermaid(graph, names)
        case Drawing.DOT:
            return _dot(graph, names)
        case _:
            assert_never(drawing)


def around(graph: Graph, name: str) -> Graph:
    """The part of the graph that hangs together with one campaign."""
    beside: dict[str, set[str]] = {}
    for child, parents in graph.items():
        for parent in parents:
            beside.setdefault(child, set()).add(parent.campaign)
            beside.setdefault(parent.campaign, set()).add(child)
    found, waiting = {name}, [name]
    while waiting:
        new = beside.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return {child: graph.get(child, ()) for child in found}


def _words(parent: ParentSpec) -> str:
    condition = "" if parent.on is On.COMPLETED else f"on {parent.on}"
    delay = f"+{write_duration(parent.delay)}" if parent.delay else ""
    return " ".join(filter(None, (condition, delay)))


def _mermaid(graph: Graph, names: Sequence[str]) -> str:
    # A name holds hyphens and a slash; Mermaid's own ids may not.
    ids = {name: f"c{number}" for number, name in enumerate(names)}
    lines = ["flowchart LR", *(f'    {ids[name]}["{name}"]' for name in names)]
    for child in sorted(graph):
        for parent in graph[child]:
            words = _words(parent)
            arrow = f'-->|"{words}"|' if words else "-->"
            lines.append(f"    {ids[parent.campaign]} {arrow} {ids[child]}")
    return "\n".join(lines) + "\n"


def _dot(graph: Graph, names: Sequence[str]) -> str:
    lines = ["digraph campaigns {", "    rankdir=LR;", *(f'    "{name}";' for name in names)]
    for child in sorted(graph):
        for parent in graph[child]:
            words = _words(parent)
            label = f' [label="{words}"]' if words else ""
            lines.append(f'    "{parent.campaign}" -> "{child}"{label};')
    return "\n".join([*lines, "}"]) + "\n"
