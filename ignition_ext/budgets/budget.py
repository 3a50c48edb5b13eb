"""A process' share of the rates: purses that are filled in the background, many at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from ignition_ext.budgets.purse import Purse
from ignition_ext.budgets.rate import Grant, Limit, Want
from ignition_ext.errors import DatabaseError

AGAIN_SECONDS = 1.0
"""Pause while the database is away; nothing is sent without a place meanwhile."""
MOST_PURSES = 20_000
"""Above it those that hold nothing are forgotten: memory stays bounded with any number of
domains."""
_log = logging.getLogger(__name__)


class Asked(Protocol):
    """Gives out places: :class:`~ignition_ext.budgets.lines.Lines`."""

    async def take(self, wants: Sequence[Want]) -> dict[str, Grant]:
        """Answer each want."""
        ...


class Budget:
    """What one sender may send; used as an async context manager, which gives the rest back.

    Args:
        lines: the shared lines.
        clock: monotonic seconds; no time of this node means anything elsewhere.
    """

    def __init__(self, lines: Asked, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines, self.clock = lines, clock
        self._purses: dict[str, Purse] = {}
        self._asking: dict[str, Purse] = {}
        self._asked = asyncio.Event()
        self._listeners: list[Callable[[Sequence[Purse]], None]] = []
        self._filler: asyncio.Task[None] | None = None
        self._is_closing = False

    async def __aenter__(self) -> Self:
        self._filler = asyncio.create_task(self._fill(), name="budget")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._filler is not None
        self._is_closing = True
        self._asked.set()
        await self._filler
        now = self.clock()
        wants = [
            Want(limit=purse.limit, count=0, back=back)
            for purse in self._purses.values()
            if (back := purse.empty(now))
        ]
        try:
            if wants:
                await self._lines.take(wants)
        except DatabaseError as failure:
            # They pass unused, a second's worth at most.
            _log.warning("unused places of %d rates were not given back: %s", len(wants), failure)

    def purse(self, limit: Limit, *, patience: float = math.inf, exact: bool = False) -> Purse:
        """The purse of a line; the same one for the same key."""
        purse = self._purses.get(limit.key)
        if purse is None:
            if len(self._purses) >= MOST_PURSES:
                self._purses = {k: one for k, one in self._purses.items() if not one.idle}
            purse = self._purses[limit.key] = Purse(limit, patience=patience, exact=exact)
        return purse

    def ask(self, purse: Purse) -> None:
        """See to it that the purse is filled."""
        self._asking[purse.limit.key] = purse
        self._asked.set()

    def listen(self, listener: Callable[[Sequence[Purse]], None]) -> None:
        """Call ``listener`` with the purses that were answered, each time some were."""
        self._listeners.append(listener)

    def spend(self, purse: Purse) -> float:
        """Use a place of the purse; returns 0, or the seconds to wait, infinite when unknown."""
        now = self.clock()
        wait = purse.take(now)
        if purse.want(now):
            self.ask(purse)
        return wait

    async def take(self, *limits: Limit, count: int = 1) -> None:
        """Wait until ``count`` places of each of these rates are ours, and use them."""
        answered = asyncio.Event()

        def listener(_: Sequence[Purse]) -> None:
            answered.set()

        self.listen(listener)
        try:
            for limit in limits:
                purse = self.purse(limit)
                for _ in range(count):
                    while (wait := self.spend(purse)) > 0:
                        answered.clear()
                        with suppress(TimeoutError):
                            await asyncio.wait_for(
                                answered.wait(), None if wait == math.inf else wait
                            )
        finally:
            self._listeners.remove(listener)

    async def _fill(self) -> None:
        while True:
            await self._asked.wait()
            if self._is_closing:
                return
            self._asked.clear()
            asking, self._asking = self._asking, {}
            now = self.clock()
            wants = [
                Want(limit=purse.limit, count=count, patience=purse.patience)
                for purse in asking.values()
                if (count := purse.want(now))
            ]
            if not wants:
                continue
            try:
                granted = await self._lines.take(wants)
            except DatabaseError as error:
                _log.warning("no places of %d rates, again in a moment: %s", len(wants), error)
                self._asking = asking | self._asking
                await asyncio.sleep(AGAIN_SECONDS)
                self._asked.set()
                continue
            now = self.clock()
            for key, grant in granted.items():
                asking[key].granted(grant, now)
            for listener in self._listeners:
                listener([asking[key] for key in granted])
