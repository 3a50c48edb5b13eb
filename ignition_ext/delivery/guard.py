"""Keeps a transport away from a server that does not work, for all runs and nodes together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from ignition_ext.budgets.circuits import Circuits, Door, Noted, OpenCircuit
from ignition_ext.channels.transport import Journal, Transport
from ignition_ext.errors import (
    AuthenticationFailed,
    ChannelError,
    ConnectFailed,
    DatabaseError,
    MustWait,
    Throttled,
)
from ignition_ext.models import CircuitTrouble
from ignition_ext.values import Delivery, MessageId, OutcomeKind

EnvelopeT = TypeVar("EnvelopeT")

AGAIN = timedelta(seconds=5)
"""Between the first failures, before a circuit opens, of a run that is patient."""
_JUDGED = (OutcomeKind.ACCEPTED, OutcomeKind.REJECTED, OutcomeKind.DEFERRED)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChange:
    """A circuit opened (for ``wait``) or closed (None)."""

    key: str
    wait: timedelta | None
    reason: str = ""
    failures: int = 0


class Guard:
    """A run's way past the circuit of its server.

    Args:
        circuits: shared by all.
        door: the server and its login.
        patience: how long a run waits for a server that does not work before it fails; none at
            all by default.
        tell: called with each circuit that this sender opens or closes.
    """

    def __init__(
        self,
        circuits: Circuits,
        door: Door,
        *,
        patience: timedelta = timedelta(0),
        tell: Callable[[CircuitChange], None],
    ) -> None:
        self._circuits, self._door = circuits, door
        self._patience, self._tell = patience, tell

    async def require_closed(self) -> None:
        """Ask to use the server.

        Raises:
            MustWait: it is left alone for a while, and the run is patient.
            ConnectFailed: it does not work, for longer than the run is patient.
            AuthenticationFailed: this login was refused before, and nobody has changed it.
        """
        found = await self._circuits.enter(self._door)
        if found is not None:
            raise self._refusal(found)

    async def failed(self, error: ChannelError) -> ChannelError:
        """Note what the server did; returns what the run is to be told."""
        trouble = trouble_of(error)
        if trouble is None:
            return error
        try:
            noted = await self._circuits.fail(self._door, trouble, error.message)
        except DatabaseError as failure:
            _log.warning("the trouble with %s was not noted: %s", self._door.server, failure)
            return error
        if noted.opened is not None:
            change = CircuitChange(
                key=noted.key, wait=noted.opened, reason=error.message, failures=noted.failures
            )
            self._tell(change)
        if trouble is CircuitTrouble.LOGIN or not self._waits(noted.failing):
            return error
        return _wait(error.message, noted)

    async def worked(self) -> None:
        """Note that the server judged a message."""
        try:
            closed = await self._circuits.succeed(self._door)
        except DatabaseError as failure:
            _log.warning("%s works, which was not noted: %s", self._door.server, failure)
            return
        for key in closed:
            self._tell(CircuitChange(key=key, wait=None))

    def _waits(self, failing: timedelta) -> bool:
        return bool(self._patience) and failing <= self._patience

    def _refusal(self, found: OpenCircuit) -> ChannelError:
        seconds = f"{found.wait.total_seconds():.0f} s"
        message = (
            f"{found.key} is left alone for {seconds} more after {found.failures} failures"
            f" in a row, the last: {found.reason}"
        )
        mend = f"Mend it, then run: ignition server reset {found.key}"
        if found.trouble is CircuitTrouble.LOGIN:
            return AuthenticationFailed(
                message, mend=f"Correct the login in the block. Or run: {mend.partition(': ')[2]}"
            )
        if self._waits(found.failing):
            return MustWait(message, retry_after=found.wait, mend=mend)
        return ConnectFailed(message, mend=mend)


class GuardedTransport(Generic[EnvelopeT]):
    """A transport behind a guard: what the server does is noted for all."""

    def __init__(self, transport: Transport[EnvelopeT], guard: Guard) -> None:
        self._transport, self._guard = transport, guard

    async def deliver(
        self, envelopes: AsyncIterator[EnvelopeT], journal: Journal, stop: asyncio.Event
    ) -> None:
        """See :class:`ignition_ext.channels.transport.Transport`.

        Raises:
            ChannelError: the transport's, or that the run is to wait.
        """
        try:
            await self._transport.deliver(envelopes, _Watched(journal, self._guard), stop)
        except MustWait:
            raise
        except ChannelError as error:
            told = await self._guard.failed(error)
            if told is error:
                raise
            raise told from error


class _Watched:
    """A journal that notes the first message which the server judged."""

    def __init__(self, journal: Journal, guard: Guard) -> None:
        self._journal, self._guard = journal, guard
        self._has_worked = False

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return await self._journal.intend(ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        await self._journal.settle(deliveries)
        await self._look(deliveries)

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        granted = await self._journal.turn(deliveries, ids)
        if not self._has_worked:
            await self._look(deliveries)
        return granted

    async def _look(self, deliveries: Sequence[Delivery]) -> None:
        if self._has_worked:
            return
        if any(one.outcome.kind in _JUDGED and one.outcome.code for one in deliveries):
            self._has_worked = True
            await self._guard.worked()


def trouble_of(error: ChannelError) -> CircuitTrouble | None:
    """What an error says of the server itself.

    A refused sender address, a certificate or a name that has to be corrected are one block's or
    one campaign's trouble, and keep nobody else from the server.
    """
    if isinstance(error, AuthenticationFailed):
        return CircuitTrouble.LOGIN
    if isinstance(error, ConnectFailed | Throttled) and error.temporary:
        return CircuitTrouble.CONNECTION
    return None


def _wait(message: str, noted: Noted) -> MustWait:
    return MustWait(
        message,
        retry_after=noted.opened or AGAIN,
        mend=f"Mend {noted.key}; the run goes on by itself.",
    )
