"""Receipts and texts outside runs, from an SMSC that is not ours (node-smpp).

``RECEIPTS=5000`` makes the messages of the killed listener as many as that; usually some hundred.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.channels.smpp import SmppOptions, SmppTransport, SmsEnvelope
from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchLimits, Sender, deliver_batch
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.returns.sms_inbox import SmsInbox
from ignition_ext.returns.sms_listening import Listening, listen
from ignition_ext.returns.sms_receipts import receipts_into, unmatched_receipts
from ignition_ext.returns.sms_routes import note_route
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import Channel, MessageState, RunRef

pytestmark = pytest.mark.timeout(600)

HERE = Path(__file__).parent
MESSAGES = int(os.environ.get("RECEIPTS", "240"))
SENDER = "+4915799912345"
STOPS = ["STOP", "abmelden", "arrêt", "BAJA", "iptal"]
RETRY = StandardRetry(
    strategy="fixed", attempts=3, base=timedelta(seconds=1), max=timedelta(seconds=1)
)


class Keeper:
    """The SMSC; it keeps what it has for us until it is acknowledged."""

    def __init__(self, process: Process, output: Path, port: int) -> None:
        self._process, self._output, self.port = process, output, port

    async def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def status(self) -> dict[str, int]:
        await self.tell(status=True)
        assert self._process.stdout is not None
        return dict(json.loads(await self._process.stdout.readline()))

    def lines(self) -> list[dict[str, Any]]:
        text = self._output.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def taken(self) -> dict[str, list[str]]:
        """The texts of submit_sm by recipient."""
        found: dict[str, list[str]] = defaultdict(list)
        for line in self.lines():
            if "id" in line:
                found["+" + line["destination"]].append(line["text"])
        return found

    def options(self, **changes: Any) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "system_id": "ignition",
            "password": "secret",
            "binds": 4,
            "reconnect_base": 0.05,
            **changes,
        }


@pytest.fixture
async def keeper(referee: Path, tmp_path: Path) -> AsyncIterator[Keeper]:
    """The SMSC, and what it took."""
    output = tmp_path / "kept.jsonl"
    process = await asyncio.create_subprocess_exec(
        "node", "incoming.mjs", str(output), cwd=referee, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    yield Keeper(process, output, int(await process.stdout.readline()))
    process.stdin.close()
    await process.wait()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 240) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.05)


class Texts:
    """Makes texts of one to three parts."""

    def build(self, message: ClaimedMessage) -> SmsEnvelope:
        words = f"Hello {message.address} " * (1 + 9 * (int(message.address[-2:]) % 3))
        return SmsEnvelope(
            message_id=message.id, source=SENDER, destination=message.address, text=words
        )


class Run:
    """One run of Acme's and how it is sent."""

    def __init__(self, database: Database, ref: RunRef, addresses: Sequence[str]) -> None:
        self.database, self.ref, self.addresses = database, ref, addresses
        self.ledger = open_ledger(database)

    async def send(self, options: SmppOptions, *, batch: int = 1000, hears: bool = False) -> None:
        """Send all of it, batch by batch, as the flow does."""
        inbox = SmsInbox(self.database)

        def connect(last: bool) -> SmppTransport:
            return SmppTransport(
                options,
                receipts_into(self.ledger) if hears else None,
                on_incoming=inbox if hears else None,
            )

        sender: Sender[Any] = Sender(
            workshop=Texts(), connect=connect, retry=RETRY, bind=options.bind_name
        )
        limits = BatchLimits(
            messages=batch, lease=timedelta(minutes=2), look_every=timedelta(seconds=0.2)
        )
        over = False
        while not over:
            result = await deliver_batch(
                self.ledger, self.ref, sender, limits, stop=asyncio.Event()
            )
            assert result.error is None
            over = result.over

    async def rows(self) -> dict[str, dict[str, Any]]:
        return {
            str(row["address"]): dict(row)
            async for page in self.ledger.messages(self.ref.id)
            for row in page
        }

    async def states(self) -> dict[str, str]:
        return {address: row["state"] for address, row in (await self.rows()).items()}


@pytest.fixture
async def make_run(office: Any) -> Callable[[int], Awaitable[Run]]:
    """Makes a run with so many messages."""

    async def make(count: int) -> Run:
        async with office.database.write() as session:
            campaign = Campaign(tenant_id=office.tenant_id, name="news", version=1)
            session.add(campaign)
            await session.flush()
            campaign_id = campaign.id
        assert campaign_id is not None
        request = RunRequest(
            tenant_id=office.tenant_id, campaign_id=campaign_id, campaign_version=1
        )
        opened = await open_run(office.database, request, actor="test")
        addresses = [f"+49170{number:07d}" for number in range(1_000_000, 1_000_000 + count)]

        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            for start in range(0, count, 100):
                yield [
                    NewMessage(channel=Channel.SMS, address=address, domain="49")
                    for address in addresses[start : start + 100]
                ]

        run = Run(office.database, opened.ref, addresses)
        await run.ledger.snapshot(opened.ref, batches())
        await run.ledger.finish_snapshot(opened.ref, skipped=0, rejected=0, duplicates=0)
        return run

    return make


