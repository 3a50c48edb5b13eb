"""Links that break: what the journal says agrees with what the far side counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.errors import ChannelError, ConnectFailed, ProtocolViolation, Throttled
from ignition_ext.values import OutcomeKind

K = OutcomeKind
_PEOPLE = [f"user{number}@example.com" for number in range(30)]
_LARGE = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 76 + b"\r\n") * 100_000
_BEFORE = ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.fixture(params=["one by one", "pipelined"])
def raw_server(
    request: pytest.FixtureRequest, raw_server: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """Each test against a server that announces PIPELINING, and against one that does not."""
    if request.param == "one by one":
        return raw_server

    async def start(**options: Any) -> Any:
        return await raw_server(extensions=("8BITMIME", "SMTPUTF8", "PIPELINING"), **options)

    return start


def _agree(sender: Any, server: Any) -> None:
    """The server's own count against the journal's."""
    journal = sender.journal
    assert set(journal.intended) == set(journal.settled)
    assert sender.with_outcome(K.ACCEPTED) == server.taken
    for kind in (K.UNSENT, K.DEFERRED):
        assert not sender.with_outcome(kind) & server.taken
    assert not sender.with_outcome(K.UNSENT) & server.whole
    assert server.whole <= sender.with_outcome(K.ACCEPTED) | sender.with_outcome(K.UNCERTAIN)


@pytest.mark.parametrize("stage", ["CONNECT", *_BEFORE, "DOT", "QUIT"])
@pytest.mark.parametrize("action", ["hang up", "reset", b"25", b"220-half a reply\r\n250"])
async def test_one_broken_link_loses_nothing(
    stage: str, action: str | bytes, raw_server: Any, sender: Any, options: Any
) -> None:
    """Two sessions break; the others deliver, and each message has one true outcome."""
    server = await raw_server(plan={stage: action}, faults=2)

    try:
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)
    except ProtocolViolation:
        assert isinstance(action, bytes)
    else:
        assert len(sender.journal.settled) == len(_PEOPLE)

    _agree(sender, server)
    lost = sender.journal.kinds[K.UNSENT] + sender.journal.kinds[K.UNCERTAIN]
    assert lost <= 3
    assert sender.journal.kinds[K.UNCERTAIN] == (0 if stage != "DOT" else lost)
    assert all(not outcome.charges_attempt for outcome in sender.journal.settled.values()
               if outcome.kind in {K.UNSENT, K.UNCERTAIN})  # fmt: skip


@pytest.mark.parametrize("stage", ["CONNECT", *_BEFORE])
@pytest.mark.parametrize("action", ["hang up", "reset"])
async def test_a_server_that_always_hangs_up_is_given_up(
    stage: str, action: str, raw_server: Any, sender: Any, options: Any
) -> None:
    """After a few sessions, with nothing sent, and the message says where."""
    server = await raw_server(plan={stage: action})

    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{server.port}"):
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    _agree(sender, server)
    assert server.sessions == 3
    assert set(sender.journal.kinds) <= {K.UNSENT}


@pytest.mark.parametrize("action", ["hang up", "reset"])
async def test_hang_up_after_each_final_dot_is_uncertain_and_bounded(
    action: str, raw_server: Any, sender: Any, options: Any
) -> None:
    """The server has each of them, and will not be asked for more than a few."""
    server = await raw_server(plan={"DOT": action})

    with pytest.raises(ConnectFailed, match="do not hold"):
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    _agree(sender, server)
    assert sender.with_outcome(K.UNCERTAIN) == server.whole
    assert 1 <= len(server.whole) <= 5


@pytest.mark.parametrize("action", ["hang up", "reset"])
async def test_link_lost_in_a_long_body_is_unsent(
    action: str, raw_server: Any, sender: Any, options: Any
) -> None:
    """More than any socket's buffer is left, so the final dot cannot have gone out."""
    server = await raw_server(plan={"BODY": action}, faults=1)

    await sender.send(SmtpTransport(options(server.port, connections=1)), _PEOPLE[:3], _LARGE)

    _agree(sender, server)
    assert sender.journal.kinds == {K.UNSENT: 1, K.ACCEPTED: 2}


async def test_refusal_in_the_middle_of_the_body_is_heard(
    raw_server: Any, sender: Any, options: Any
) -> None:
    """A server may say why before it hangs up; that is a verdict and no lost link."""
    server = await raw_server(plan={"BODY": b"552 5.3.4 too big\r\n421 bye"}, faults=1)

    await sender.send(SmtpTransport(options(server.port, connections=1)), _PEOPLE[:2], _LARGE)

    outcomes = sorted((o.kind, o.enhanced) for o in sender.journal.settled.values())
    assert outcomes == [(K.ACCEPTED, "2.0.0"), (K.REJECTED, "5.3.4")]
    _agree(sender, server)


