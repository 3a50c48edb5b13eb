"""What to write and what the replies mean, for one connection; pure, without a socket.

MAIL, RCPT and DATA of a message go out together where the server announced PIPELINING (RFC 2920),
those of the next one right behind the final dot; one by one elsewhere. A body is written only after
354, so a group whose recipient was refused never delivers a message to nobody::

    C: MAIL RCPT DATA                   C: <body> . MAIL RCPT DATA
    S: 250 250 354                      S: 250 250 250 354
    S: 250 550 354    C: .              the transaction is ended with a lone dot, no body
    S: 250 550 503    C: RSET           there is no DATA to end
"""

from __future__ import annotations

from collections import deque

from ignition_ext.channels.smtp.classify import Stage, stops_run
from ignition_ext.channels.smtp.letter import Letter
from ignition_ext.channels.smtp.order import Order, is_data_early
from ignition_ext.channels.smtp.replies import MalformedReply, Reply

_DATA = b"DATA\r\n"
_DOT = b".\r\n"
_RSET = b"RSET\r\n"


class UnaskedReply(Exception):
    """The server spoke when nothing was asked, mostly to say that it is about to hang up."""


class Conversation:
    """Letters in, bytes out; replies in, verdicts out.

    Args:
        pipelining: the commands of a message may go out together.
        order: what is known of the order in which the server answers.

    Attributes:
        awaited: the commands that are written and not answered, oldest first.
        finished: letters with their verdict, to be taken away by the caller.
        over: nothing more may be written; what has no verdict then never gets one.
    """

    def __init__(self, *, pipelining: bool, order: Order | None = None) -> None:
        self._pipelining, self._order = pipelining, order or Order()
        self._queue: deque[Letter] = deque()
        # The letter whose DATA is not answered: nothing may be written behind that command.
        self._group: Letter | None = None
        self._before: list[bytes] = []
        self._behind: list[bytes] = []
        self._carried: Letter | None = None
        self.awaited: deque[tuple[Stage, Letter | None]] = deque()
        self.finished: list[tuple[Letter, Stage, Reply]] = []
        # Replies to a dot and what stands behind it, as long as their order is not clear.
        self._unsorted: list[Reply] | None = None
        self.over = False

    def begin(self, letter: Letter) -> None:
        """Send this one as soon as the letters before it allow."""
        self._queue.append(letter)
        self._advance()

    def quit(self) -> None:
        """Say goodbye; nothing may follow."""
        self._write(b"QUIT\r\n")
        self.awaited.append((Stage.QUIT, None))

    @property
    def has_output(self) -> bool:
        """Whether something is to be written."""
        return bool(self._before or self._behind)

    def take_output(self) -> tuple[list[bytes], Letter | None, bytes]:
        """What is to be written now: pieces up to a final dot, whose it is, what goes behind it."""
        taken = self._before, self._carried, b"".join(self._behind)
        self._before, self._behind, self._carried = [], [], None
        return taken

    def receive(self, reply: Reply) -> None:
        """The next reply of the server.

        Raises:
            MalformedReply: it cannot stand here: 250 to DATA, 354 to MAIL, thanks for a message
                that is not written yet.
            UnaskedReply: nothing was asked.
        """
        if self.over:
            return
        if not self.awaited:
            raise UnaskedReply(f"the server said unasked: {reply}")
        if self._unsorted is None:
            self._take(reply)
            return
        self._unsorted.append(reply)
        if (replies := self._order.sort(self._unsorted)) is not None:
            self._unsorted = None
            for each in replies:
                self._take(each)

    @property
    def is_sorting(self) -> bool:
        """Whether replies came of which it is not clear what they answer."""
        return bool(self._unsorted)

    def hang_up(self) -> None:
        """The link is lost: nothing more comes. What came is read as it came."""
        replies, self._unsorted = self._unsorted or (), None
        # From a server that does not keep order nothing has come about the dot.
        if not is_data_early(replies):
            for reply in replies:
                if not self.over:
                    self._take(reply)

    def _take(self, reply: Reply) -> None:
        if self.over:
            return
        stage, letter = self.awaited.popleft()
        if reply.code == 421:
            self._closing(stage, letter, reply)
        elif letter is None:
            self._chore(stage, reply)
        elif stage is Stage.DATA:
            self._to_data(letter, reply)
        elif stage is Stage.CONTENT:
            self._to_content(letter, reply)
        elif stage is Stage.RSET:
            self._finish(letter)
            self._chore(stage, reply)
        else:
            self._to_envelope(stage, letter, reply)

    # replies

    def _closing(self, stage: Stage, letter: Letter | None, reply: Reply) -> None:
        """421: the server hangs up. That is no verdict where it has given one already."""
        self.over = True
        if letter is not None:
            letter.refusal = letter.refusal or (stage, reply)
            self._finish(letter)

    def _chore(self, stage: Stage, reply: Reply) -> None:
        """The reply to RSET, QUIT or a lone dot.

        Whatever a lone dot is answered, the transaction is over; when a RSET fails it is not.
        """
        if stage is Stage.LONE_DOT:
            self._refusing(stage, reply)
        elif stage is Stage.QUIT or not reply.positive:
            self.over = True
        self._advance()

    def _to_envelope(self, stage: Stage, letter: Letter, reply: Reply) -> None:
        if self._refusing(stage, reply):
            letter.refusal = letter.refusal or (stage, reply)
            if self._fatal(letter):
                self._finish(letter)
            elif not self._pipelining:
                self._reset(letter)
        elif not self._pipelining:
            if stage is Stage.MAIL:
                self._ask(Stage.RCPT, letter, letter.rcpt)
            else:
                self._ask(Stage.DATA, letter, _DATA)

    def _to_data(self, letter: Letter, reply: Reply) -> None:
        go_on = reply.code == 354
        if not go_on and not self._refusing(Stage.DATA, reply):
            raise MalformedReply(f"{reply} to {Stage.DATA}")
        self._group = None
        if go_on and letter.refusal is None:
            self._before += (letter.content, _DOT)
            self._carried, letter.content = letter, b""
            self.awaited.append((Stage.CONTENT, letter))
        elif go_on:
            self._finish(letter)
            self._ask(Stage.LONE_DOT, None, _DOT)
        else:
            letter.refusal = letter.refusal or (Stage.DATA, reply)
            if self._fatal(letter):
                self._finish(letter)
            else:
                self._reset(letter)
        self._advance()

    def _to_content(self, letter: Letter, reply: Reply) -> None:
        if self._refusing(Stage.CONTENT, reply):
            letter.refusal = (Stage.CONTENT, reply)
            # Refused in the middle: the rest of the body is still on its way.
            self.over = self._fatal(letter) or not letter.handed_over
            self._finish(letter)
        elif not letter.handed_over:
            raise MalformedReply(f"{reply} to a message that is not written yet")
        else:
            self.finished.append((letter, Stage.CONTENT, reply))
        self._advance()

    def _refusing(self, stage: Stage, reply: Reply) -> bool:
        """Whether the reply is a no; only a yes may stand in its place."""
        if reply.positive:
            return False
        if reply.transient or reply.permanent:
            return True
        raise MalformedReply(f"{reply} to {stage}")

    def _fatal(self, letter: Letter) -> bool:
        """A refusal that is meant for us, which would meet every next letter too, ends it all."""
        if letter.refusal is not None and stops_run(*letter.refusal) is not None:
            self.over = True
        return self.over

    # commands

    def _advance(self) -> None:
        """Begin the next letter if its commands may be written now."""
        if self._group is not None or not self._queue or self.over:
            return
        if self._pipelining:
            if self.awaited:
                if not self._order.is_kept or self.awaited[0][0] is not Stage.CONTENT:
                    return  # the last reply comes back here
                self._unsorted = []
            letter = self._group = self._queue.popleft()
            self._write(letter.mail + letter.rcpt + _DATA)
            self.awaited.append((Stage.MAIL, letter))
            self.awaited.append((Stage.RCPT, letter))
            self.awaited.append((Stage.DATA, letter))
        elif not self.awaited:
            letter = self._group = self._queue.popleft()
            self._ask(Stage.MAIL, letter, letter.mail)

    def _reset(self, letter: Letter) -> None:
        """RSET, so that the next MAIL does not meet a half-open transaction.

        One by one the verdict waits for its reply, so that no next letter is begun in vain.
        """
        self._group = None
        if self._pipelining:
            self._finish(letter)
            self._ask(Stage.RSET, None, _RSET)
        else:
            self._ask(Stage.RSET, letter, _RSET)

    def _ask(self, stage: Stage, letter: Letter | None, command: bytes) -> None:
        self._write(command)
        self.awaited.append((stage, letter))

    def _write(self, data: bytes) -> None:
        (self._before if self._carried is None else self._behind).append(data)

    def _finish(self, letter: Letter) -> None:
        """Pass a refused letter's verdict on, once."""
        if letter.refusal is not None:
            self.finished.append((letter, *letter.refusal))
