"""One listener an account, within the account's binds; when listening ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.budgets.bind import SlotTimes
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.models import ReplyState, SmsReply
from ignition_ext.models.types import utc_now
from ignition_ext.returns.sms_listening import Heard, Listening, listen
from ignition_ext.values import new_id

SHORT = SlotTimes(look=timedelta(milliseconds=50), patience=timedelta(milliseconds=300))


@dataclass
class Post:
    """A listener in this process."""

    task: asyncio.Task[Heard]
    stop: asyncio.Event
    told: list[str] = field(default_factory=list)

    async def end(self) -> Heard:
        self.stop.set()
        return await self.task


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the far side has no event to wait on
            await asyncio.sleep(0.02)


@pytest.fixture
async def smsc() -> AsyncIterator[SmscSimulator]:
    async with SmscSimulator() as running:
        yield running


@pytest.fixture
async def start(office: Any, smsc: SmscSimulator) -> AsyncIterator[Callable[..., Post]]:
    """Starts listeners; those that are left are ended."""
    posts: list[Post] = []

    def begin(how: Listening, **changes: Any) -> Post:
        facts = {
            "host": smsc.host,
            "port": smsc.port,
            "system_id": "ignition",
            "password": "secret",
            "binds": 2,
            "reconnect_base": 0.05,
        }
        options = SmppOptions(**(facts | changes))
        stop, told = asyncio.Event(), list[str]()
        work = listen(office.database, options, how, stop=stop, tell=told.append)
        posts.append(Post(task=asyncio.create_task(work), stop=stop, told=told))
        return posts[-1]

    yield begin
    for post in posts:
        await post.end()


async def test_the_second_listener_waits_and_says_for_whom(
    smsc: SmscSimulator, start: Callable[..., Post]
) -> None:
    """When the first one ends it listens."""
    first = start(Listening(times=SHORT))
    await until(lambda: smsc.binds == 1)
    second = start(Listening(times=SHORT))
    await until(lambda: len(second.told) >= 2)

    assert "listener: 1 of 1 in use by receipts on" in second.told[0]
    assert smsc.binds == 1
    await first.end()
    await until(lambda: smsc.binds == 2)
    await until(lambda: any(words.startswith("listens at") for words in second.told))
    assert (await second.end()).left_to == ""


async def test_a_run_of_the_flow_leaves_it_to_who_listens(
    smsc: SmscSimulator, start: Callable[..., Post]
) -> None:
    """At once, and says so."""
    start(Listening(times=SHORT))
    await until(lambda: smsc.binds == 1)
    heard = await start(Listening(waits=False, seconds=60, times=SHORT)).task

    assert "in use by receipts on" in heard.left_to
    assert smsc.binds == 1


async def test_senders_with_all_binds_are_waited_for(
    office: Any, smsc: SmscSimulator, start: Callable[..., Post]
) -> None:
    """Its bind is one of the account's; the service waits, the flow gives up."""
    account = f"{smsc.host}:{smsc.port}/ignition"
    slots = Slots(office.database)
    sender = Claimant(account=account, allowed=1, owner="a run")
    holder = await slots.take(sender, timedelta(minutes=5))
    gave_up = await start(Listening(waits=False, seconds=60, times=SHORT), binds=1).task
    assert "1 of 1 in use by a run" in gave_up.left_to

    service = start(Listening(times=SHORT), binds=1)
    await until(lambda: len(service.told) >= 2)
    assert smsc.binds == 0
    await slots.leave(account, holder)  # type: ignore[arg-type]
    await until(lambda: smsc.binds == 1)


async def test_it_ends_when_nothing_comes_any_more(
    smsc: SmscSimulator, start: Callable[..., Post]
) -> None:
    """Or after so many seconds, whatever comes; without a bind it says why."""
    quiet = await start(Listening(quiet=0.2, times=SHORT)).task
    assert (quiet.receipts, quiet.trouble, smsc.binds) == (0, "", 1)
    timed = await start(Listening(seconds=0.5, times=SHORT)).task
    assert (timed.trouble == "") == (smsc.binds == 2)

    nobody = start(Listening(times=SHORT), port=free_port())
    await until(lambda: any("No connection" in words for words in nobody.told))
    assert "No connection" in (await nobody.end()).trouble


async def test_what_a_dead_listener_was_sending_is_uncertain(
    office: Any, smsc: SmscSimulator, start: Callable[..., Post]
) -> None:
    """It is not sent again, what nobody began is, and an old one is not worth it."""
    account, now = f"{smsc.host}:{smsc.port}/ignition", utc_now()
    states = (ReplyState.SENDING, ReplyState.PENDING, ReplyState.PENDING, ReplyState.PENDING)
    numbers = ["+4917011111111", "+4917022222222", "+4917033333333", "+999201000001"]
    async with office.database.write() as session:
        for place, (state, number) in enumerate(zip(states, numbers, strict=True)):
            session.add(
                SmsReply(
                    created_at=now - timedelta(days=2 if place == 2 else 0),
                    tenant_id=office.tenant_id,
                    inbound_id=new_id(),
                    bind=account,
                    source="12345",
                    destination=number,
                    keyword="help",
                    text="Hello",
                    state=state,
                    updated_at=now,
                )
            )
    start(Listening(times=SHORT))

    async def states_now() -> dict[str, str]:
        return {row.destination: row.state for row in await office.replies()}

    async with asyncio.timeout(60):
        while {"pending", "sending"} & set((await states_now()).values()):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    assert await states_now() == {
        numbers[0]: "uncertain",
        numbers[1]: "sent",
        numbers[2]: "expired",
        numbers[3]: "failed",
    }
    assert [one.destination for one in smsc.submits] == [numbers[1][1:]]
