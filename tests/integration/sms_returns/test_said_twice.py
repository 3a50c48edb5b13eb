"""The same words twice: brought again by the SMSC, or said again by a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.returns.sms_listening import Listening, listen


def says(words: bytes, number: int) -> bytes:
    """A deliver_sm from one handset."""
    body = wire.string("") + b"\1\1" + wire.string("4917012345678") + b"\1\1" + wire.string("123")
    body += bytes((0, 0, 0)) + b"\0\0" + bytes((0, 0, 0, 0, len(words))) + words
    return wire.pack(wire.DELIVER_SM, 0, number, body)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.02)


async def test_brought_again_is_one_and_said_again_is_two(office: Any) -> None:
    """The answer to the first is lost with its link; the one to the second arrives."""
    async with SmscSimulator() as smsc:
        options = SmppOptions(
            host=smsc.host,
            port=smsc.port,
            system_id=smsc.system_id,
            password=smsc.password,
            reconnect_base=0.05,
        )
        stop = asyncio.Event()
        listening = asyncio.create_task(
            listen(office.database, options, Listening(), stop=stop, tell=lambda _: None)
        )
        await until(lambda: smsc.binds == 1)
        smsc.answers_enquire_link = False  # it does not get as far as our answer
        smsc.send(says(b"Ja", 1))
        await until(lambda: wire.ENQUIRE_LINK in {command for command, _, _ in smsc.heard})
        smsc.drop()
        smsc.answers_enquire_link = True
        await until(lambda: smsc.binds == 2)

        smsc.send(says(b"Ja", 1))
        await known(office, acknowledged=1)
        (brought_again,) = await office.texts()
        smsc.send(says(b"Ja", 2))
        await known(office, acknowledged=2)
        stop.set()
        await listening

    assert brought_again.repeats == 1
    assert [row.repeats for row in await office.texts()] == [1, 0]


async def known(office: Any, *, acknowledged: int) -> None:
    """Wait until the SMSC has our answers to so many texts."""
    async with asyncio.timeout(120):
        while sum(row.acknowledged_at is not None for row in await office.texts()) < acknowledged:  # noqa: ASYNC110 - it is a database
            await asyncio.sleep(0.02)
