"""Which campaigns come after which: what a campaign file says under ``after``, and the graph of it.

Pure: the graph is handed in. ``campaigns/chain_store.py`` keeps what has happened so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, assert_never

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ignition_ext.campaigns.duration import Duration
from ignition_ext.campaigns.parameters import REFERENCE

MAX_PARENTS = 20
"""A join of more is a slip of the pen; each parent's end locks the campaigns that follow it."""


class RunEnd(StrEnum):
    """How a run ended, as what comes after it sees it; a crashed one failed."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class On(StrEnum):
    """Which end of a parent lets a campaign go."""

    COMPLETED = "completed"
    FAILED = "failed"
    ANY = "any"

    def holds(self, end: RunEnd) -> bool:
        """Whether a run that ended so is what was waited for."""
        match self:
            case On.COMPLETED:
                return end is RunEnd.COMPLETED
            case On.FAILED:
                return end is RunEnd.FAILED
            case On.ANY:
                return True
            case _:
                assert_never(self)


class ParentSpec(BaseModel):
    """One campaign that has to end before this one begins.

    Attributes:
        campaign: ``tenant/name``.
        on: the end that is waited for.
        delay: how long after it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign: str = Field(pattern=REFERENCE)
    on: On = On.COMPLETED
    delay: Duration | None = None

    @property
    def wait(self) -> timedelta:
        """How long after the parent's end."""
        return self.delay or timedelta(0)


def _spelt_out(value: Any) -> Any:
    return {"campaign": value} if isinstance(value, str) else value


Parent = Annotated[ParentSpec, BeforeValidator(_spelt_out)]
"""``acme/first`` is short for ``{campaign: acme/first}``."""

Graph = Mapping[str, Sequence[ParentSpec]]
"""What each campaign comes after, by ``tenant/name``."""


def find_cycle(graph: Graph, start: str) -> list[str]:
    """The way from a campaign back to itself, in the order of running; empty without one."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for parent in graph.get(name, ()):
            if parent.campaign == start:
                return _way_back(came_from, start, name)
            if parent.campaign not in came_from:
                came_from[parent.campaign] = name
                waiting.append(parent.campaign)
    return []


def _way_back(came_from: Mapping[str, str], start: str, last: str) -> list[str]:
    path = [start, last]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path


def ancestors(graph: Graph, name: str) -> frozenset[str]:
    """Every campaign that the named one comes after, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for parent in graph.get(waiting.pop(), ()):
            if parent.campaign not in found:
                found.add(parent.campaign)
                waiting.append(parent.campaign)
    return frozenset(found)


def starts_all_of(graph: Graph, root: str, child: str) -> bool:
    """Whether each parent of ``child`` is ``root`` itself or comes after it.

    Then a run of ``root`` makes one run of each parent, and only these belong together.
    """
    return all(
        parent.campaign == root or root in ancestors(graph, parent.campaign)
        for parent in graph.get(child, ())
    )


def in_order(graph: Graph, names: Iterable[str]) -> list[str]:
    """The names, each behind those that it comes after; otherwise in their own order."""
    wanted = list(names)
    among = frozenset(wanted)
    # More of the others stand above a campaign than above any that stands above it.
    return sorted(wanted, key=lambda name: len(ancestors(graph, name) & among))


__all__ = [
    "MAX_PARENTS",
    "Graph",
    "On",
    "Parent",
    "ParentSpec",
    "RunEnd",
    "ancestors",
    "find_cycle",
    "in_order",
    "starts_all_of",
]
