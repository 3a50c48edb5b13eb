"""How fast the SMS transport is by itself, beside smpplib, against an SMSC built on node-smpp.

``python benchmarks/smpp_transport.py [--messages N] [--window N] [--binds N] [--delay-ms N]
[--turn-ms N] [--receipts] [--repeats N] [--only-ours]``

The transport gets ready envelopes of one segment and a journal that stores nothing; with
``--turn-ms`` each group of the journal's calls takes that long, as a database's commit does, and
``turn_ms`` in the answer says what it came to. The peers are ``smpplib`` with one message at a
time, and with as many unanswered as the window, both in one thread and both splitting with
``smpplib.gsm``. Each is measured in turn with an SMSC of its own, ``--repeats`` times; the figures
are those of the round that took the least processor time. Prints one JSON document: messages a
second, processor seconds of this process for 10,000 messages, and what the SMSC used, which says
whether it was the bottleneck.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import smpplib.client
import smpplib.consts
import smpplib.gsm

from ignition_ext.channels.smpp import SmppOptions, SmppReceipt, SmppTransport, SmsEnvelope
from ignition_ext.devtools.referee import install_referee
from ignition_ext.values import Delivery, MessageId, OutcomeKind, new_id

HERE = Path(__file__).parent
TEXT = "Hello Zoe, your parcel no. {:08d} arrives tomorrow between 9 and 11."
SLOWEST_ROUND = 5.0
"""Seconds that a peer with one message at a time may take; it gets fewer messages for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One round: messages, seconds by the clock and by the processor, and what the SMSC says."""

    messages: int
    seconds: float
    cpu: float
    far_cpu: float

    def shown(self) -> dict[str, float]:
        """As it is printed."""
        return {
            "rate": round(self.messages / self.seconds, 1),
            "cpu_seconds_per_10k": round(self.cpu / self.messages * 10_000, 4),
            "smsc_busy": round(self.far_cpu / self.seconds, 2),
        }


class Smsc:
    """A node-smpp SMSC in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process, self.port = process, port
        self.report: dict[str, Any] = {}

    def end(self) -> None:
        """Stop it and keep its report."""
        told, _ = self._process.communicate()
        self.report = json.loads(told)


@contextmanager
def smsc(arguments: argparse.Namespace) -> Iterator[Smsc]:
    """An SMSC for one round."""
    node = shutil.which("node") or "node"
    words = [node, str(HERE / "smsc.mjs"), "--delay-ms", str(arguments.delay_ms)]
    if arguments.receipts:
        words.append("--receipts")
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    far = Smsc(process, int(process.stdout.readline()))
    try:
        yield far
    finally:
        far.end()


class NullJournal:
    """Stores nothing; takes ``seconds`` for each group of calls, as the ledger's journal does.

    While one group is being stored, the calls that arrive make up the next.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._group: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self.kinds: Counter[OutcomeKind] = Counter()
        self.stored = 0.0
        self.groups = 0

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        """Everything may go."""
        return await self.turn((), ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Count."""
        await self.turn(deliveries, ())

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        """Count, and let everything go."""
        if self._seconds:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._group.append(done)
            self._writer = self._writer or asyncio.create_task(self._write())
            await done
        for delivery in deliveries:
            self.kinds[delivery.outcome.kind] += 1
        return frozenset(ids)

    async def _write(self) -> None:
        while self._group:
            group, self._group = self._group, []
            began = time.perf_counter()
            await asyncio.sleep(self._seconds)
            self.stored += time.perf_counter() - began
            self.groups += 1
            for done in group:
                done.set_result(None)
        self._writer = None

    @property
    def turn_ms(self) -> float:
        """What a group really took, timers being what they are."""
        return self.stored / self.groups * 1000 if self.groups else 0.0


async def envelopes(ready: Sequence[SmsEnvelope]) -> AsyncIterator[SmsEnvelope]:
    """Envelopes that were rendered before."""
    for envelope in ready:
        yield envelope


