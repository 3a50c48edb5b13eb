"""The database goes away under a listener and comes back: the SMSC keeps what was not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from ignition_ext.budgets.bind import SlotTimes
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.database import Database
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.returns.sms_listening import Listening, listen
from ignition_ext.returns.sms_receipts import unmatched_receipts

KEEP = 0x64


def receipt(number: int) -> bytes:
    words = f"id:{number} stat:DELIVRD err:000 text:".encode()
    body = wire.string("") + b"\1\1" + wire.string("4917012345678") + b"\1\1" + wire.string("123")
    body += b"\4\0\0\0\0\0\0\0\0" + bytes((len(words),)) + words
    return wire.pack(wire.DELIVER_SM, 0, number, body)


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.05)


def _grew(answers: Sequence[int], size: int) -> bool:
    return len(answers) >= size


def shut(server: str, name: str, *, out: bool) -> None:
    """Let nobody into the database, and put out who is in it; or let them in again."""
    with psycopg.connect(server, autocommit=True) as connection:
        allowed = "false" if out else "true"
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")  # type: ignore[call-overload]
        if out:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )


@pytest.mark.timeout(600)
async def test_receipts_wait_at_the_smsc_while_the_database_is_away(
    postgres_database_url: str, postgres_template: tuple[str, str]
) -> None:
    """Answered 0x64, taken when they come again; the listener lives through it."""
    database = Database(postgres_database_url)
    server, name = postgres_template[0], database.url.database
    assert name is not None
    stop, told = asyncio.Event(), list[str]()
    async with SmscSimulator() as smsc:
        facts: dict[str, Any] = {"system_id": "ignition", "password": "secret"}
        options = SmppOptions(host=smsc.host, port=smsc.port, reconnect_base=0.05, **facts)
        times = SlotTimes(look=timedelta(milliseconds=100))
        work = listen(database, options, Listening(times=times), stop=stop, tell=told.append)
        listening = asyncio.create_task(work)
        await until(lambda: smsc.binds == 1)
        smsc.send(receipt(1))
        await until(lambda: smsc.receipt_answers == [0])

        shut(server, name, out=True)
        try:
            smsc.send(receipt(2) + receipt(3))
            await until(lambda: len(smsc.receipt_answers) == 3)
            assert smsc.receipt_answers[1:] == [KEEP, KEEP]
        finally:
            shut(server, name, out=False)
        await until(lambda: bool(smsc.sessions))
        async with asyncio.timeout(120):
            while smsc.receipt_answers[-2:] != [0, 0]:  # connections that were cut are still there
                answered = len(smsc.receipt_answers)
                smsc.send(receipt(2) + receipt(3))
                await until(partial(_grew, smsc.receipt_answers, answered + 2))
        stop.set()
        heard = await listening

    refused = smsc.receipt_answers.count(KEEP)
    assert (heard.receipts, heard.refused) == (len(smsc.receipt_answers) - refused, refused)
    async with database.read() as session:
        kept = await unmatched_receipts(session, bind=None, since=None, limit=10)
    assert {row.provider_id for row in kept} == {"1", "2", "3"}
    await database.close()
