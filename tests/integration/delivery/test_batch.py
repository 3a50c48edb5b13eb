import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.channels.transport import Journal, Transport
from ignition_ext.delivery.batch import BatchLimits, deliver_batch
from ignition_ext.delivery.tally import Tally
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.postgres import free_port
from ignition_ext.ledger.runs import set_run_state
from ignition_ext.values import Delivery, MessageState, Outcome, OutcomeKind, RunState

Connect = Callable[[bool], Transport[EmailEnvelope]]


async def test_each_message_arrives_once_and_is_sent(
    stage, server: CaptureSmtpServer, connect: Connect
) -> None:
    """The capture server holds exactly what the ledger says."""
    addresses = [f"p{number}@example.com" for number in range(25)]
    await stage.fill(*addresses)
    told: list[Mapping[MessageState, int]] = []

    result = await deliver_batch(
        stage.ledger,
        stage.run,
        stage.sender(connect),
        stage.limits,
        stop=asyncio.Event(),
        tally=Tally(told.append),
    )

    assert sorted(message.recipients[0] for message in server.accepted) == sorted(addresses)
    assert result.settled == {MessageState.SENT: 25}
    assert (result.over, result.released, result.error) == (True, 0, None)
    assert {sum(counts.values()) for counts in told} == {25}
    assert told[-1][MessageState.SENT] == 25


async def test_a_message_that_cannot_be_made_fails_alone(
    stage, server: CaptureSmtpServer, connect: Connect
) -> None:
    """Neither a template's error nor a bad address stops the others; nothing of it is sent."""
    await stage.fill("ada@example.com", "unrenderable@example.com", "unaddressable@example.com")

    result = await deliver_batch(
        stage.ledger, stage.run, stage.sender(connect), stage.limits, stop=asyncio.Event()
    )

    assert await stage.states() == {
        "ada@example.com": MessageState.SENT,
        "unrenderable@example.com": MessageState.FAILED,
        "unaddressable@example.com": MessageState.FAILED,
    }
    assert await stage.ledger.failures(stage.run) == {"render": 1, "address": 1}
    assert [message.recipients for message in server.messages] == [("ada@example.com",)]
    assert result.over


async def test_refusals_become_states_and_the_next_look_is_when_one_is_due(
    stage, connect: Connect
) -> None:
    """A deferred message keeps the run open until its time."""
    await stage.fill("ada@example.com", "reject-550@example.com", "defer-451@example.com")
    first = await deliver_batch(
        stage.ledger, stage.run, stage.sender(connect), stage.limits, stop=asyncio.Event()
    )
    second = await deliver_batch(
        stage.ledger, stage.run, stage.sender(connect), stage.limits, stop=asyncio.Event()
    )

    assert first.settled == {
        MessageState.SENT: 1,
        MessageState.FAILED: 1,
        MessageState.DEFERRED: 1,
    }
    assert (second.claimed, second.over) == (0, False)
    assert second.next_at is not None
    assert timedelta(minutes=55) < second.next_at - datetime.now(UTC) < timedelta(minutes=65)


async def test_a_server_that_is_down_leaves_everything_sendable(stage) -> None:
    """The error is handed back; no message is lost, failed or held."""
    await stage.fill("ada@example.com", "bob@example.com")
    options = SmtpOptions(host="127.0.0.1", port=free_port(), security="none", reconnect_attempts=1)
    result = await deliver_batch(
        stage.ledger,
        stage.run,
        stage.sender(lambda last: SmtpTransport(options)),
        stage.limits,
        stop=asyncio.Event(),
    )

    assert result.error is not None
    assert str(options.port) in str(result.error)
    assert set((await stage.states()).values()) == {MessageState.PENDING}
    assert result.released == 2


class Patient:
    """A transport that sends one message and then waits for the stop; counts for the test."""

    def __init__(self) -> None:
        self.waits = asyncio.Event()
        self.last: bool | None = None

    def connect(self, last: bool) -> Transport[EmailEnvelope]:
        self.last = last
        return self

    async def deliver(
        self, envelopes: AsyncIterator[EmailEnvelope], journal: Journal, stop: asyncio.Event
    ) -> None:
        envelope = await anext(envelopes)
        await journal.intend([envelope.message_id])
        self.waits.set()
        await stop.wait()
        accepted = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
        await journal.settle([Delivery(message_id=envelope.message_id, outcome=accepted)])


