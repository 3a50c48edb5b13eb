"""Carries an operation out on many things, one by one, and tells of each what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ignition_ext.errors import IgnitionError
from ignition_ext.orchestration.client import api_url, told_plainly

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What an operation did with one thing.

    Attributes:
        subject: ``tenant/name``, or a run's id.
        done: False where it failed; the others are carried out all the same.
        detail: what was done, would be done, or went wrong.
    """

    subject: str
    done: bool
    detail: str


async def in_turn(
    things: Sequence[Thing],
    name: Callable[[Thing], str],
    operate: Callable[[Thing], Awaitable[str]],
) -> list[Item]:
    """Operate on each; one that fails does not keep the others from it."""
    items = []
    for thing in things:
        try:
            with told_plainly(api_url()):
                items.append(Item(subject=name(thing), done=True, detail=await operate(thing)))
        except IgnitionError as error:
            items.append(Item(subject=name(thing), done=False, detail=str(error)))
    return items
