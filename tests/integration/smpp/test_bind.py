"""Getting bound, or a clear word why not, without ever hammering the SMSC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from blocks import SmppGateway
from ignition_ext.channels.smpp import SmppOptions, SmppTransport
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.errors import (
    AuthenticationFailed,
    ChannelError,
    ConfigurationError,
    ConnectFailed,
    ProtocolViolation,
    Throttled,
)
from ignition_ext.values import OutcomeKind

Until = Callable[..., Awaitable[None]]
ONE = [("+4915112345678", "Hi")]


async def test_check_binds_and_unbinds_without_sending(bench: Any) -> None:
    """And says what the SMSC says of itself."""
    offer = await SmppTransport(bench.options()).check()

    assert (offer.system_id, offer.interface_version) == ("IgnitionSMSC", "3.4")
    assert offer.tls == ""
    assert [one[0] for one in bench.smsc.heard] == [wire.BIND_TRANSCEIVER, wire.UNBIND]


@pytest.mark.parametrize("bind", ["transceiver", "transmitter", "receiver"])
async def test_the_block_checks_with_its_own_bind(bench: Any, bind: Any) -> None:
    """The block's fields reach the wire."""
    gateway = SmppGateway(
        host=bench.smsc.host,
        port=bench.smsc.port,
        system_id="ignition",
        password="secret",
        bind=bind,
    )

    assert (await gateway.check()).bind == bind


@pytest.mark.parametrize("status", [0x0E, 0x0F, 0x53])
async def test_a_refused_login_is_tried_once(bench: Any, status: int) -> None:
    """Providers lock accounts; nothing was intended."""
    bench.smsc.bind_statuses = [status] * 10
    with pytest.raises(AuthenticationFailed, match=f"0x{status:08X}") as caught:
        await bench.deliver(ONE, binds=1)

    assert bench.smsc.bind_attempts == 1
    assert bench.journal.intended == []
    assert not caught.value.temporary
    assert str(bench.smsc.port) in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_wrong_password_is_said(bench: Any) -> None:
    """With the mend."""
    with pytest.raises(AuthenticationFailed, match="Check system id, password"):
        await bench.deliver(ONE, password="wrong")


async def test_a_login_that_is_refused_midway_stops_the_delivery(bench: Any) -> None:
    """The password was changed while we were sending: one try, the rest is not begun."""
    bench.smsc.response_delay = 0.01
    task = asyncio.create_task(
        bench.deliver([(f"+4915100{index:06d}", "Hi") for index in range(200)], window=2)
    )
    await bench.journal.changed.wait()
    bench.smsc.password = "changed"
    bench.smsc.drop()
    with pytest.raises(AuthenticationFailed):
        await task

    assert bench.smsc.bind_attempts == 2
    assert len(bench.journal.intended) < 200


async def test_bind_failed_is_tried_slowly(bench: Any) -> None:
    """0x0D mostly means that another process still holds the bind."""
    bench.smsc.bind_statuses = [0x0D, 0x0D]
    journal = await bench.deliver(ONE)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.bind_attempts == 3


async def test_bind_failed_for_too_long_is_an_error(bench: Any) -> None:
    """It names the likely reasons."""
    bench.smsc.bind_statuses = [0x0D] * 1000
    with pytest.raises(ConnectFailed, match="too many binds"):
        await bench.deliver(ONE, bind_patience=0.1)

    assert bench.journal.intended == []


