"""Against Postfix's smtp-sink, which shares nothing with us."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.errors import ChannelError, ConnectFailed
from ignition_ext.values import OutcomeKind

_SINK = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin:/usr/lib/postfix")
pytestmark = pytest.mark.skipif(
    _SINK is None and "CI" not in os.environ, reason="smtp-sink (Debian: postfix) is not installed"
)
_PEOPLE = [f"user{number}@example.com" for number in range(300)]


@pytest.fixture
async def sink(
    unused_tcp_port: int,
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, Path]]]]:
    """Starts smtp-sink with arguments; it dumps each message into a folder of its own."""
    assert _SINK is not None, "smtp-sink is missing: install Debian's package postfix"
    processes: list[asyncio.subprocess.Process] = []
    # Root's smtp-sink wants to be somebody else, who may not enter pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="smtp-sink-"))
    user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        user = ("-u", "nobody")
        shutil.chown(folder, "nobody")

    async def start(*arguments: str, dump: str = "-d") -> tuple[int, Path]:
        address = f"127.0.0.1:{unused_tcp_port}"
        command = [_SINK, *user, dump, f"{folder}/%M.", *arguments, address, "100"]
        processes.append(await asyncio.create_subprocess_exec(*command))
        await _listening(unused_tcp_port)
        return unused_tcp_port, folder

    yield start
    for process in processes:
        process.terminate()
        await process.wait()
    shutil.rmtree(folder)


async def _listening(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise AssertionError("smtp-sink does not listen")


def _dumped(folder: Path) -> Counter[str]:
    """Recipients of the messages that smtp-sink has whole."""
    found: Counter[str] = Counter()
    for path in folder.iterdir():
        for line in path.read_text("latin-1").splitlines():
            if line.startswith("X-Rcpt-Args: <"):
                found[line.removeprefix("X-Rcpt-Args: <").partition(">")[0]] += 1
    return found


async def test_each_recipient_is_dumped_once(sink: Any, sender: Any, options: Any) -> None:
    """300 messages over 10 connections."""
    port, folder = await sink()

    await sender.send(SmtpTransport(options(port, connections=10)), _PEOPLE)

    assert _dumped(folder) == Counter(_PEOPLE)
    assert sender.journal.kinds == {OutcomeKind.ACCEPTED: 300}


async def test_ten_thousand_over_ten_connections(sink: Any, sender: Any, options: Any) -> None:
    """Pipelined: what is dumped is what was settled, each once, never more than 20 under way."""
    port, folder = await sink(dump="-D")
    people = [f"user{number}@example.com" for number in range(10_000)]

    await sender.send(SmtpTransport(options(port, connections=10)), people)

    assert sender.with_outcome(OutcomeKind.ACCEPTED) == set(people)
    assert sender.journal.most_open <= 20
    assert _dumped(folder) == Counter(people)


async def test_hang_up_after_the_final_dot(sink: Any, sender: Any, options: Any) -> None:
    """Uncertain, and given up after a few."""
    port, _ = await sink("-q", ".")

    with pytest.raises(ConnectFailed):
        await sender.send(SmtpTransport(options(port)), _PEOPLE)

    assert set(sender.journal.kinds) == {OutcomeKind.UNCERTAIN}
    assert len(sender.journal.settled) <= 5


@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_hang_up_before(command: str, sink: Any, sender: Any, options: Any) -> None:
    """Nothing is uncertain, and nothing arrived."""
    port, folder = await sink("-q", command)

    with pytest.raises(ConnectFailed):
        await sender.send(SmtpTransport(options(port)), _PEOPLE)

    assert set(sender.journal.kinds) <= {OutcomeKind.UNSENT}
    assert not _dumped(folder)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("-r", "RCPT"), OutcomeKind.DEFERRED),
        (("-f", "RCPT"), OutcomeKind.REJECTED),
        (("-r", "."), OutcomeKind.DEFERRED),
        (("-f", "."), OutcomeKind.REJECTED),
        (("-r", "DATA"), OutcomeKind.DEFERRED),
    ],
)
async def test_refusals(
    arguments: tuple[str, str], kind: OutcomeKind, sink: Any, sender: Any, options: Any
) -> None:
    """Every message has its refusal; the connections are kept. (Not pipelined: -r, -f imply -p.)"""
    port, _ = await sink(*arguments)

    await sender.send(SmtpTransport(options(port)), _PEOPLE[:40])

    assert sender.journal.kinds == {kind: 40}


async def test_refused_sender(sink: Any, sender: Any, options: Any) -> None:
    """One error for the run."""
    port, _ = await sink("-f", "MAIL")

    with pytest.raises(ChannelError, match="refuses MAIL"):
        await sender.send(SmtpTransport(options(port)), _PEOPLE)

    assert set(sender.journal.kinds) == {OutcomeKind.UNSENT}


async def test_421(sink: Any, sender: Any, options: Any) -> None:
    """Deferred at no charge, and given up for now."""
    port, _ = await sink("-Q", "RCPT")

    with pytest.raises(ChannelError) as caught:
        await sender.send(SmtpTransport(options(port)), _PEOPLE)

    assert caught.value.temporary
    outcomes = sender.journal.settled.values()
    assert {(o.kind, o.charges_attempt) for o in outcomes} == {(OutcomeKind.DEFERRED, False)}


async def test_a_sink_that_answers_late_and_out_of_order_is_understood(
    sink: Any, sender: Any, options: Any
) -> None:
    """With -W it would answer commands behind a final dot before the dot itself."""
    port, folder = await sink("-W", ".:1")

    await sender.send(SmtpTransport(options(port, connections=20)), _PEOPLE[:40])

    assert sender.with_outcome(OutcomeKind.ACCEPTED) == set(_PEOPLE[:40])
    assert _dumped(folder) == Counter(_PEOPLE[:40])
