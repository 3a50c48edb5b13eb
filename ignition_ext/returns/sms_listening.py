"""Listens for receipts and texts outside runs: as a service, or until the SMSC has no more.

One listener an account: who comes second waits for the first one's lease to end. Its bind counts
among those that the account allows, like a sender's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from ignition_ext.budgets.bind import BindSlots, SlotTimes
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.channels.smpp.listening import SmppListener
from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError, IgnitionError, MustWait
from ignition_ext.ledger import open_ledger
from ignition_ext.returns.sms_inbox import SmsInbox
from ignition_ext.returns.sms_receipts import receipts_into
from ignition_ext.returns.sms_replies import Replies
from ignition_ext.settings import Settings

logger = logging.getLogger(__name__)
Tell = Callable[[str], None]

SWEEP_SECONDS, MATCH_SECONDS = 60.0, 3600.0
"""Between two looks for parts and answers that wait too long; for receipts whose message can be
found now. Those are looked for under the lock that senders need to store what they sent."""
AWAY_SECONDS = 2.0
"""Between two tries while the database is away."""
LEASES_A_DRAIN = 3
"""A bind's lease is at least so many drains long: one to notice, one to drain, one to spare."""
_LOOK_SECONDS = 0.25
"""How often a listener that ends by itself looks whether it is time."""
_ONLY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """How to listen.

    Attributes:
        tenant_id: whose incoming texts are; None where routes decide.
        seconds: how long at most, from the start; None for ever.
        quiet: end when a bind stood and nothing came for so many seconds; None to stay.
        waits: whether to wait for others who listen or use up the binds, or to leave it to them.
        times: of the leases.
    """

    tenant_id: int | None = None
    seconds: float | None = None
    quiet: float | None = None
    waits: bool = True
    times: SlotTimes = field(default_factory=SlotTimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came.

    Attributes:
        receipts: stored, repeats included.
        texts: texts and parts of texts stored, repeats included.
        refused: left with the SMSC, because they could not be stored.
        late: receipts from before that found their message now.
        incomplete: texts stored without all their parts.
        left_to: who listens instead; empty when this one did.
        trouble: why there was no bind at all; empty when there was one.
    """

    receipts: int = 0
    texts: int = 0
    refused: int = 0
    late: int = 0
    incomplete: int = 0
    left_to: str = ""
    trouble: str = ""


def slot_times(settings: Settings, *, patience: timedelta | None = None) -> SlotTimes:
    """The leases' times that fit the settings: a bind is closed before its own lapses."""
    drain = timedelta(seconds=settings.drain_seconds)
    lease = max(timedelta(seconds=settings.lease_seconds), drain * LEASES_A_DRAIN)
    times = SlotTimes(lease=lease, drain=drain)
    return times if patience is None else replace(times, patience=patience)


async def listen(
    database: Database, options: SmppOptions, how: Listening, *, stop: asyncio.Event, tell: Tell
) -> Heard:
    """Listen at an account until ``stop`` is set, or as long as ``how`` says.

    What came until then is stored and answered when this returns.

    Raises:
        ChannelError: the SMSC refuses us for good.
        ConfigurationError: it cannot be asked at all.
        DatabaseError: the database is away, and ``how`` does not wait.
    """
    post = _Post(database, options, how, tell)
    while not stop.is_set():
        try:
            if await post.keep(stop):
                break
        except MustWait as error:
            if not how.waits:
                return replace(post.heard(), left_to=error.message, trouble="")
        except DatabaseError as error:
            if not how.waits:
                raise
            tell(f"the database is away, trying again: {error.message}")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AWAY_SECONDS)
    return post.heard()


