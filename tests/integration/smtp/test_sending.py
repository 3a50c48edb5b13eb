"""Ordinary sending: outcomes per recipient, stop, cancellation, rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ignition_ext.channels.smtp import EmailEnvelope, SmtpTransport
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.errors import AuthenticationFailed, ChannelError
from ignition_ext.values import FailureClass, MessageId, OutcomeKind, new_id

K = OutcomeKind
_PEOPLE = [f"user{number}@example.com" for number in range(200)]


@pytest.fixture
async def capture() -> AsyncIterator[CaptureSmtpServer]:
    async with CaptureSmtpServer() as server:
        yield server


async def test_each_recipient_once_over_few_connections(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """200 messages, 3 connections, every byte as it was given."""
    body = b"Subject: dots\r\n\r\n.\r\n..two\r\nplain\r\n" + b"x" * 990 + b"\r\n"

    await sender.send(SmtpTransport(options(capture.port)), _PEOPLE, body)

    assert sorted(m.recipients[0] for m in capture.accepted) == sorted(_PEOPLE)
    assert {message.content for message in capture.messages} == {body}
    assert capture.connections == 3
    assert sender.journal.kinds == {K.ACCEPTED: 200}
    assert sender.journal.most_open <= 3
    assert {o.provider_id for o in sender.journal.settled.values()} == {"4CAPTURE1"}


async def test_refusals_do_not_lose_the_others(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """Each refused recipient gets its own outcome, on connections that stay open."""
    odd = {
        "reject-550.a@example.com": (K.REJECTED, FailureClass.ADDRESS),
        "reject-552.b@example.com": (K.DEFERRED, FailureClass.MAILBOX),
        "defer-451.c@example.com": (K.DEFERRED, FailureClass.POLICY),
        "content-reject-554.d@example.com": (K.REJECTED, FailureClass.POLICY),
        "content-defer-451.e@example.com": (K.DEFERRED, FailureClass.POLICY),
        "bad address@example.com": (K.REJECTED, FailureClass.ADDRESS),
    }

    await sender.send(SmtpTransport(options(capture.port)), [*_PEOPLE[:20], *odd, *_PEOPLE[20:40]])

    found = {sender.addresses[each]: outcome for each, outcome in sender.journal.settled.items()}
    assert {name: (found[name].kind, found[name].failure_class) for name in odd} == odd
    assert sorted(m.recipients[0] for m in capture.accepted) == sorted(_PEOPLE[:40])
    assert capture.connections == 3


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("busy", K.DEFERRED),
        ("drop-at-rcpt", K.UNSENT),
        ("drop-before-final", K.UNCERTAIN),
        ("drop-after-final", K.UNCERTAIN),
    ],
)
async def test_links_that_the_capture_server_breaks(
    marker: str, kind: OutcomeKind, capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """The rest goes on over a new connection. (The small body is out before the link breaks.)"""
    people = [*_PEOPLE[:10], f"{marker}@example.com", *_PEOPLE[10:20]]

    await sender.send(SmtpTransport(options(capture.port)), people)

    assert sender.with_outcome(kind) == {f"{marker}@example.com"}
    assert sorted(m.recipients[0] for m in capture.accepted) == sorted(_PEOPLE[:20])
    assert capture.received == (21 if marker == "drop-after-final" else 20)


async def test_what_the_ledger_takes_back_is_not_sent(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """Ids missing from the answer to an intent never reach the wire."""

    async def refuse_even(message_id: MessageId) -> None:
        if sender.addresses[message_id].startswith("user1"):
            sender.journal.refused.add(message_id)

    sender.journal.on_intend = refuse_even
    await sender.send(SmtpTransport(options(capture.port)), _PEOPLE[:30])

    assert not [m for m in capture.messages if m.recipients[0].startswith("user1")]
    assert len(capture.accepted) == 30 - 11
    assert len(sender.journal.settled) == 30 - 11


async def test_no_connection_for_no_messages(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """And as few connections as there are messages."""
    transport = SmtpTransport(options(capture.port, connections=10))

    await sender.send(transport, [])
    assert capture.connections == 0

    await sender.send(transport, _PEOPLE[:2])
    assert capture.connections <= 2


async def test_addresses_in_other_scripts(
    capture: CaptureSmtpServer, journal: Any, options: Any
) -> None:
    """SMTPUTF8 where the server offers it; refused in words where it does not."""

    async def one() -> AsyncIterator[EmailEnvelope]:
        yield EmailEnvelope(
            message_id=MessageId(new_id()),
            envelope_from="news@example.com",
            recipient="用户@example.com",
            content="To: 用户@example.com\r\n\r\nhello\r\n".encode(),
            smtputf8=True,
        )

    await SmtpTransport(options(capture.port)).deliver(one(), journal, asyncio.Event())
    async with CaptureSmtpServer(smtputf8=False) as old:
        await SmtpTransport(options(old.port)).deliver(one(), journal, asyncio.Event())

    accepted, refused = journal.settled.values()
    assert accepted.kind is K.ACCEPTED
    assert capture.messages[0].recipients == ("用户@example.com",)
    assert (refused.kind, refused.failure_class) == (K.REJECTED, FailureClass.ADDRESS)
    assert "does not offer SMTPUTF8" in refused.text
    assert old.received == 0


async def test_refused_sender_stops_the_run(raw_server: Any, sender: Any, options: Any) -> None:
    """A 5xx to MAIL is meant for us: one error, and no message is used up."""
    server = await raw_server(plan={"MAIL": b"550 5.7.1 sender not allowed\r\n"})

    with pytest.raises(
        ChannelError, match=r"refuses MAIL: 550 5\.7\.1 sender not allowed"
    ) as caught:
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    assert not caught.value.temporary
    assert caught.value.mend
    assert set(sender.journal.kinds) == {K.UNSENT}
    assert len(sender.journal.settled) == 1


async def test_login_wanted_stops_the_run(sender: Any, options: Any) -> None:
    """530: the block lacks a user name."""
    async with CaptureSmtpServer(users={"ada": "x"}) as server:
        with pytest.raises(AuthenticationFailed, match="530"):
            await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    assert server.received == 0


async def test_reset_follows_a_refused_recipient(
    raw_server: Any, sender: Any, options: Any
) -> None:
    """The next MAIL does not meet the transaction of the one before; without RSET, reconnect."""
    plan = {"RCPT": b"550 5.1.1 unknown\r\n"}
    server = await raw_server(plan=plan, faults=1)

    await sender.send(SmtpTransport(options(server.port, connections=1)), _PEOPLE[:3])

    verbs = [line.split()[0] for line in server.commands]
    assert verbs[:5] == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL"]
    assert server.sessions == 1
    assert sender.journal.kinds == {K.REJECTED: 1, K.ACCEPTED: 2}


async def test_failed_reset_keeps_the_verdict(raw_server: Any, sender: Any, options: Any) -> None:
    """The recipient stays refused, the rest goes over a new connection."""
    server = await raw_server(plan={"DATA": b"451 4.3.0 no\r\n", "RSET": "hang up"}, faults=2)

    await sender.send(SmtpTransport(options(server.port, connections=1)), _PEOPLE[:4])

    assert sender.journal.kinds == {K.DEFERRED: 1, K.ACCEPTED: 3}
    assert server.sessions == 2


async def test_stop_intends_nothing_more(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """What is on the wire is answered; the rest was never intended."""
    sent = 0

    async def stop_after_ten(_: object) -> None:
        nonlocal sent
        sent += 1
        if sent == 10:
            sender.stop.set()

    sender.journal.on_settle = stop_after_ten
    await sender.send(SmtpTransport(options(capture.port)), _PEOPLE)

    assert 10 <= len(sender.journal.intended) <= 13
    assert sender.journal.kinds == {K.ACCEPTED: len(sender.journal.intended)}
    assert capture.received == len(sender.journal.intended)


async def test_stop_before_the_start_opens_nothing(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """A run that is already stopped costs no connection."""
    sender.stop.set()

    await sender.send(SmtpTransport(options(capture.port)), _PEOPLE)

    assert capture.connections == 0


@pytest.mark.parametrize(("stage", "kind"), [("RCPT", K.UNSENT), ("DOT", K.UNCERTAIN)])
async def test_stop_gives_up_on_a_silent_server(
    stage: str, kind: OutcomeKind, raw_server: Any, sender: Any, options: Any
) -> None:
    """After the drain time, with the outcome that the last byte allows."""
    server = await raw_server(plan={stage: "silent"})
    running = asyncio.create_task(
        sender.send(SmtpTransport(options(server.port, drain_timeout=0.1)), _PEOPLE)
    )
    await server.reached.wait()

    sender.stop.set()
    await running

    assert sender.journal.kinds == {kind: 1}


async def test_stop_while_the_source_waits(
    capture: CaptureSmtpServer, journal: Any, options: Any
) -> None:
    """A source that has nothing to give does not hold up the end."""
    stop, asked = asyncio.Event(), asyncio.Event()

    async def nothing_yet() -> AsyncIterator[EmailEnvelope]:
        asked.set()
        await asyncio.Event().wait()
        yield EmailEnvelope(
            message_id=MessageId(new_id()), envelope_from="", recipient="", content=b""
        )

    running = asyncio.create_task(
        SmtpTransport(options(capture.port)).deliver(nothing_yet(), journal, stop)
    )
    await asked.wait()
    stop.set()
    await running

    assert journal.intended == []


@pytest.mark.parametrize(("stage", "kind"), [("RCPT", K.UNSENT), ("DOT", K.UNCERTAIN)])
async def test_cancellation_settles_first(
    stage: str, kind: OutcomeKind, raw_server: Any, sender: Any, options: Any
) -> None:
    """Cancelled twice, as an impatient caller does: settled, then cancelled."""
    server = await raw_server(plan={stage: "silent"})
    running = asyncio.create_task(sender.send(SmtpTransport(options(server.port)), _PEOPLE))
    await server.reached.wait()

    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert sender.journal.kinds == {kind: 1}


async def test_cancellation_within_the_journal(
    capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """Between the request and the answer of an intent: it is stored, and it is settled."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def hold(_: object) -> None:
        inside.set()
        await go_on.wait()

    sender.journal.on_intend = hold
    running = asyncio.create_task(sender.send(SmtpTransport(options(capture.port)), _PEOPLE))
    await inside.wait()
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert set(sender.journal.settled) == set(sender.journal.intended)
    assert len(sender.journal.intended) == capture.received == 1


