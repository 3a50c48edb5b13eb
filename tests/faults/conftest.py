"""A run in a real database, senders that can be killed, and far sides that count for themselves.

``make test`` runs a short form of each test; ``CHAOS=1`` (``make chaos``) the long one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ignition_ext.database import Database
from ignition_ext.devtools.foreign_servers import NODE_ACCOUNT, NODE_PASSWORD, SmtpSink
from ignition_ext.devtools.referee import find_program, install_referee
from ignition_ext.errors import ConfigurationError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, Guarantee, RunRef

HERE = Path(__file__).parent
CHAOS = bool(os.environ.get("CHAOS"))
PATIENCE_SECONDS = 120.0
"""For any condition: what takes seconds on an idle machine must not fail on a busy one."""
LEASE_SECONDS = 2.0
CONNECTIONS, BINDS, WINDOW = 4, 2, 10
SMALL_BODY = "Hello {{ name }}, this is for you."
LONG_TEXT = "Hello {{ name }}. " + "Two parts are needed for it. " * 6
TOLD = frozenset({"sent", "delivered"})
"""States that say that the far side has it."""
FoundT = TypeVar("FoundT")


def wait_until(look: Callable[[], FoundT | None], seconds: float = PATIENCE_SECONDS) -> FoundT:
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{look.__qualname__} found nothing in {seconds:g} s")
        time.sleep(0.005)
    return found


# --- the far side


class Record:
    """A file of JSON lines that a far side appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[dict[str, Any]]:
        """What stands there; a line that is being written is left out."""
        text = self.path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def count(self) -> int:
        """How many lines there are, faults among them."""
        return self.path.read_bytes().count(b"\n")


class Far:
    """A server in a process of its own.

    Attributes:
        port: where it listens.
        record: what it wrote down.
    """

    def __init__(self, command: Sequence[str | Path], record: Path, cwd: Path = HERE) -> None:
        self.record = Record(record)
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def count(self) -> int:
        """About how many messages it has; cheap."""
        return self.record.count()

    def taken(self) -> Counter[str]:
        """How often it took a message for each recipient; of a long text its first part."""
        return Counter(
            one["to"] if "to" in one else f"+{one['destination'].lstrip('+')}"
            for one in self.record.lines()
            if "to" in one or ("destination" in one and _part(one) == 1)
        )

    def segments(self) -> Counter[tuple[str, int]]:
        """How often it took each part of each text."""
        return Counter(
            (one["destination"], _part(one)) for one in self.record.lines() if "destination" in one
        )

    def ids(self) -> set[tuple[str, str]]:
        """Each recipient with each Message-ID that came for it."""
        return {(one["to"], one["id"]) for one in self.record.lines() if "to" in one}

    def binds(self) -> int:
        """How often somebody tried to bind."""
        return sum("bind" in one for one in self.record.lines())


def _part(one: Mapping[str, Any]) -> int:
    udh = one.get("udh") or ""
    octets = bytes.fromhex(udh[0] if isinstance(udh, list) else udh) if udh else b""
    return int(octets[-1]) if octets else 1


class SinkFar(SmtpSink):
    """Debian's ``smtp-sink``: nothing of ours on the far side."""

    def taken(self) -> Counter[str]:  # type: ignore[override]  # the counter's words, not the dump's
        """How often it took a message for each recipient."""
        return Counter(one.recipient for one in super().taken())

    def ids(self) -> set[tuple[str, str]]:
        """Each recipient with each Message-ID that came for it."""
        return {(one.recipient, one.message["Message-ID"]) for one in super().taken()}


# --- the near side