class _Post:
    """One account, listened at."""

    def __init__(
        self, database: Database, options: SmppOptions, how: Listening, tell: Tell
    ) -> None:
        self._database, self._options, self._how, self._tell = database, options, how, tell
        self._began = asyncio.get_running_loop().time()
        self._ledger = open_ledger(database)
        self._inbox = SmsInbox(
            database,
            alphabet=options.default_alphabet,
            tenant_id=how.tenant_id,
            wake=lambda: self._replies.wake(),
        )
        self._listener = SmppListener(
            options,
            on_receipts=receipts_into(self._ledger),
            on_incoming=self._inbox,
            slot=self._slots(
                options.bind_name,
                options.binds,
                lambda: self._listener.leave(),
                how.times.patience,
            ),
            tell=tell,
            waits=how.waits,
        )
        self._replies = Replies(
            database,
            options.bind_name,
            self._listener.send,
            seconds_a_part=1 / options.rate if options.rate else 0.0,
        )
        self._late = self._incomplete = 0

    def heard(self) -> Heard:
        """What came so far."""
        desk = self._listener.desk
        return Heard(
            receipts=desk.receipts,
            texts=desk.texts,
            refused=desk.refused,
            late=self._late,
            incomplete=self._incomplete,
            trouble=self._listener.trouble,
        )

    async def keep(self, stop: asyncio.Event) -> bool:
        """Listen while nobody else does; False when the place was lost before the end.

        Raises:
            MustWait: another listens, or others have all binds.
        """
        lost, ending = asyncio.Event(), asyncio.Event()
        alone = self._slots(
            f"{self._options.bind_name} listener",
            _ONLY,
            lost.set,
            self._how.times.patience if self._how.waits else timedelta(0),
        )
        async with AsyncExitStack() as place:
            entering = asyncio.ensure_future(place.enter_async_context(alone()))
            if not await _unless(stop, entering):
                return True
            await self._replies.forget_lost()
            helpers = [
                asyncio.create_task(work)
                for work in (self._end_when((stop, lost), ending), self._sweep(), self._answer())
            ]
            try:
                await self._listener.run(ending)
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
        return stop.is_set() or not lost.is_set()

    async def _end_when(self, told: Sequence[asyncio.Event], ending: asyncio.Event) -> None:
        """End the listening: told to, the time over, or nothing comes any more."""
        waiting = [asyncio.ensure_future(event.wait()) for event in told]
        try:
            while not self._is_over():
                done, _ = await asyncio.wait(
                    waiting, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    break
        finally:
            for one in waiting:
                one.cancel()
        ending.set()

    def _is_over(self) -> bool:
        how, now = self._how, asyncio.get_running_loop().time()
        if how.seconds is not None and now - self._began >= how.seconds:
            return True
        bound_at = self._listener.bound_at
        if how.quiet is None or bound_at is None:
            return False
        return now - max(bound_at, self._listener.desk.heard_at) >= how.quiet

    async def _answer(self) -> None:
        if self._listener.can_send:
            await self._replies.run(self._listener.bound)

    async def _sweep(self) -> None:
        """Now and then look for what waits too long."""
        loop, bind = asyncio.get_running_loop(), self._options.bind_name
        id_format, match_at = self._options.receipt_id_format.value, loop.time()
        while True:
            try:
                self._incomplete += await self._inbox.sweep(bind)
                await self._replies.expire()
                if loop.time() >= match_at:
                    match_at = loop.time() + MATCH_SECONDS
                    self._late += await self._ledger.match_waiting(bind, id_format=id_format)
            except IgnitionError as error:
                logger.warning("what waits too long was not looked for: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    def _slots(
        self, account: str, allowed: int, on_lost: Callable[[], None], patience: timedelta
    ) -> BindSlots:
        how = self._how
        return BindSlots(
            Slots(self._database),
            Claimant(
                account=account,
                allowed=allowed,
                owner=f"receipts on {socket.gethostname()} (process {os.getpid()})",
                tenant_id=how.tenant_id,
            ),
            on_lost=on_lost,
            tell=lambda words: self._tell(words) if words else None,
            times=replace(how.times, patience=patience),
        )


async def _unless(stop: asyncio.Event, work: asyncio.Future[Any]) -> bool:
    """Whether the work was done before ``stop`` was set; else it is undone."""
    stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        return work.done()
    finally:
        for one in (work, stopped):
            one.cancel()
        await asyncio.gather(work, stopped, return_exceptions=True)
