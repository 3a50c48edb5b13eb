"""The right to one bind for as long as it is open, as the SMPP transport wants it.

A slot is taken before the bind is opened, renewed while it is open, and given back when it is
closed. Whoever comes too late waits, and says for whom.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.errors import DatabaseError, MustWait

RENEWALS_PER_LEASE = 6
"""A slot is renewed so often within its lease, so that one slow renewal costs nothing."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTimes:
    """How long what takes.

    Attributes:
        lease: after so long a dead holder's slot is free.
        drain: how long a bind may take to close after it was told to; it is told so early that
            it is closed before its lease lapses.
        look: how often those who wait look again.
        patience: how long a sender without any bind waits before it gives its messages back.
    """

    lease: timedelta = timedelta(seconds=60)
    drain: timedelta = timedelta(seconds=20)
    look: timedelta = timedelta(seconds=1)
    patience: timedelta = timedelta(seconds=60)

    @property
    def lost_after(self) -> float:
        """Seconds without a renewal after which the bind has to be closed."""
        lease = self.lease.total_seconds()
        return max(lease - self.drain.total_seconds() - lease / RENEWALS_PER_LEASE, lease / 3)


class BindSlots:
    """Makes the context around each bind of one sender.

    Args:
        slots: where they are shared.
        claimant: who wants them.
        on_lost: called when a slot may lapse soon: every bind must be closed within ``drain``.
        tell: called with what a bind waits for, and with an empty text when it waits no more.
    """

    def __init__(
        self,
        slots: Slots,
        claimant: Claimant,
        *,
        on_lost: Callable[[], None],
        tell: Callable[[str], None],
        times: SlotTimes | None = None,
    ) -> None:
        self._slots, self._claimant = slots, claimant
        self._on_lost, self._tell = on_lost, tell
        self._times = times or SlotTimes()
        self._held = 0

    def __call__(self) -> AbstractAsyncContextManager[object]:
        """The context around one bind.

        Raises:
            MustWait: on entering, when others kept all binds for longer than ``patience`` and
                this sender has none.
        """
        return self._slot()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        holder = await self._wait_for_slot()
        self._held += 1
        keeper = asyncio.create_task(self._keep(holder), name="bind-slot")
        try:
            yield
        finally:
            self._held -= 1
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await self._leave(holder)

    async def _wait_for_slot(self) -> UUID:
        began, said = time.monotonic(), ""
        while True:
            found = await self._try()
            if isinstance(found, UUID):
                if said:
                    self._tell("")
                return found
            if said != found:
                said = found
                self._tell(said)
                _log.info("%s", said)
            waited = time.monotonic() - began
            if not self._held and waited > self._times.patience.total_seconds():
                raise MustWait(
                    f"{said}.",
                    retry_after=self._times.patience,
                    mend="It goes on by itself when one is free.",
                )
            # Jitter, so that those who wait do not all ask at the same moment.
            await asyncio.sleep(self._times.look.total_seconds() * random.uniform(0.5, 1))  # noqa: S311  no secret

    async def _try(self) -> UUID | str:
        """A slot, or what is to be said; a cancelled call leaves no slot behind."""
        claimant = self._claimant
        taking = asyncio.create_task(self._slots.take(claimant, self._times.lease))
        try:
            found = await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(DatabaseError):
                if isinstance(late := await taking, UUID):
                    await self._slots.leave(claimant.account, late)
            raise
        except DatabaseError as error:
            return f"waits for a bind of {claimant.account}: {error.message}"
        if isinstance(found, UUID):
            return found
        owners = ", ".join(found)
        return (
            f"waits for a bind of {claimant.account}:"
            f" {len(found)} of {claimant.allowed} in use by {owners}"
        )

    async def _keep(self, holder: UUID) -> None:
        lease = self._times.lease
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(lease.total_seconds() / RENEWALS_PER_LEASE)
            asked = time.monotonic()
            try:
                left = renewed + self._times.lost_after - asked
                async with asyncio.timeout(max(left, 0)):
                    is_ours = await self._slots.renew(self._claimant.account, holder, lease)
            except (DatabaseError, TimeoutError) as error:
                _log.warning("the bind slot was not renewed: %s", error)
                is_ours = time.monotonic() - renewed < self._times.lost_after
            else:
                renewed = asked
            if not is_ours:
                _log.error("the slot of a bind to %s may lapse", self._claimant.account)
                self._on_lost()
                return

    async def _leave(self, holder: UUID) -> None:
        try:
            await asyncio.shield(self._slots.leave(self._claimant.account, holder))
        except DatabaseError as error:
            _log.warning("a bind slot was not given back, it lapses: %s", error)