@dataclass
class Stage:
    """One open run in a database, and its senders."""

    url: str
    folder: Path
    run: RunRef
    channel: Channel
    exit: ExitStack
    spec: dict[str, Any] = field(default_factory=dict)
    started: int = 0

    def fill(self, count: int) -> list[str]:
        """Add so many messages; returns their addresses."""
        addresses = [self._address(number) for number in range(count)]
        return self.add(addresses)

    def _address(self, number: int) -> str:
        if self.channel is Channel.EMAIL:
            return f"p{number}@example.com"
        return f"+49151{20_000_000 + number}"

    def add(self, addresses: list[str]) -> list[str]:
        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            for start in range(0, len(addresses), 1000):
                yield [
                    NewMessage(
                        channel=self.channel,
                        address=address,
                        domain=address.rpartition("@")[2],
                        data={"name": f"no. {number}"},
                    )
                    for number, address in enumerate(addresses[start : start + 1000], start)
                ]

        async def store(database: Database) -> None:
            await open_ledger(database).snapshot(self.run, batches())

        with_database(self.url, store)
        return addresses

    def send_to(self, port: int, **changes: Any) -> None:
        """Name the server, and how patient to be with it."""
        email: dict[str, Any] = {
            "security": "none",
            "connections": CONNECTIONS,
            "reconnect_base": 0.05,
            "reconnect_max": 0.2,
        }
        sms: dict[str, Any] = {
            "system_id": NODE_ACCOUNT,
            "password": NODE_PASSWORD,
            "binds": BINDS,
            "window": WINDOW,
            "reconnect_base": 0.05,
            "throttle_base": 0.05,
            "throttle_max": 0.2,
        }
        usual = email if self.channel is Channel.EMAIL else sms
        self.spec["server"] = {
            "host": "127.0.0.1",
            "port": port,
            "connect_timeout": 20,
            "drain_timeout": 10,
            **usual,
            **changes,
        }

    @property
    def width(self) -> int:
        """Messages that a sender may have on the wire at most."""
        server = self.spec["server"]
        if self.channel is Channel.EMAIL:
            return 2 * int(server["connections"])
        return int(server["binds"] * server["window"])

    def start(self, *, preload: Mapping[str, str] | None = None, **changes: Any) -> Sender:
        """Start a sender; several may run at once."""
        self.started += 1
        file = self.folder / f"sender-{self.started}.json"
        file.write_text(json.dumps({**self.spec, **changes}))
        sender = Sender(file, {**os.environ, **(preload or {})})
        self.exit.callback(sender.close)
        return sender

    def drain(self, **changes: Any) -> None:
        """Let a sender finish the run."""
        sender = self.start(**changes)
        assert sender.ended() == 0, sender.story()

    def drain_with_retries(self, most: int = 10) -> list[dict[str, Any]]:
        """The same, retried as an operator would where a server makes the flow fail."""
        told = []
        for _ in range(most):
            sender = self.start()
            code = sender.ended()
            told.append(sender.said())
            if code == 0:
                return told
            assert code == 1, sender.story()
        raise AssertionError(f"not over after {most} senders: {told}")

    def rows(self) -> dict[str, dict[str, Any]]:
        """The ledger's messages by address."""

        async def read(database: Database) -> dict[str, dict[str, Any]]:
            return {
                row["address"]: dict(row)
                async for page in open_ledger(database).messages(self.run.id)
                for row in page
            }

        found: dict[str, dict[str, Any]] = with_database(self.url, read)
        return found

    def states(self) -> dict[str, str]:
        """The state of each address."""
        return {address: str(row["state"]) for address, row in self.rows().items()}

    def check(self, far: Any, addresses: list[str], *, uncertain: int = 0) -> dict[str, str]:
        """What at-most-once promises, against what the far side counted.

        Args:
            far: who counted.
            addresses: all that there are.
            uncertain: how many may be.
        """
        states, taken = self.states(), far.taken()
        assert set(states) == set(addresses)
        assert Counter(taken).most_common(1)[0][1] == 1 if taken else True, "somebody got two"
        told = {address for address, state in states.items() if state in TOLD}
        unknown = {address for address, state in states.items() if state == "uncertain"}
        assert told <= set(taken), f"never arrived: {sorted(told - set(taken))[:5]}"
        assert set(taken) - told <= unknown, f"unknown: {sorted(set(taken) - told - unknown)[:5]}"
        assert len(unknown) <= uncertain, f"{len(unknown)} uncertain, {uncertain} allowed"
        return states


