"""When to try to bind again, and when to stop trying.

A login that is refused is tried once: providers lock accounts. ``0x0D`` (bind failed) mostly means
that another process still holds the bind, and is tried slowly. Anything else is tried with
exponential pauses and full jitter, until ``reconnect_timeout`` passed without a single answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import uniform

from ignition_ext.channels.smpp.connect import open_session
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.session import Listener, Session
from ignition_ext.errors import ConnectFailed, Throttled

logger = logging.getLogger(__name__)

Pause = Callable[[float], Awaitable[bool]]
"""Waits that many seconds; False when no session is wanted any more."""


class Reconnector:
    """Opens the sessions of one bind, one after the other."""

    def __init__(
        self, options: SmppOptions, listener: Listener, clock: Callable[[], float]
    ) -> None:
        self._options, self._listener, self._clock = options, listener, clock
        self._was_bound = False
        self._tries = 0
        self._since: float | None = None

    def progress(self) -> None:
        """The SMSC answered a part: the link is good, patience begins anew."""
        self._tries, self._since = 0, None

    async def open(self, pause: Pause) -> Session | None:
        """A bound session; None when it is not wanted any more.

        Raises:
            ChannelError: the SMSC cannot be reached or does not want us.
        """
        while True:
            if self._tries and not await pause(self._backoff()):
                return None
            self._tries += 1
            if self._since is None:
                self._since = self._clock()
            try:
                session, _ = await open_session(self._options, self._listener)
            except (ConnectFailed, Throttled) as error:
                is_slow = bool(error.code)
                if not self._is_worth_a_try(error, is_slow):
                    raise
                logger.warning("No bind, trying again: %s", error.message)
                if is_slow and not await pause(self._options.bind_retry * uniform(0.8, 1.2)):  # noqa: S311  no secret
                    return None
            else:
                self._was_bound = True
                return session

    def _is_worth_a_try(self, error: ConnectFailed | Throttled, is_slow: bool) -> bool:
        if not error.temporary:
            return False
        if not self._was_bound and not is_slow:
            return False
        waited = self._clock() - (self._since or 0.0)
        return waited < self._options.reconnect_timeout

    def _backoff(self) -> float:
        most = min(
            self._options.reconnect_max,
            self._options.reconnect_base * 2 ** min(self._tries - 1, 16),
        )
        return uniform(0, most)  # noqa: S311  no secret
