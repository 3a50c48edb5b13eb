"""When to try a server again, and when to give it up."""

from __future__ import annotations

import random

from ignition_ext.channels.smtp.options import SmtpOptions
from ignition_ext.errors import AuthenticationFailed, ChannelError


class Setbacks:
    """Counts the sessions in a row, over all connections, that ended without a judged message.

    Connections that fail together (the server restarts) count as one setback: each carries the
    ``epoch`` in which it last got on, and only the first of an epoch counts.
    """

    def __init__(self, options: SmtpOptions) -> None:
        self._options = options
        self._in_a_row = 0
        self.epoch = 0
        self.trusted = False
        """Whether a message was judged since the last setback; until then one session probes."""

    def progress(self) -> None:
        """The server judged a message."""
        self._in_a_row = 0
        self.trusted = True

    def record(self, error: ChannelError, *, epoch: int, others: int) -> ChannelError | None:
        """Note a failed session; returns the error when it is time to give up.

        While ``others`` are connected the server is there, and merely wants fewer of us. A refused
        login is never repeated: the next try may lock the account.
        """
        self.trusted = False
        if isinstance(error, AuthenticationFailed):
            return error
        if epoch == self.epoch:
            self.epoch += 1
            self._in_a_row += 1
        if others:
            return None
        exhausted = self._in_a_row >= self._options.reconnect_attempts
        return error if exhausted or not error.temporary else None

    def delay(self, own: int) -> float:
        """Seconds to wait after ``own`` setbacks of one connection: doubling, half of it jitter."""
        steps = max(own, self._in_a_row, 1) - 1
        longest = min(self._options.reconnect_max, self._options.reconnect_base * 2.0**steps)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards no secret