def ours(arguments: argparse.Namespace, port: int, count: int) -> None:
    """Send through the transport."""
    options = SmppOptions(
        host="127.0.0.1", port=port, system_id="bench", window=arguments.window,
        binds=arguments.binds,
    )  # fmt: skip
    ready = [
        SmsEnvelope(
            message_id=MessageId(new_id()), source="Acme",
            destination=f"+49151{number:08d}", text=TEXT.format(number),
        )
        for number in range(count)
    ]  # fmt: skip
    receipts = 0

    async def store(batch: Sequence[SmppReceipt]) -> None:
        nonlocal receipts
        receipts += len(batch)

    async def deliver() -> None:
        journal = NullJournal(arguments.turn_ms / 1000)
        hears = store if arguments.receipts else None
        transport = SmppTransport(options, hears, 5.0 if hears else 0)
        with timed():
            await transport.deliver(envelopes(ready), journal, asyncio.Event())
        _turn_ms[:] = [journal.turn_ms]
        assert journal.kinds == {OutcomeKind.ACCEPTED: count}, journal.kinds
        assert receipts == (count if arguments.receipts else 0), receipts

    asyncio.run(deliver())


def smpplib_windowed(window: int) -> Callable[[argparse.Namespace, int, int], None]:
    """Send with smpplib from one thread, at most ``window`` unanswered."""

    def send(arguments: argparse.Namespace, port: int, count: int) -> None:
        answered = 0

        def note(pdu: Any, **_: Any) -> None:
            nonlocal answered
            answered += 1

        client = smpplib.client.Client("127.0.0.1", port, allow_unknown_opt_params=True)
        client.set_message_sent_handler(note)
        client.connect()
        client.bind_transceiver(system_id="bench", password="")
        with timed():
            for number in range(count):
                parts, coding, esm_class = smpplib.gsm.make_parts(TEXT.format(number))
                for part in parts:
                    client.send_message(
                        source_addr_ton=5, source_addr_npi=0, source_addr="Acme",
                        dest_addr_ton=1, dest_addr_npi=1,
                        destination_addr=f"49151{number:08d}", short_message=part,
                        data_coding=coding, esm_class=esm_class,
                        registered_delivery=bool(arguments.receipts),
                    )  # fmt: skip
                while number + 1 - answered >= window:
                    client.read_once()
            while answered < count:
                client.read_once()
        client.unbind()
        client.disconnect()

    return send


_turn_ms: list[float] = []
_clock: list[tuple[float, float]] = []


@contextmanager
def timed() -> Iterator[None]:
    """Measure what stands inside."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    _clock.append((time.perf_counter() - wall, time.process_time() - cpu))


def measure(
    arguments: argparse.Namespace, send: Callable[[argparse.Namespace, int, int], None], count: int
) -> Figures:
    """The round of the least processor time."""
    rounds = []
    for _ in range(arguments.repeats):
        with smsc(arguments) as far:
            send(arguments, far.port, count)
        assert far.report["taken"] == far.report["distinct"] == count, far.report
        seconds, cpu = _clock.pop()
        rounds.append(
            Figures(messages=count, seconds=seconds, cpu=cpu, far_cpu=far.report["cpu_seconds"])
        )
    return min(rounds, key=lambda one: one.cpu)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--binds", type=int, default=1)
    parser.add_argument("--delay-ms", type=float, default=0, help="the SMSC's response delay")
    parser.add_argument("--turn-ms", type=float, default=0, help="what a journal's call takes")
    parser.add_argument("--receipts", action="store_true", help="one comes back for each message")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-ours", action="store_true", help="without the peers")
    arguments = parser.parse_args()
    logging.getLogger("smpp").setLevel(logging.ERROR)
    install_referee(HERE.parent / "tests" / "referee")
    shown: dict[str, Any] = measure(arguments, ours, arguments.messages).shown()
    if arguments.turn_ms:
        shown["turn_ms"] = round(_turn_ms[0], 2)
    if not arguments.only_ours:
        slow = arguments.messages
        if arguments.delay_ms:
            slow = min(slow, int(SLOWEST_ROUND * 1000 / arguments.delay_ms))
        one, many = smpplib_windowed(1), smpplib_windowed(arguments.window)
        shown["peers"] = {
            "smpplib_window_1": measure(arguments, one, slow).shown(),
            f"smpplib_window_{arguments.window}": measure(
                arguments, many, arguments.messages
            ).shown(),
        }
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