@pytest.mark.parametrize(
    ("stage", "kind"),
    [("MAIL", K.UNSENT), ("RCPT", K.UNSENT), ("DATA", K.UNSENT), ("DOT", K.UNCERTAIN)],
)
async def test_silence_ends_after_the_timeout(
    stage: str, kind: OutcomeKind, raw_server: Any, sender: Any, options: Any
) -> None:
    """A server that stops answering is hung up on; the next session goes on."""
    server = await raw_server(plan={stage: "silent"}, faults=1)
    impatient = options(server.port, command_timeout=0.2, final_reply_timeout=0.2, connections=1)

    await sender.send(SmtpTransport(impatient), _PEOPLE[:4])

    _agree(sender, server)
    assert sender.journal.kinds == {kind: 1, K.ACCEPTED: 3}


@pytest.mark.parametrize("stage", ["CONNECT", *_BEFORE, "DOT"])
@pytest.mark.parametrize("nonsense", [b"hello there\r\n", b"999 what\r\n", b"\x16\x03\x01\r\n"])
async def test_nonsense_stops_the_run_at_once(
    stage: str, nonsense: bytes, raw_server: Any, sender: Any, options: Any
) -> None:
    """What does not speak SMTP gets no further message; at most one a connection is uncertain."""
    server = await raw_server(plan={stage: nonsense})

    with pytest.raises(ProtocolViolation, match="not SMTP") as caught:
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    _agree(sender, server)
    assert "Check host and port" in caught.value.mend
    assert len(sender.journal.settled) <= 3


@pytest.mark.parametrize(
    ("stage", "reply"), [("DATA", b"250 2.0.0 Ok\r\n"), ("MAIL", b"354 go\r\n")]
)
async def test_success_in_the_wrong_place_is_nonsense(
    stage: str, reply: bytes, raw_server: Any, sender: Any, options: Any
) -> None:
    """250 to DATA or 354 to MAIL mean that we talk at cross purposes."""
    server = await raw_server(plan={stage: reply})

    with pytest.raises(ProtocolViolation):
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    _agree(sender, server)
    assert set(sender.journal.kinds) == {K.UNSENT}


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
async def test_421_is_no_attempt_and_the_rest_goes_on(
    stage: str, raw_server: Any, sender: Any, options: Any
) -> None:
    """Closed, reconnected, and the message is deferred at no charge."""
    server = await raw_server(plan={stage: b"421 4.3.2 restarting\r\n"}, faults=2)

    await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    _agree_without_whole(sender, server)
    deferred = [o for o in sender.journal.settled.values() if o.kind is K.DEFERRED]
    assert all(not outcome.charges_attempt and outcome.code == "421" for outcome in deferred)
    assert len(deferred) == (0 if stage in {"CONNECT", "EHLO"} else 2)
    assert sender.journal.kinds[K.ACCEPTED] == len(_PEOPLE) - len(deferred)


async def test_421_for_ever_is_given_up_for_now(raw_server: Any, sender: Any, options: Any) -> None:
    """The error is temporary: the run may come back later."""
    server = await raw_server(plan={"MAIL": b"421 4.7.0 slow down\r\n"})

    with pytest.raises(Throttled, match="slow down") as caught:
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    assert caught.value.temporary
    assert not server.taken


def _agree_without_whole(sender: Any, server: Any) -> None:
    assert set(sender.journal.intended) == set(sender.journal.settled)
    assert sender.with_outcome(K.ACCEPTED) == server.taken


async def test_nobody_listens(sender: Any, options: Any, unused_tcp_port: int) -> None:
    """Nothing is intended, and the error names the place and the mend."""
    with pytest.raises(ConnectFailed, match=f"127.0.0.1:{unused_tcp_port}: no connection") as e:
        await sender.send(SmtpTransport(options(unused_tcp_port)), _PEOPLE)

    assert e.value.mend
    assert sender.journal.intended == []


async def test_a_name_that_is_unknown(sender: Any, options: Any) -> None:
    """As for nobody listening."""
    transport = SmtpTransport(options(25, host="mail.invalid"))

    with pytest.raises(ConnectFailed, match=r"mail\.invalid:25"):
        await sender.send(transport, _PEOPLE)


async def test_permanent_greeting_stops_at_once(raw_server: Any, sender: Any, options: Any) -> None:
    """554 in the greeting is not asked again."""
    server = await raw_server(plan={"CONNECT": b"554 5.7.1 no mail from you\r\n"})

    with pytest.raises(ChannelError, match="no mail from you") as caught:
        await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    assert not caught.value.temporary
    assert server.sessions == 1


async def test_fewer_connections_than_wanted(raw_server: Any, sender: Any, options: Any) -> None:
    """A server that refuses the second session still gets everything over the first."""
    server = await raw_server()
    greet = server._answer
    open_sessions = 0

    async def limited(stage: str, usual: bytes, writer: Any) -> bool:
        nonlocal open_sessions
        if stage == "CONNECT":
            open_sessions += 1
            if open_sessions > 1:
                usual = b"554 5.7.0 one connection is enough\r\n"
        answered: bool = await greet(stage, usual, writer)
        return answered

    server._answer = limited
    await sender.send(SmtpTransport(options(server.port)), _PEOPLE)

    assert server.taken == set(_PEOPLE)
