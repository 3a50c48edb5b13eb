"""When to try to bind again, and when to stop trying.

A login that is refused is tried once: providers lock accounts. ``0x0D`` (bind failed) mostly means
that another process still holds the bind, and is tried slowly, as is a bind that is throttled. A
link that was lost is made anew with exponential pauses and full jitter, until ``reconnect_timeout``
passed without a single answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import uniform

from ignition_ext.channels.smpp.connect import open_session
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.session import Listener, Session
from ignition_ext.channels.smpp.slot import Slot
from ignition_ext.errors import ChannelError, ConnectFailed, ProtocolViolation, Throttled

logger = logging.getLogger(__name__)


class Reconnector:
    """Opens the sessions of one bind, one after the other."""

    def __init__(
        self,
        options: SmppOptions,
        listener: Listener,
        slot: Slot,
        clock: Callable[[], float],
    ) -> None:
        self._options, self._listener, self._clock = options, listener, clock
        self._slot, self._held = slot, AsyncExitStack()
        self._has_slot = self._was_bound = False
        self._tries = 0
        self._since: float | None = None

    def progress(self) -> None:
        """The link does what it is for: patience begins anew."""
        self._tries, self._since = 0, None

    async def open(self, reason: str = "") -> Session:
        """A bound session; cancelled when it is not wanted any more.

        Args:
            reason: why the session before it ended.

        Raises:
            ChannelError: the SMSC cannot be reached or does not want us.
        """
        if not self._has_slot:
            await self._held.enter_async_context(self._slot())
            self._has_slot = True
        if self._tries:
            await self._pause_after_loss(reason)
        while True:
            self._tries += 1
            if self._since is None:
                self._since = self._clock()
            try:
                session, _ = await open_session(self._options, self._listener)
            except (ConnectFailed, Throttled, ProtocolViolation) as error:
                pause = self._pause_after(error)
                if pause is None:
                    raise
                logger.warning("No bind, trying again in %.1f s: %s", pause, error.message)
                await asyncio.sleep(pause)
            else:
                self._was_bound = True
                return session

    async def release(self) -> None:
        """Give the slot back; the session is closed."""
        self._has_slot = False
        await self._held.aclose()

    async def _pause_after_loss(self, reason: str) -> None:
        """Wait before a bind that was lost without an answer is made anew."""
        # Lost once says little, however long it took: one message may be what is not answered.
        if self._tries > 1 and self._waited >= self._options.reconnect_timeout:
            raise ConnectFailed(
                f"The link was bound and lost {self._tries} times without an answer that counts; "
                f"the last time: {reason}.",
                server=self._options.server,
                mend="Ask the provider why it ends our binds.",
            )
        await asyncio.sleep(self._backoff())

    def _pause_after(self, error: ChannelError) -> float | None:
        """Seconds until the next try, None when there shall be none."""
        is_refusal = bool(error.code)
        if not error.temporary or (is_refusal and isinstance(error, ProtocolViolation)):
            return None
        if not self._was_bound and not is_refusal:
            return None
        options = self._options
        patience = options.reconnect_timeout if self._was_bound else options.bind_patience
        # Jitter, or all binds of all nodes come back in the same moment.
        pause = options.bind_retry * uniform(0.8, 1.2) if is_refusal else self._backoff()  # noqa: S311  no secret
        return pause if self._waited + pause <= patience else None

    @property
    def _waited(self) -> float:
        return 0.0 if self._since is None else self._clock() - self._since

    def _backoff(self) -> float:
        most = min(
            self._options.reconnect_max,
            self._options.reconnect_base * 2 ** min(self._tries - 1, 16),
        )
        return uniform(0, most)  # noqa: S311  no secret
