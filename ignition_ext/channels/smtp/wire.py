"""One open SMTP connection, exact about what was handed over.

Whether a message may be sent again after the link broke hangs on one question: can the server
have seen its last byte? asyncio answers it only to those who ask at the right moment, hence a
protocol of our own, put under the connection once aiosmtplib has set it up. There is no task, no
stream and no timer for a single message: replies are dealt with as they come in, and what they
make to be written goes out together in the loop's next turn.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ignition_ext.channels.smtp.classify import Stage
from ignition_ext.channels.smtp.conversation import Conversation, UnaskedReply
from ignition_ext.channels.smtp.exchange import Exchange, answered, nonsense, unanswered
from ignition_ext.channels.smtp.letter import Letter
from ignition_ext.channels.smtp.options import SmtpOptions
from ignition_ext.channels.smtp.order import Order
from ignition_ext.channels.smtp.replies import MalformedReply, ReplyParser
from ignition_ext.errors import ChannelError

# The server's goodbye is a courtesy; TLS waits for its close_notify as long as asyncio lets it.
_CLOSE_SECONDS = 3.0
# Body, dot and the next commands go out in one write up to this size, the most that one TLS
# record holds and that an idle socket takes at once. Above it the body goes first.
_ONE_WRITE = 16_384
# Some dozen replies; a server may write no more than one for each command that is not answered.
_READ_SIZE = 4096
# How often the clock is looked at: four times in the shortest time that a server has.
_LOOKS = 4


class LinkLost(Exception):
    """The connection ended, or the server did not answer in time."""


class Wire(asyncio.BufferedProtocol):
    """Takes over a connected transport.

    It reads into a buffer of its own: asyncio would allocate 256 KiB for each reply.

    Args:
        order: is told when what stands behind a final dot is never answered.
        beneath: the socket's transport where ``transport`` encrypts for it and it is known.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        conversation: Conversation,
        options: SmtpOptions,
        order: Order,
        beneath: asyncio.Transport | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport, self._beneath = transport, beneath
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        self._conversation = conversation
        self._options, self._order = options, order
        self._parser = ReplyParser()
        # A view, not the buffer itself: asyncio's TLS reads into slices of it.
        self._read = memoryview(bytearray(_READ_SIZE))
        self._waiters: dict[Letter, asyncio.Future[Exchange]] = {}
        self._broken: Exception | None = None
        self._closed = self._loop.create_future()
        self._flush_is_due = False
        # The letter whose final dot is still in our buffer, and how much was in it at last look.
        self._passing: Letter | None = None
        self._left = 0
        self._since = self._loop.time()
        shortest = min(options.command_timeout, options.final_reply_timeout)
        self._look = shortest / _LOOKS
        self._timer = self._loop.call_later(self._look, self._tick)
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another letter can be tried."""
        return (
            self._broken is None
            and not self._conversation.over
            and not self._transport.is_closing()
        )

    # our side

    def send(self, letter: Letter) -> asyncio.Future[Exchange]:
        """Hand one message over; the future never fails for what a server does.

        ``UNSENT`` is answered only when the server cannot have seen the final dot, ``UNCERTAIN``
        when it can have seen it and did not say what it thinks of it.
        """
        waiter: asyncio.Future[Exchange] = self._loop.create_future()
        self._waiters[letter] = waiter
        if not self.usable:
            self._end(self._broken or LinkLost("the connection is closing"))
            self._give_up_waiters()
            return waiter
        if not self._conversation.awaited:
            self._since = self._loop.time()
        self._conversation.begin(letter)
        # Where replies were just dealt with, their output goes out together with this.
        if not self._flush_is_due:
            self._flush()
        return waiter

    def cut(self, reason: str) -> None:
        """End the connection now; messages without a verdict are settled as what they are."""
        self._end(LinkLost(reason))

    async def quit(self) -> None:
        """Say goodbye and close; a server that is gone already is fine."""
        if self.usable:
            self._since = self._loop.time()
            self._conversation.quit()
            self._flush()
        await self._until_closed()

    async def close(self) -> None:
        """Close, and wait until the socket is gone."""
        self._end(LinkLost("the connection was closed"))
        await self._until_closed()

    async def _until_closed(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.shield(self._closed)
        except TimeoutError:
            self._end(LinkLost("the connection was closed"))
            self._transport.abort()
            await self._closed

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the transport is connected when it is taken over."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where replies go; what is more stays with the kernel until the next time."""
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        """Deal with replies; nonsense breaks the link."""
        if self._broken is not None:
            return
        conversation = self._conversation
        fault: Exception | None = None
        try:
            for reply in self._parser.feed(bytes(self._read[:nbytes])):
                conversation.receive(reply)
                self._since = self._loop.time()
        except MalformedReply as error:
            fault = nonsense(str(error), self._options.server)
        except UnaskedReply as error:
            fault = LinkLost(str(error))
        if conversation.finished:
            self._report()
        if fault is not None:
            self._end(fault)
        elif conversation.over:
            # What is stuck in our buffer would hold up a gentle end.
            self._end(LinkLost("the conversation is over"), gently=not self._buffered())
        else:
            self._flush_soon()

    def eof_received(self) -> bool:
        """The server hung up; close our side too."""
        self._end(LinkLost("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone, by whichever side."""
        self._end(LinkLost(f"the connection was lost{f' ({exc})' if exc else ''}"))
        if not self._closed.done():
            self._closed.set_result(None)

    def resume_writing(self) -> None:
        """The final dot has left our buffer; the limits were set to say so."""
        if self._passing is not None:
            self._passing.handed_over = True
            self._passing = None
            self._since = self._loop.time()
            self._transport.set_write_buffer_limits()
            self._flush_soon()

    # writing

    def _flush_soon(self) -> None:
        if self._conversation.has_output and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._broken is not None or not self._conversation.has_output:
            return
        if self._passing is not None:
            return  # behind a final dot that we wait for it would hide when that has left
        if self._transport.is_closing():
            self._end(LinkLost("the connection is closing"))
            return
        before, letter, behind = self._conversation.take_output()
        if letter is None or sum(map(len, before)) <= _ONE_WRITE:
            self._transport.write(b"".join((*before, behind)))
        else:
            *body, dot = before
            self._transport.write(b"".join(body))
            self._transport.write(dot + behind)
        if letter is not None:
            self._note_handed_over(letter, len(behind))

    def _note_handed_over(self, letter: Letter, behind: int) -> None:
        """Whether the dot is with the kernel, else have asyncio say when it is.

        TLS tells of what it holds back itself, all or nothing, and gives the rest to the socket's
        transport. What that one could not pass on at once counts as handed over: nobody could say
        later whether it was.
        """
        beneath = self._beneath
        if self._transport.is_closing() or (beneath is not None and beneath.is_closing()):
            return
        rest = 0 if self._encrypted else behind
        if self._transport.get_write_buffer_size() <= rest:
            letter.handed_over = True
            return
        self._passing, self._left = letter, self._buffered()
        # Writing is "paused" until the buffer holds no more than what stands behind the dot.
        # TLS pauses at its mark and not above it, where zero would pause for ever.
        high = max(rest, 1) if self._encrypted else rest
        self._transport.set_write_buffer_limits(high=high, low=rest)

    # the end

    def _report(self) -> None:
        finished, self._conversation.finished = self._conversation.finished, []
        for letter, stage, reply in finished:
            self._waiters.pop(letter).set_result(answered(stage, reply, self._options.server))

    def _end(self, error: Exception, *, gently: bool = False) -> None:
        if self._broken is not None:
            return
        self._broken = error
        self._timer.cancel()
        self._give_up_waiters()
        if gently:
            self._transport.close()
        else:
            self._transport.abort()

    def _give_up_waiters(self) -> None:
        """Those that were refused in an unfinished group keep their refusal."""
        with suppress(MalformedReply):
            self._conversation.hang_up()
        self._report()
        error, waiters = self._broken or LinkLost("the connection is closing"), self._waiters
        self._waiters = {}
        fatal = error if isinstance(error, ChannelError) else None
        for letter, waiter in waiters.items():
            if letter.refusal is not None:
                waiter.set_result(answered(*letter.refusal, self._options.server))
            else:
                waiter.set_result(unanswered(error, handed_over=letter.handed_over, fatal=fatal))

    def _tick(self) -> None:
        """Look at the clock, for the oldest command without a reply or a body that is stuck."""
        now = self._loop.time()
        due = now + self._look
        awaited = self._conversation.awaited
        if awaited:
            stage = awaited[0][0]
            patience, what = self._options.command_timeout, f"answering {stage}"
            if stage is Stage.CONTENT and not self._conversation.is_sorting:
                if self._stuck(now):
                    what = "taking the message"
                else:
                    patience = self._options.final_reply_timeout
            due = self._since + patience
            if now >= due:
                self._order.is_kept &= not self._conversation.is_sorting
                self._end(LinkLost(f"the server took more than {patience:g} s for {what}"))
                return
        self._timer = self._loop.call_at(min(due, now + self._look), self._tick)

    def _stuck(self, now: float) -> bool:
        """Whether the final dot waits in our buffer; anything that leaves it is progress."""
        if self._passing is None:
            return False
        left = self._buffered()
        if left < self._left:
            self._since = now
        self._left = left
        return True

    def _buffered(self) -> int:
        size = self._transport.get_write_buffer_size()
        return size if self._beneath is None else size + self._beneath.get_write_buffer_size()
