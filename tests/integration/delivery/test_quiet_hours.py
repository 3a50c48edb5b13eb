"""Quiet hours on real databases, with a real server that counts what reaches it.

The hours are laid around the present moment, so that the tests mean the same at any hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from ignition_ext.channels.smpp import SmppOptions, SmppTransport, SmsEnvelope
from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.channels.transport import Transport
from ignition_ext.database import Database, database_now
from ignition_ext.delivery.batch import BatchResult, Sender, deliver_batch
from ignition_ext.delivery.hold import Hold
from ignition_ext.delivery.local_time import LocalTime, database_clock
from ignition_ext.delivery.recipients import Hours, Intake, messages_of
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.ledger.contract import ClaimedMessage, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import CampaignRun, Message, MessageEvent
from ignition_ext.schedules.local_time import QuietHours
from ignition_ext.values import Channel, MessageState, Recipient, RunRef

HERE, AWAKE = "Etc/UTC", "Etc/GMT-6"
"""Quiet hours of some hours around the present here are over there, six hours ahead."""
Connect = Callable[[bool], Transport[EmailEnvelope]]


def around(now: datetime) -> QuietHours:
    """Two hours before until two hours after, to the minute."""
    start, end = now - timedelta(hours=2), now + timedelta(hours=2)
    return QuietHours(
        start=start.time().replace(second=0, microsecond=0),
        end=end.time().replace(second=0, microsecond=0),
    )


@pytest.fixture
async def now(database: Database) -> datetime:
    async with database.read() as session:
        return await database_now(session)


@pytest.fixture
def end(now: datetime) -> datetime:
    """When the quiet hours here end."""
    return (now + timedelta(hours=2)).replace(second=0, microsecond=0)


async def fill(stage: Any, people: dict[str, str | None]) -> None:
    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        yield [
            NewMessage(
                channel=Channel.EMAIL, address=address, domain="example.com", timezone=timezone
            )
            for address, timezone in people.items()
        ]

    await stage.ledger.snapshot(stage.run, batches())


async def send(stage: Any, sender: Sender[EmailEnvelope]) -> BatchResult:
    return await deliver_batch(stage.ledger, stage.run, sender, stage.limits, stop=asyncio.Event())


async def rows(stage: Any) -> dict[str, Message]:
    async with stage.database.read() as session:
        return {row.address: row for row in await session.exec(select(Message))}


async def test_what_lies_in_quiet_hours_goes_back_until_they_end(
    stage, server: CaptureSmtpServer, connect: Connect, now: datetime, end: datetime
) -> None:
    """Nobody is connected to, no attempt is counted, and the ledger says when and why."""
    await fill(stage, {"ada@example.com": None, "bob@example.com": HERE})
    rules = LocalTime(HERE, quiet=around(now))
    clock = await database_clock(stage.database)
    sender = replace(stage.sender(connect), hold=partial(Hold, rules, clock))

    held = await send(stage, sender)
    again = await send(stage, sender)

    assert (held.claimed, held.settled) == (2, {MessageState.PENDING: 2})
    assert (again.claimed, again.over) == (0, False)
    assert again.next_at is not None
    assert end <= again.next_at < end + timedelta(seconds=5)
    assert (server.received, server.connections) == (0, 0)
    for row in (await rows(stage)).values():
        assert (row.state, row.attempts, row.intended_at) == ("pending", 0, None)
        assert row.detail.startswith("held for quiet hours until ")
    async with stage.database.read() as session:
        events = (await session.exec(select(MessageEvent))).all()
    assert {(event.old_state, event.new_state) for event in events} == {("claimed", "pending")}


async def test_who_is_awake_gets_the_message_while_others_sleep(
    stage, server: CaptureSmtpServer, connect: Connect, now: datetime
) -> None:
    """Each by the own clock; the tenant's where nothing is known."""
    await fill(stage, {"here@example.com": None, "there@example.com": AWAKE})
    rules = LocalTime(HERE, quiet=around(now))
    clock = await database_clock(stage.database)

    await send(stage, replace(stage.sender(connect), hold=partial(Hold, rules, clock)))

    assert await stage.states() == {
        "here@example.com": MessageState.PENDING,
        "there@example.com": MessageState.SENT,
    }
    assert server.received == 1


async def test_hours_that_begin_before_the_first_byte_keep_a_message_that_is_made_already(
    stage, server: CaptureSmtpServer, connect: Connect, now: datetime
) -> None:
    """It was claimed and rendered in time; what counts is when it would be written."""
    hours = around(now)
    opening = now - timedelta(hours=3)
    shown = [opening]

    class Slow:
        """The night falls while it works."""

        def build(self, message: ClaimedMessage) -> EmailEnvelope:
            made: EmailEnvelope = plain.workshop.build(message)
            if message.address == "late@example.com":
                shown[0] = now
            return made

    await fill(stage, {"early@example.com": HERE, "late@example.com": HERE})
    rules = LocalTime(HERE, quiet=hours)
    plain = stage.sender(connect)
    sender = replace(plain, workshop=Slow(), hold=partial(Hold, rules, lambda: shown[0]))

    result = await send(stage, sender)

    states = await stage.states()
    assert states["late@example.com"] is MessageState.PENDING
    assert (await rows(stage))["late@example.com"].attempts == 0
    assert server.received == list(states.values()).count(MessageState.SENT)
    assert sum(result.settled.values()) == 2


