"""What a connection says of a letter whose final dot had a narrow way."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from ignition_ext.channels.smtp.conversation import Conversation
from ignition_ext.channels.smtp.letter import Letter
from ignition_ext.channels.smtp.options import SmtpOptions
from ignition_ext.channels.smtp.order import Order
from ignition_ext.channels.smtp.wire import Wire
from ignition_ext.values import OutcomeKind

GROUP = 120
"""Octets of MAIL, RCPT and DATA of the letter behind, about."""


def letter(octets: int) -> Letter:
    return Letter(
        mail=b"MAIL FROM:<bounce+" + b"a" * 46 + b"@mail.example.com>\r\n",
        rcpt=b"RCPT TO:<ada@example.com>\r\n",
        content=b"x" * (octets - 2) + b"\r\n",
    )


def drain(far: socket.socket, most: int) -> bytes:
    with suppress(BlockingIOError, ConnectionError):
        return far.recv(most)
    return b""


async def cut_near_the_dot(octets: int) -> tuple[OutcomeKind, bool]:
    """Cut the link when little is left of a letter and what stands behind it.

    Returns:
        What is said of the letter, and whether the far side has its final dot.
    """
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    order = Order()
    conversation = Conversation(pipelining=True, order=order)
    wire = Wire(transport, conversation, SmtpOptions(host="mail.example.com", port=25), order)
    first = wire.send(letter(octets))
    far.sendall(b"250 ok\r\n250 ok\r\n354 go\r\n")
    await asyncio.sleep(0.005)
    second = wire.send(letter(20))  # the next message, while the body is passing

    read = b""
    while transport.get_write_buffer_size() > GROUP:
        read += drain(far, 64)
        await asyncio.sleep(0)
    wire.cut("the drain time is over")
    told = (await first).outcome.kind
    await second
    await wire.close()
    while more := drain(far, 65_536):
        read += more
    far.close()
    return told, b"x\r\n.\r\n" in read.partition(b"DATA\r\n")[2]


async def test_a_letter_whose_dot_has_left_is_never_called_unsent() -> None:
    """Wherever the buffer's edge falls: it would be sent a second time."""
    ends = [await cut_near_the_dot(octets) for octets in range(20_000, 26_000, 37)]

    assert (OutcomeKind.UNSENT, True) not in ends
    assert len(set(ends)) > 1, "some were cut before the dot and some behind it"
