"""An SMSC on loopback for the demo and the tests: takes submit_sm, answers, sends receipts.

As a program: ``python -m ignition_ext.devtools.smsc --port 2775 --output sms.jsonl``. Each
submit_sm that it takes becomes one JSON line; the first line on stdout says where it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ignition_ext.devtools.smsc_behaviour import Behaviour, by_marker
from ignition_ext.devtools.smsc_session import SmscSession
from ignition_ext.devtools.smsc_wire import Submitted


class SmscSimulator:
    """An SMSC in this process; an asynchronous context manager.

    Attributes:
        port: where it listens.
        submits: each submit_sm that was taken, in order.
        binds: how many binds were accepted; ``bind_attempts`` counts the refused ones too.
        heard: (command_id, command_status, sequence) of each PDU that came.
        receipt_retry: seconds after which a receipt that was refused comes again.
        receipt_answers: command_status of each deliver_sm_resp and data_sm_resp.
        behaviour: what decides on each message; by default the number's marker.
        answers_enquire_link, answers_unbind, answers_bind: False to stay silent.
        bind_statuses: statuses for the next binds, in order; then the password decides.
        reorder: answer so many messages at a time, the last first; 0 to answer in order.
        per_second: more submit_sm within a second are throttled (0x58); None without a limit.
        max_binds: further binds are refused with 0x0D; None without a limit.
        widest_window: the most unanswered submit_sm ever seen on one bind.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        system_id: str = "ignition",
        password: str = "secret",
        output: Path | None = None,
        receipt_delay: float = 0.05,
        response_delay: float = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.system_id, self.password = system_id, password
        self.receipt_delay, self.response_delay = receipt_delay, response_delay
        self.receipt_retry = 1.0
        self.submits: list[Submitted] = []
        self.sessions: list[SmscSession] = []
        self.heard: list[tuple[int, int, int]] = []
        self.receipt_answers: list[int] = []
        self.bind_statuses: list[int] = []
        self.binds = self.bind_attempts = self.widest_window = 0
        self.behaviour: Callable[[str], Behaviour] = by_marker
        self.answers_enquire_link = self.answers_unbind = self.answers_bind = True
        self.reorder = 0
        self.per_second: float | None = None
        self.max_binds: int | None = None
        self.refusals: Counter[str] = Counter()
        self.ids = count(1)
        self._output, self._tls = output, tls
        self._file: IO[str] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._output is not None:
            self._file = self._output.open("a", encoding="utf-8", buffering=1)
        self._server = await loop.create_server(
            lambda: SmscSession(self), self.host, self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for session in list(self.sessions):
            await session.end()
        if self._server is not None:
            await self._server.wait_closed()
        if self._file is not None:
            self._file.close()

    @property
    def messages(self) -> list[tuple[str, str]]:
        """(recipient, text) of each whole message, in the order of its first part.

        A part that came twice shows as a message of its own: nothing is hidden.
        """
        whole: list[tuple[str, str]] = []
        open_: dict[tuple[str, str, int], dict[int, str]] = {}
        for one in self.submits:
            if one.parts == 1:
                whole.append((one.destination, one.text))
                continue
            key = one.source, one.destination, one.reference
            parts = open_.setdefault(key, {})
            if one.part in parts:
                whole.append((one.destination, one.text))
            parts[one.part] = one.text
            if len(parts) == one.parts:
                whole.append((one.destination, "".join(parts[n] for n in sorted(parts))))
                del open_[key]
        return whole

    def store(self, submit: Submitted) -> None:
        """Take a message: from now on it exists."""
        self.submits.append(submit)
        if self._file is not None:
            record = asdict(submit) | {"octets": submit.octets.hex(), "udh": submit.udh.hex()}
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def send(self, octets: bytes) -> None:
        """Write octets, whatever they are, to each bound session."""
        for session in self.sessions:
            session.write(octets)

    def drop(self) -> None:
        """Cut every connection."""
        for session in list(self.sessions):
            session.cut()


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = SmscSimulator(
        host=arguments.host,
        port=arguments.port,
        system_id=arguments.system_id,
        password=arguments.password,
        output=arguments.output,
        receipt_delay=arguments.receipt_delay,
    )
    async with simulator:
        sys.stdout.write(f"listening on {simulator.host}:{simulator.port}\n")
        sys.stdout.flush()
        await stop.wait()


def main(words: list[str] | None = None) -> None:
    """Run the simulator until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m ignition_ext.devtools.smsc")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2775, help="0 for any free one")
    parser.add_argument("--output", type=Path, help="file that gets one JSON line a submit_sm")
    parser.add_argument("--system-id", default="ignition")
    parser.add_argument("--password", default="secret")
    parser.add_argument("--receipt-delay", type=float, default=0.05, help="seconds")
    asyncio.run(_serve(parser.parse_args(words)))


if __name__ == "__main__":
    main()