@pytest.mark.parametrize("asked", [RunState.PAUSED, RunState.CANCELLED])
async def test_pause_and_cancel_stop_a_batch_that_is_under_way(stage, asked: RunState) -> None:
    """What is on the wire is settled, the rest given back; the operator waits for no batch."""
    await stage.fill(*(f"p{number}@example.com" for number in range(5)))
    transport = Patient()
    batch = asyncio.create_task(
        deliver_batch(
            stage.ledger,
            stage.run,
            stage.sender(transport.connect),
            stage.limits,
            stop=asyncio.Event(),
        )
    )
    await transport.waits.wait()
    await set_run_state(stage.database, stage.run.id, asked, reason="asked", actor="test")
    async with asyncio.timeout(60):
        result = await batch

    assert result.run_state is asked
    assert result.released == 4
    assert Counter((await stage.states()).values()) == {
        MessageState.SENT: 1,
        MessageState.PENDING: 4,
    }


async def test_an_interrupted_batch_gives_back_what_it_did_not_send(stage) -> None:
    """Also when its very task is cancelled: nobody has to wait for the lease to lapse."""
    await stage.fill(*(f"p{number}@example.com" for number in range(5)))
    transport = Patient()
    batch = asyncio.create_task(
        deliver_batch(
            stage.ledger,
            stage.run,
            stage.sender(transport.connect),
            stage.limits,
            stop=asyncio.Event(),
        )
    )
    await transport.waits.wait()
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch

    assert Counter((await stage.states()).values()) == {
        MessageState.SENDING: 1,
        MessageState.PENDING: 4,
    }


async def test_the_transport_is_told_when_it_sends_the_last_messages(stage) -> None:
    """Only then does an SMS bind linger for receipts."""
    await stage.fill("ada@example.com", "bob@example.com")
    told = []
    stop = asyncio.Event()
    stop.set()
    for messages in (1, 2):
        transport = Patient()
        limits = BatchLimits(
            messages=messages, lease=timedelta(minutes=1), look_every=timedelta(seconds=1)
        )
        stop = asyncio.Event()
        batch = asyncio.create_task(
            deliver_batch(
                stage.ledger, stage.run, stage.sender(transport.connect), limits, stop=stop
            )
        )
        await transport.waits.wait()
        stop.set()
        await batch
        told.append(transport.last)

    assert told == [False, True]


async def test_a_lease_is_kept_for_as_long_as_a_batch_takes(stage) -> None:
    """A slow server does not make a second sender take the messages over."""
    await stage.fill("ada@example.com", "bob@example.com")
    transport = Patient()
    stop = asyncio.Event()
    limits = BatchLimits(
        messages=10, lease=timedelta(seconds=1), look_every=timedelta(milliseconds=100)
    )
    batch = asyncio.create_task(
        deliver_batch(stage.ledger, stage.run, stage.sender(transport.connect), limits, stop=stop)
    )
    await transport.waits.wait()
    ends = asyncio.get_running_loop().time() + 2 * limits.lease.total_seconds()
    while asyncio.get_running_loop().time() < ends:
        other = await stage.ledger.claim(stage.run, limit=10, lease=timedelta(minutes=1))
        assert not other.messages
        await asyncio.sleep(0.1)
    stop.set()
    await batch

    assert Counter((await stage.states()).values()) == {
        MessageState.SENT: 1,
        MessageState.PENDING: 1,
    }


async def test_a_batch_of_several_claims_sends_each_message_once(
    stage, server: CaptureSmtpServer, connect: Connect
) -> None:
    """One delivery, whose connections do not end with a claim; the batch stops where it must."""
    addresses = [f"p{number}@example.com" for number in range(45)]
    await stage.fill(*addresses, "unrenderable@example.com")
    limits = replace(stage.limits, messages=40, portion=7)
    first = await deliver_batch(
        stage.ledger, stage.run, stage.sender(connect), limits, stop=asyncio.Event()
    )
    connections = server.connections
    second = await deliver_batch(
        stage.ledger, stage.run, stage.sender(connect), limits, stop=asyncio.Event()
    )

    assert (first.claimed, first.over, first.released) == (40, False, 0)
    assert connections <= 2
    assert (second.claimed, second.over) == (6, True)
    assert second.counts[MessageState.SENT] == 45
    assert second.counts[MessageState.FAILED] == 1
    assert sorted(message.recipients[0] for message in server.accepted) == sorted(addresses)


async def test_what_was_claimed_ahead_is_given_back_too(stage) -> None:
    """A stop leaves nothing under a lease, neither of this claim nor of the next."""
    await stage.fill(*(f"p{number}@example.com" for number in range(20)))
    transport, stop = Patient(), asyncio.Event()
    limits = replace(stage.limits, portion=2)
    batch = asyncio.create_task(
        deliver_batch(stage.ledger, stage.run, stage.sender(transport.connect), limits, stop=stop)
    )
    await transport.waits.wait()
    stop.set()
    result = await batch
    free = await stage.ledger.claim(stage.run, limit=50, lease=timedelta(minutes=1))

    assert result.settled == {MessageState.SENT: 1}
    assert result.released == result.claimed - 1
    assert len(free.messages) == 19