@pytest.mark.parametrize("status", [0x0D, 0x58])
async def test_a_run_is_not_kept_waiting_for_a_first_bind(
    bench: Any,
    clock: Any,
    wait_until: Until,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    """As a block sets it, with several tries: after 20 s at the latest the run knows.

    The clock moves by just the pause that the sender has begun, never while it connects.
    """
    bench.smsc.bind_statuses = [status] * 1000
    default = SmppOptions(host="h")
    task = asyncio.create_task(
        bench.deliver(ONE, bind_retry=default.bind_retry, bind_patience=default.bind_patience)
    )
    pauses: list[float] = []

    def paused_anew() -> bool:
        pauses[:] = [one.args[0] for one in caplog.records if "trying again" in one.msg]  # type: ignore[index, misc]
        return task.done() or len(pauses) > passed

    passed = 0
    while True:
        await wait_until(paused_anew)
        if task.done():
            break
        await clock.advance(pauses[passed])
        passed += 1
    with pytest.raises((ConnectFailed, Throttled)):
        await task

    assert 10 < sum(pauses) <= 20
    assert bench.smsc.bind_attempts == len(pauses) + 1


async def test_the_binds_that_are_allowed_do_the_work(bench: Any) -> None:
    """Four are wanted, the provider allows two: all is sent, no error."""
    bench.smsc.max_binds = 2
    bench.smsc.response_delay = 0.005
    journal = await bench.deliver(
        [(f"+4915100{index:06d}", "Hi") for index in range(100)], binds=4, window=5
    )

    assert journal.kinds == {OutcomeKind.ACCEPTED: 100}
    assert bench.smsc.binds == 2


@pytest.mark.parametrize(
    ("status", "error"), [(0x58, Throttled), (0x05, ProtocolViolation), (0x08, ProtocolViolation)]
)
async def test_other_refusals_of_a_bind(bench: Any, status: int, error: type[ChannelError]) -> None:
    """Each is one clear error of check()."""
    bench.smsc.bind_statuses = [status]
    with pytest.raises(error, match=f"0x{status:08X}"):
        await SmppTransport(bench.options()).check()


async def test_nobody_listens(bench: Any, unused_tcp_port: int) -> None:
    """At once, with host, port and mend."""
    with pytest.raises(ConnectFailed, match=f"{unused_tcp_port}.*Check host and port"):
        await bench.deliver(ONE, port=unused_tcp_port)


async def test_an_unknown_name(bench: Any) -> None:
    """A name that no resolver knows."""
    with pytest.raises(ConnectFailed, match=r"nowhere\.invalid"):
        await bench.deliver(ONE, host="nowhere.invalid")


async def test_a_silent_server(bench: Any) -> None:
    """A port that speaks something else waits for us to speak first."""
    bench.smsc.answers_bind = False
    with pytest.raises(ConnectFailed, match="No answer to the bind"):
        await bench.deliver(ONE, response_timeout=0.1)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolViolation, "does not speak SMPP"),
        (b"\x00\x00\x00\x08", ProtocolViolation, "does not speak SMPP"),
        (b"", ConnectFailed, "before the bind was answered"),
    ],
    ids=["http", "short", "hang up"],
)
async def test_a_server_that_answers_nonsense(
    bench: Any, answer: bytes, error: type[ChannelError], words: str
) -> None:
    """One error that says what it is, no hanging, no second try."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(16)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(error, match=words):
            await bench.deliver(ONE, port=server.sockets[0].getsockname()[1])
    assert connections == 1


async def test_a_stop_interrupts_the_waiting_for_a_bind(bench: Any, wait_until: Until) -> None:
    """Nobody waits out a slow retry."""
    bench.smsc.bind_statuses = [0x0D] * 1000
    task = asyncio.create_task(bench.deliver(ONE, bind_retry=60, bind_patience=600))
    await wait_until(lambda: bench.smsc.bind_attempts == 1)
    bench.stop.set()
    async with asyncio.timeout(20):
        await task


# ------------------------------------------------------------------ TLS and IPv6


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A certificate authority and its PEM file."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


@pytest.fixture
async def secure(authority: tuple[trustme.CA, Path]) -> AsyncIterator[Any]:
    """A simulator behind TLS, for the name localhost; it remembers the name asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("localhost").configure_cert(context)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with SmscSimulator(tls=context, receipt_delay=0.01) as smsc:
        smsc.names = names  # type: ignore[attr-defined]
        yield smsc


async def test_tls_is_verified_and_names_the_server(
    bench: Any, secure: Any, authority: tuple[trustme.CA, Path]
) -> None:
    """SNI goes out; smpplib cannot do either."""
    options = bench.options(host="localhost", port=secure.port, tls=True, ca_file=str(authority[1]))
    offer = await SmppTransport(options).check()
    journal = await bench.deliver(
        [(f"+4915100{index:06d}", "Hi €") for index in range(100)],
        host="localhost", port=secure.port, tls=True, ca_file=str(authority[1]),
    )  # fmt: skip

    assert offer.tls.startswith("TLSv1.")
    assert secure.names == ["localhost"] * 2
    assert journal.kinds == {OutcomeKind.ACCEPTED: 100}
    assert len(secure.messages) == 100


async def test_an_unknown_authority_is_refused(bench: Any, secure: Any) -> None:
    """Not bound, the password not sent."""
    with pytest.raises(ConnectFailed, match="not trusted") as caught:
        await bench.deliver(ONE, host="localhost", port=secure.port, tls=True)

    assert not caught.value.temporary
    assert secure.heard == []


async def test_another_name_is_refused(
    bench: Any, secure: Any, authority: tuple[trustme.CA, Path]
) -> None:
    """The certificate is for localhost, not for 127.0.0.1."""
    with pytest.raises(ConnectFailed, match="not trusted"):
        await bench.deliver(ONE, port=secure.port, tls=True, ca_file=str(authority[1]))


async def test_a_ca_file_that_is_none(bench: Any, tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match=path.name):
            await bench.deliver(ONE, tls=True, ca_file=str(path))


async def test_plain_against_tls_and_the_reverse(bench: Any, secure: Any) -> None:
    """Each is a clear error, not a hang."""
    with pytest.raises((ConnectFailed, ProtocolViolation)):
        await bench.deliver(ONE, port=secure.port, response_timeout=1)
    with pytest.raises(ConnectFailed):
        await bench.deliver(ONE, tls=True, connect_timeout=1)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6(bench: Any, host: str) -> None:
    """With or without brackets."""
    async with SmscSimulator(host="::1") as smsc:
        journal = await bench.deliver(ONE, host=host, port=smsc.port)

        assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
        assert smsc.messages == [("4915112345678", "Hi")]