class Sender:
    """A process that sends, and that may be killed."""

    def __init__(self, spec: Path, environment: Mapping[str, str]) -> None:
        self.log = spec.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "sender.py"), str(spec)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def close(self) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        """As a lost node is."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to stop, as a worker that drains does."""
        self.process.send_signal(signal.SIGTERM)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def ended(self, seconds: float = 2 * PATIENCE_SECONDS) -> int:
        """Its exit code, once it ended."""
        return self.process.wait(seconds)

    def said(self) -> dict[str, Any]:
        """Its last words."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        assert len(lines) == 2, self.story()
        words: dict[str, Any] = json.loads(lines[1])
        return words

    def story(self) -> str:
        """What it logged, for a failure."""
        return self.log.read_text(errors="replace")[-4000:]


def with_database(url: str, work: Callable[[Database], Any]) -> Any:
    """Do something with a database, in a loop of its own."""

    async def main() -> Any:
        database = Database(url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(main())


# --- fixtures


@pytest.fixture
def chaos() -> bool:
    """Whether this is the long form."""
    return CHAOS


@pytest.fixture
def wait() -> Callable[..., Any]:
    """Waits for a condition."""
    return wait_until


@pytest.fixture
def dice() -> random.Random:
    """Chance with a seed, which a failure shows among what the test printed."""
    seed = int(os.environ.get("FAULT_SEED", 0)) or random.SystemRandom().randrange(1, 10**9)
    print(f"FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def open_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Opens a run in a database; its senders end with the test."""
    with ExitStack() as exit:

        def make(
            url: str, channel: str, guarantee: str = Guarantee.AT_MOST_ONCE, **spec: Any
        ) -> Stage:
            async def prepare(database: Database) -> RunRef:
                tenant = await create_tenant(database, name="acme", actor="test")
                assert tenant.id is not None
                async with database.write() as session:
                    campaign = Campaign(tenant_id=tenant.id, name="news", version=1)
                    session.add(campaign)
                    await session.flush()
                    campaign_id = campaign.id
                assert campaign_id is not None
                request = RunRequest(
                    tenant_id=tenant.id,
                    campaign_id=campaign_id,
                    campaign_version=1,
                    guarantee=Guarantee(guarantee),
                )
                return (await open_run(database, request, actor="test")).ref

            run: RunRef = with_database(url, prepare)
            template = {
                "t/subject.txt": "Hello {{ name }}",
                "t/body.txt": SMALL_BODY,
                "t/sms.txt": LONG_TEXT if spec.pop("long", False) else SMALL_BODY,
            }
            said = {
                "database": url,
                "run_id": str(run.id),
                "run_at": run.run_at.isoformat(),
                "tenant_id": run.tenant_id,
                "channel": channel,
                "batch": 1000,
                "portion": 100,
                "lease": LEASE_SECONDS,
                "retry": 0.1,
                "patience": timedelta(minutes=2).total_seconds(),
                "max_pages": 0,
                "template": template,
            }
            return Stage(url, tmp_path, run, Channel(channel), exit, said | spec)

        yield make


def _start_far(exit: ExitStack, folder: Path, program: str, settings: Mapping[str, Any]) -> Far:
    number = len(list(folder.glob("far-*.json")))
    file, record = folder / f"far-{number}.json", folder / f"far-{number}.jsonl"
    file.write_text(json.dumps(settings))
    far = Far([sys.executable, HERE / program, file, record], record)
    exit.callback(far.close)
    return far


@pytest.fixture
def far_smtp(tmp_path: Path) -> Iterator[Callable[..., Far]]:
    """Starts a mail server that misbehaves by rules."""
    with ExitStack() as exit:

        def start(*rules: Mapping[str, Any], **settings: Any) -> Far:
            return _start_far(exit, tmp_path, "far_smtp.py", {"rules": rules, **settings})

        yield start


@pytest.fixture
def far_smsc(tmp_path: Path) -> Iterator[Callable[..., Far]]:
    """Starts an SMSC that misbehaves by rules."""
    with ExitStack() as exit:

        def start(*rules: Mapping[str, Any], **settings: Any) -> Far:
            return _start_far(exit, tmp_path, "far_smsc.py", {"rules": rules, "smsc": settings})

        yield start


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """A far side written by others: ``smtp-sink`` for email, npm's ``smpp`` for SMS."""
    try:
        for program in ("smtp-sink", "node", "npm"):
            find_program(program)
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error}")
    with ExitStack() as exit:

        def start(channel: str) -> Any:
            if channel == "email":
                return exit.enter_context(SinkFar(tmp_path / "sink"))
            referee = install_referee(HERE.parent / "referee")
            record = tmp_path / "submits.jsonl"
            far = Far([find_program("node"), "smsc.mjs", record, "5"], record, cwd=referee)
            exit.callback(far.close)
            return far

        yield start