@asynccontextmanager
async def listener(spec: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "listener.py"), str(spec), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_listener_killed_twice_loses_no_receipt(
    office: Any, database_url: str, keeper: Keeper, make_run: Any, tmp_path: Path
) -> None:
    """Each message ends as its receipts say, whatever their order, spelling and number."""
    run: Run = await make_run(MESSAGES)
    await run.send(SmppOptions(**keeper.options(bind="transmitter")))
    assert set((await run.states()).values()) == {"sent"}
    receipts = (await keeper.status())["waiting"]
    assert receipts > MESSAGES * 2
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"database": database_url, "server": keeper.options()}))

    await keeper.tell(binds=True)
    for share in (0.3, 0.6):
        # The rest waits for those that come after, however fast this one is.
        await keeper.tell(most=int((share + 0.2) * receipts))
        async with listener(spec) as process:

            async def so_far(least: float = share * receipts) -> bool:
                return (await keeper.status())["acknowledged"] >= least

            await until(so_far)
            process.kill()
    await keeper.tell(most=2 * receipts)
    async with listener(spec) as process:

        async def all_are_told() -> bool:
            return (await keeper.status())["waiting"] == 0

        await until(all_are_told)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.stdout is not None
        heard = json.loads(await process.stdout.readline())

    assert heard["receipts"] > 0
    rows = await run.rows()
    bad = {address for address in run.addresses if address.endswith("99")}
    assert bad
    assert {address for address, row in rows.items() if row["state"] == "failed"} == bad
    assert Counter(row["state"] for row in rows.values()) == {
        "delivered": MESSAGES - len(bad),
        "failed": len(bad),
    }
    for address, row in rows.items():
        words = row["detail"]
        if address not in bad and row["parts"] > 1:
            assert words.endswith(f"; {row['parts']} delivered")
    async with office.database.read() as session:
        left = await unmatched_receipts(session, bind=None, since=None, limit=10)
    assert left == []


async def test_who_says_stop_in_the_middle_of_a_run_gets_nothing_more(
    office: Any, keeper: Keeper, make_run: Any
) -> None:
    """Ten people in five languages; whoever was unclaimed when the SMSC had its answer.

    The texts come over the listener's bind and the sender's own, the receipts as well.
    """
    run: Run = await make_run(2000)
    options = SmppOptions(**keeper.options(rate=400.0, window=20, binds=1))
    await note_route(
        office.database,
        bind=options.bind_name,
        sender=SENDER,
        tenant_id=office.tenant_id,
    )
    people = run.addresses[-500::50]
    stop = asyncio.Event()
    await keeper.tell(binds=True)
    listening = asyncio.create_task(
        listen(
            office.database,
            SmppOptions(**keeper.options()),
            Listening(),
            stop=stop,
            tell=lambda _: None,
        )
    )
    sending = asyncio.create_task(run.send(options, batch=100, hears=True))

    async def some_went_out() -> bool:
        return (await keeper.status())["taken"] >= 300

    await until(some_went_out)
    for number, address in enumerate(people):
        words = STOPS[number % len(STOPS)]
        await keeper.tell(deliver={"from": address[1:], "to": SENDER[1:], "text": words})

    async def all_are_answered() -> bool:
        answered = [line for line in keeper.lines() if "from" in line.get("about", {})]
        return sum(line["answered"] == 0 for line in answered) == len(people)

    await until(all_are_answered)
    states = await run.states()
    unclaimed = [one for one in people if states[one] == MessageState.PENDING]
    await sending

    async def all_are_told() -> bool:
        return (await keeper.status())["waiting"] == 0

    await until(all_are_told)
    stop.set()
    heard = await listening

    assert len(unclaimed) >= 5, "the run was over before anybody could stop it"
    taken, ended = keeper.taken(), await run.states()
    assert not [one for one in unclaimed if one in taken]
    assert {ended[one] for one in unclaimed} == {"suppressed"}
    assert set(await office.stopped()) == set(people)
    others = [one for one in run.addresses if one not in people and not one.endswith("99")]
    assert {ended[one] for one in others} == {"delivered"}
    assert heard.left_to == heard.trouble == ""
    texts = await office.texts()
    assert sorted(row.source for row in texts) == sorted(people)
    assert {row.action for row in texts} == {"opted out"}


async def test_answers_go_out_once_by_the_listening_bind(office: Any, keeper: Keeper) -> None:
    """What a listener that died was sending is uncertain and stays so; the rest is sent."""
    await set_tenant_setting(
        office.database, tenant="acme", key="sms.replies", value=True, actor="test"
    )
    options = SmppOptions(**keeper.options())
    await note_route(
        office.database, bind=options.bind_name, sender=SENDER, tenant_id=office.tenant_id
    )
    numbers = [f"+49170{number:07d}" for number in range(1_000_000, 1_000_006)]
    await keeper.tell(binds=True)
    stop = asyncio.Event()
    listening = asyncio.create_task(
        listen(office.database, options, Listening(), stop=stop, tell=lambda _: None)
    )
    for number in (*numbers, *numbers):
        await keeper.tell(deliver={"from": number[1:], "to": SENDER[1:], "text": "STOP"})
    await keeper.tell(deliver={"from": numbers[0][1:], "to": SENDER[1:], "text": "HELP"})

    async def all_are_sent() -> bool:
        replies = await office.replies()
        return len(replies) == len(numbers) and {one.state for one in replies} == {"sent"}

    await until(all_are_sent)
    stop.set()
    await listening

    taken = keeper.taken()
    assert set(taken) == set(numbers)
    assert all(len(texts) == 1 for texts in taken.values())
    assert {line["registered_delivery"] for line in keeper.lines() if "id" in line} == {0}
    replies = await office.replies()
    assert {one.provider_id for one in replies} == {
        line["id"] for line in keeper.lines() if "id" in line
    }
    assert {one.parts for one in replies} == {1}
