"""Which reply belongs to which command, when commands stand behind a final dot.

The next message's MAIL, RCPT and DATA may follow a final dot at once (RFC 2920 section 3.1), and
SMTP answers in order. Some servers, however, take their time for the dot and answer what stands
behind it first, and then a message would get another one's verdict. The replies themselves tell:
354 is DATA's alone, and DATA is never answered 2xx. So none of the four is believed before it is
clear how they are to be read, and a server that was found to mix them up gets nothing more to mix.
"""

from __future__ import annotations

from collections.abc import Sequence

from ignition_ext.channels.smtp.replies import Reply

GROUP = 4
"""Replies to a final dot, and to MAIL, RCPT and DATA behind it."""


class Order:
    """What is known of one server, over all connections of a delivery.

    Attributes:
        is_kept: it answers in order, as far as anybody saw.
    """

    def __init__(self) -> None:
        self.is_kept = True

    def sort(self, replies: Sequence[Reply]) -> Sequence[Reply] | None:
        """The replies as they would have come in order; None as long as that is not clear.

        Args:
            replies: those that came since the dot, :data:`GROUP` at most.
        """
        newest = replies[-1]
        if newest.code == 421:
            # The server hangs up instead of answering what is next, the dot for one that is late.
            return [newest] if is_data_early(replies) else replies
        if len(replies) < GROUP:
            return None
        if is_data_early(replies) or newest.positive:
            self.is_kept = False
            return [newest, *replies[:-1]]
        return replies


def is_data_early(replies: Sequence[Reply]) -> bool:
    """Whether the third reply is the one to DATA, so that the dot's is still to come."""
    return len(replies) >= GROUP - 1 and replies[GROUP - 2].code == 354