@pytest.mark.parametrize("call", ["on_intend", "on_settle"])
async def test_a_journal_that_fails_ends_the_delivery(
    call: str, capture: CaptureSmtpServer, sender: Any, options: Any
) -> None:
    """Without a ledger nothing more is sent; the caller hears the journal's own error."""
    calls = 0

    async def fail(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise RuntimeError("the database is away")

    setattr(sender.journal, call, fail)
    with pytest.raises(RuntimeError, match="database is away"):
        await sender.send(SmtpTransport(options(capture.port)), _PEOPLE)

    assert capture.received <= 8


async def test_a_source_that_fails_is_heard(
    capture: CaptureSmtpServer, journal: Any, options: Any
) -> None:
    """What came before its error is sent and settled."""

    async def two_then_error() -> AsyncIterator[EmailEnvelope]:
        for recipient in _PEOPLE[:2]:
            yield EmailEnvelope(
                message_id=MessageId(new_id()),
                envelope_from="news@example.com",
                recipient=recipient,
                content=b"\r\nx\r\n",
            )
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        await SmtpTransport(options(capture.port)).deliver(
            two_then_error(), journal, asyncio.Event()
        )

    assert journal.kinds == {K.ACCEPTED: 2}


async def test_idle_connection_that_was_closed_is_replaced(
    raw_server: Any, journal: Any, options: Any
) -> None:
    """A server's 421 for idling, sent while nobody asked, costs no message."""
    server = await raw_server()
    said, settled, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    usual = server._answer

    async def farewell(stage: str, text: bytes, writer: Any) -> bool:
        answered: bool = await usual(stage, text, writer)
        if stage == "DOT" and not said.is_set():
            writer.write(b"421 4.4.2 idle\r\n")
            await writer.drain()
            writer.close()
            said.set()
        return answered

    async def two() -> AsyncIterator[EmailEnvelope]:
        for recipient in _PEOPLE[:2]:
            yield EmailEnvelope(
                message_id=MessageId(new_id()),
                envelope_from="news@example.com",
                recipient=recipient,
                content=b"\r\nx\r\n",
            )
            await go_on.wait()

    async def note(_: object) -> None:
        settled.set()

    journal.on_settle = note
    server._answer = farewell
    running = asyncio.create_task(
        SmtpTransport(options(server.port, connections=1)).deliver(two(), journal, asyncio.Event())
    )
    await said.wait()
    await settled.wait()
    go_on.set()
    await running

    assert journal.kinds == {K.ACCEPTED: 2}
    assert server.sessions == 2