async def test_a_retry_that_falls_due_in_quiet_hours_waits_for_their_end(
    stage, server: CaptureSmtpServer, connect: Connect, now: datetime
) -> None:
    """The attempt that was made still counts, the one that was not does not."""
    await fill(stage, {"defer-450@example.com": HERE})
    at_once = StandardRetry(strategy="fixed", attempts=5, base=timedelta(0), max=timedelta(0))
    plain = replace(stage.sender(connect), retry=at_once)
    await send(stage, plain)
    before = (await rows(stage))["defer-450@example.com"]
    clock = await database_clock(stage.database)
    rules = LocalTime(HERE, quiet=around(now))

    await send(stage, replace(plain, hold=partial(Hold, rules, clock)))

    after = (await rows(stage))["defer-450@example.com"]
    assert (before.state, before.attempts) == ("deferred", 1)
    assert (after.state, after.attempts) == ("pending", 1)


async def test_the_snapshot_holds_each_recipient_until_the_local_time(
    stage, connect: Connect, now: datetime, server: CaptureSmtpServer
) -> None:
    """Six hours ahead the clock has shown it already: theirs is tomorrow's."""
    begin = now.replace(microsecond=0)
    at = (begin + timedelta(hours=1)).time()
    rules = LocalTime(HERE, at=at)
    people = [
        Recipient(email="here@example.com", phone=None),
        Recipient(email="ahead@example.com", phone=None, timezone=AWAKE),
        Recipient(email="behind@example.com", phone=None, timezone="Etc/GMT+1"),
    ]

    async def source() -> AsyncIterator[Sequence[Recipient]]:
        yield people

    hours = Hours(rules=rules, begin=begin, now=await database_clock(stage.database))
    await stage.ledger.snapshot(
        stage.run, messages_of(source(), Channel.EMAIL, Intake(), hours=hours)
    )
    result = await send(stage, stage.sender(connect))

    due = {address: row.not_before for address, row in (await rows(stage)).items()}
    assert due == {
        "here@example.com": begin + timedelta(hours=1),
        "ahead@example.com": begin + timedelta(hours=19),
        "behind@example.com": begin + timedelta(hours=2),
    }
    assert (result.claimed, result.next_at) == (0, begin + timedelta(hours=1))
    assert server.received == 0


async def test_what_is_held_beyond_the_deadline_expires_at_the_deadline(
    stage, connect: Connect, now: datetime
) -> None:
    """The run comes back then, and not when the message would have been due."""
    async with stage.database.write() as session:
        row = await session.get_one(CampaignRun, stage.run.id)
        campaign_id = row.campaign_id
    opened = await open_run(
        stage.database,
        RunRequest(
            tenant_id=stage.run.tenant_id,
            campaign_id=campaign_id,
            campaign_version=1,
            deadline=timedelta(hours=1),
        ),
        actor="test",
    )
    run: RunRef = opened.ref
    limited = replace(stage, run=run)
    await fill(limited, {"ada@example.com": None})
    rules = LocalTime(HERE, quiet=around(now))
    clock = await database_clock(stage.database)
    sender = replace(stage.sender(connect), hold=partial(Hold, rules, clock))
    await send(limited, sender)

    waiting = await send(limited, sender)
    async with stage.database.write() as session:
        found = await session.get_one(CampaignRun, run.id)
        deadline = found.deadline
        found.deadline = now - timedelta(seconds=1)
        session.add(found)
    over = await send(limited, sender)

    assert waiting.next_at == deadline
    assert over.over
    assert over.counts[MessageState.EXPIRED] == 1


class TextWorkshop:
    """Writes a greeting."""

    def build(self, message: ClaimedMessage) -> SmsEnvelope:
        return SmsEnvelope(
            message_id=message.id, source="Acme", destination=message.address, text="Hello"
        )


async def test_a_text_message_keeps_the_hours_of_its_number(
    stage, connect: Connect, now: datetime
) -> None:
    """The SMSC gets the one for Tokyo, and nothing of the one for Berlin."""
    berlin, tokyo = "+4915123456789", "+819012345678"

    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        yield [
            NewMessage(channel=Channel.SMS, address=number, domain="") for number in (berlin, tokyo)
        ]

    await stage.ledger.snapshot(stage.run, batches())
    rules = LocalTime(HERE, quiet=around(now.astimezone(ZoneInfo("Europe/Berlin"))))
    clock = await database_clock(stage.database)
    async with SmscSimulator() as smsc:
        options = SmppOptions(
            host="127.0.0.1", port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        sender = replace(
            stage.sender(connect),
            workshop=TextWorkshop(),
            connect=lambda last: SmppTransport(options),
            hold=partial(Hold, rules, clock),
        )
        await send(stage, sender)

        assert len(smsc.submits) == 1
    assert await stage.states() == {berlin: MessageState.PENDING, tokyo: MessageState.SENT}


async def test_several_zones_of_a_number_have_to_be_awake_together() -> None:
    """A Russian mobile number may be in Kaliningrad or in Kamchatka."""
    rules = LocalTime("Europe/Berlin", quiet=QuietHours.parse("21:00-08:00"))
    zones = rules.zones(Channel.SMS, "+79161234567", None, {})
    moment = datetime(2026, 11, 21, 0, tzinfo=UTC)

    opens = rules.opens(moment, zones)

    assert len(zones) > 5
    assert opens == datetime(2026, 11, 21, 6, tzinfo=UTC)
    for zone in zones:
        assert 8 <= opens.astimezone(zone).hour < 21
