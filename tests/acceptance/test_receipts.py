"""``ignition receipts`` and the flow ``receipts``, with a block on a Prefect server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow

from blocks import SmppGateway
from flows.receipts import receipts
from ignition_ext.database import Database
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.devtools.stack import PrefectServer
from ignition_ext.tenants import create_tenant

pytestmark = pytest.mark.timeout(600)
PHONE = "+4917012345678"


def deliver(words: str, number: int, *, esm_class: int = 0) -> bytes:
    """A deliver_sm from the handset."""
    message = words.encode("latin-1")
    body = wire.string("") + b"\1\1" + wire.string(PHONE[1:]) + b"\3\0" + wire.string("72345")
    body += bytes((esm_class, 0, 0)) + b"\0\0" + bytes((0, 0, 0, 0, len(message))) + message
    return wire.pack(wire.DELIVER_SM, 0, number, body)


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.05)


async def run(block: str, **parameters: Any) -> State[Any]:
    """One run of the flow in this process."""
    ended = await run_flow(  # type: ignore[misc]
        receipts, parameters={"block": block, **parameters}, return_type="state"
    )
    assert isinstance(ended, State)
    return ended


async def test_the_service_the_flow_and_what_they_stored(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tenant_name: str,
    ignition: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The flow leaves it to the service while that runs; SIGTERM drains; the lists tell of it."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    database, name = Database(sqlite_database_url), f"{tenant_name}-sms"
    await create_tenant(database, name=tenant_name, region="DE", actor="test")
    async with SmscSimulator() as smsc:
        block = SmppGateway(
            host=smsc.host, port=smsc.port, system_id="ignition", password="secret", binds=2
        )
        await block.save(name)
        service = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("ignition")), "receipts", "listen"),
            *("--block", name, "--tenant", tenant_name),
            env=dict(os.environ),
            stdout=DEVNULL,
            stderr=PIPE,
        )
        await until(lambda: smsc.binds == 1)
        smsc.send(deliver("Stop!", 1) + deliver("id:77 stat:DELIVRD err:000", 2, esm_class=4))
        await until(lambda: smsc.receipt_answers == [0, 0])
        left = await run(name)
        service.send_signal(signal.SIGTERM)
        _, told = await service.communicate()
        done = await run(name, quiet_seconds=0.5)

    assert (left.name, left.is_completed()) == ("Skipped", True)
    assert "in use by receipts on" in (left.message or "")
    assert service.returncode == 0
    assert "stored 1 receipts and 1 texts" in told.decode()
    assert (done.name, done.message) == ("Completed", "0 receipts, 0 texts stored; 0 left there")
    assert wire.UNBIND in {command for command, _, _ in smsc.heard}
    await database.close()

    (text,) = ignition("receipts", "texts", "--tenant", tenant_name, "--json").document
    assert (text["source"], text["keyword"], text["action"]) == (PHONE, "stop", "opted out")
    (late,) = ignition("receipts", "unmatched", "--since", "1h", "--json").document
    assert (late["provider_id"], late["status"], late["address"]) == ("77", "DELIVRD", PHONE)
    account = f"{smsc.host}:{smsc.port}/ignition"
    assert ignition("receipts", "unmatched", "--bind", "another", "--json").document == []
    assert ignition("receipts", "match", "--block", name, "--json").document == {
        "bind": account,
        "matched": 0,
    }
    wrong = ignition("receipts", "unmatched", "--since", "yesterday")
    assert wrong.code == 1
    assert "neither a duration nor a time" in wrong.err


async def test_an_smsc_that_does_not_want_us_fails_the_flow(
    prefect: PrefectServer,
    sqlite_database_url: str,
    tenant_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one line, with the mend."""
    monkeypatch.setenv("IGNITION_DATABASE_URL", sqlite_database_url)
    name = f"{tenant_name}-sms"
    async with SmscSimulator() as smsc:
        block = SmppGateway(host=smsc.host, port=smsc.port, system_id="ignition", password="no")
        await block.save(name)
        refused = await run(name, quiet_seconds=0.5)

    assert refused.is_failed()
    assert "AuthenticationFailed" in (refused.message or "")
    assert smsc.bind_attempts == 1
