"""Servers by others, on loopback, that keep what they were sent: ``smtp-sink`` and node-smpp."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any, Self

from ignition_ext.devtools.postgres import free_port
from ignition_ext.devtools.referee import find_program
from ignition_ext.devtools.stack import ChildProcess

NODE_ACCOUNT, NODE_PASSWORD = "ignition", "secret"
"""The login that ``tests/referee/smsc.mjs`` takes."""
_DUMP = "mail."
_UNPRIVILEGED = "nobody"
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message that ``smtp-sink`` answered for: its one recipient, and all of it."""

    recipient: str
    message: Message


class SmtpSink(ChildProcess):
    """Debian's ``smtp-sink``, which dumps each message that it was sent whole into a file.

    Args:
        folder: made, with a folder for the dump in it.
        options: more of its options, such as ``-W .:1`` to answer each final dot late.
        port: one to listen on again; by default a free one.
    """

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        super().__init__("smtp-sink", folder / "dump")
        self.port = port or free_port()
        self._options = options

    def start(self) -> Self:
        """Start it and wait until it takes connections; earlier dumps stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [find_program("smtp-sink"), "-d", _DUMP, *self._options]
        if os.geteuid() == 0:
            # It refuses to stay root. The folder is its own and the path of the dump relative,
            # for it may not be allowed into the folders above.
            shutil.chown(self.folder, _UNPRIVILEGED)
            command += ["-u", _UNPRIVILEGED]
        self.spawn([*command, f"127.0.0.1:{self.port}", "256"], os.environ)
        self.wait_until(self._answers, 30)
        return self

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            return connection.recv(3) == b"220"

    def count(self) -> int:
        """How many messages the dump holds; ones being written are counted too."""
        with os.scandir(self.folder) as entries:
            return sum(entry.name.startswith(_DUMP) for entry in entries)

    def taken(self) -> Iterator[Taken]:
        """Every message of the dump, in no order.

        The file begins with lines of the sink's own, written as headers (``X-Rcpt-Args``), that
        run on into the message's.
        """
        parser = BytesParser()
        for path in self.folder.glob(f"{_DUMP}*"):
            with path.open("rb") as file:
                message = parser.parse(file)
            [recipient] = message.get_all("X-Rcpt-Args", [])
            yield Taken(recipient=recipient.strip("<>"), message=message)


@dataclass(frozen=True, slots=True)
class NodeSmsc:
    """An SMSC built on npm's ``smpp``: where it listens and what it decoded."""

    port: int
    record: Path

    def submits(self) -> Sequence[dict[str, Any]]:
        """Each ``submit_sm`` in the order in which it came."""
        with self.record.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]


@contextmanager
def node_smsc(referee: Path, record: Path) -> Iterator[NodeSmsc]:
    """Run the SMSC of ``tests/referee`` for as long as the block lasts.

    Args:
        referee: that folder, its packages installed.
        record: where it writes.
    """
    command = [find_program("node"), "smsc.mjs", str(record)]
    with subprocess.Popen(
        command, cwd=referee, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield NodeSmsc(int(process.stdout.readline()), record)
        finally:
            process.stdin.close()  # its sign to end
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
