"""The capture server as the demo uses it: a process of its own, read while it runs."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer, read_messages
from ignition_ext.values import OutcomeKind

_PEOPLE = [f"user{number}@example.com" for number in range(2000)]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_of_its_own(
    ending: signal.Signals, tmp_path: Path, sender: Any, options: Any
) -> None:
    """Says where it listens, writes lines that others read, ends cleanly when told to."""
    output, folder = tmp_path / "new" / "mails.jsonl", tmp_path / "eml"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "ignition_ext.devtools.capture_smtp"),
        *("--port", "0", "--output", str(output), "--eml", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    port = int(line.rpartition(":")[2])

    body = b"Subject: x\r\n\r\n\xe9\xff raw\r\n"
    await sender.send(SmtpTransport(options(port)), _PEOPLE[:20], body)
    seen = read_messages(output)
    # One session is left open, and must not hold up the end.
    with socket.create_connection(("127.0.0.1", port)):
        process.send_signal(ending)
        stdout, stderr = await process.communicate()

    assert sorted(m.recipients[0] for m in seen) == sorted(_PEOPLE[:20])
    assert {message.content for message in seen} == {body}
    assert len(list(folder.glob("*.eml"))) == 20
    assert (process.returncode, stderr) == (0, b"")
    assert b"received 20 messages" in stdout


async def test_thousands_of_messages(tmp_path: Path, sender: Any, options: Any) -> None:
    """Each counted once, in file and ledger alike."""
    output = tmp_path / "mails.jsonl"
    async with CaptureSmtpServer(output=output) as server:
        await sender.send(SmtpTransport(options(server.port, connections=10)), _PEOPLE)

    assert sorted(m.recipients[0] for m in read_messages(output)) == sorted(_PEOPLE)
    assert server.received == len(_PEOPLE)
    assert sender.journal.kinds == {OutcomeKind.ACCEPTED: len(_PEOPLE)}


async def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """Readers come at any time."""
    path = tmp_path / "mails.jsonl"
    path.write_text('{"envelope_from": "a", "recip')

    assert read_messages(path) == []


async def test_slow_answers_hold_up_nobody_else(sender: Any, options: Any) -> None:
    """The marker delays its own message; it is accepted all the same."""
    async with CaptureSmtpServer() as server:
        people = [*_PEOPLE[:5], "slow.a@example.com", *_PEOPLE[5:30]]
        await sender.send(SmtpTransport(options(server.port)), people)

    assert len(server.accepted) == 31
    assert server.connections == 3
