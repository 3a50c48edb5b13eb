"""How far away a server is, and whether that is worth writing ahead of its verdicts."""

from __future__ import annotations

FAR_SECONDS = 0.004
"""A shorter way costs less than the server's work for a message. Beyond it a round trip saved for
each message is what counts."""
LOOKS = 10
"""Round trips to be seen first: a busy machine makes some of them seem long, never all."""


class Distance:
    """The shortest round trip to one server, over all connections of a delivery.

    The next message's commands may follow a final dot at once (RFC 2920), which saves a round
    trip. Some servers, however, answer them before they have answered the dot, and then a message
    gets another one's verdict. So that is done only where it pays.
    """

    def __init__(self) -> None:
        self._shortest = float("inf")
        self._looks = 0

    def note(self, seconds: float) -> None:
        """A command was written when nothing was awaited, and answered so much later."""
        self._looks += 1
        self._shortest = min(self._shortest, seconds)

    @property
    def is_far(self) -> bool:
        """Whether writing ahead pays; no as long as that is not known."""
        return self._looks >= LOOKS and self._shortest >= FAR_SECONDS
