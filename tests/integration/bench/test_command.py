"""``ignition bench`` says what its contract says, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import func, select

from ignition_ext.database import Database
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.devtools.referee import find_program
from ignition_ext.devtools.stack import descendants
from ignition_ext.errors import ConfigurationError
from ignition_ext.models import metadata

pytestmark = pytest.mark.timeout(400)
WAIT_SECONDS = 300
"""For what hangs: a busy machine takes a minute to start the Prefect server of one of the peers."""


@dataclass(frozen=True)
class Done:
    """What a finished command said."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """Its one JSON document."""
        assert self.status == 0, self.stderr
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@asynccontextmanager
async def started(*words: object) -> AsyncIterator[Process]:
    """``ignition bench …``, ended when the block ends."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "ignition"), "bench", *map(str, words),
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


@pytest.fixture
def bench() -> Callable[..., Awaitable[Done]]:
    """Runs ``ignition bench …`` to its end."""

    async def run(*words: object) -> Done:
        async with started(*words) as process:
            out, err = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    return run


OF_THE_SCHEMA = {"outcome_cursor"}
"""Tables that have rows from the beginning."""


async def rows_left(url: str) -> dict[str, int]:
    """Rows in each of Ignition's tables that has any, but for what each database has."""
    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            counted = {
                table.name: (
                    await connection.execute(select(func.count()).select_from(table))
                ).scalar_one()
                for table in metadata.sorted_tables
            }
    finally:
        await database.close()
    return {name: n for name, n in counted.items() if n and name not in OF_THE_SCHEMA}


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


Bench = Callable[..., Awaitable[Done]]
FIGURES = ("rate", "cpu_seconds_per_10k", "peak_rss_mb")


def check_figures(document: dict[str, Any], messages: int) -> None:
    for key in FIGURES:
        assert document[key] > 0, key
    assert document["messages"] == messages
    assert document["rate"] == pytest.approx(median(document["rounds"]), rel=0.02)
    if len(document["rounds"]) == 1:
        assert document["rate"] == pytest.approx(messages / document["seconds"], rel=0.02)


def has(program: str) -> bool:
    try:
        find_program(program)
    except ConfigurationError:
        return False
    return True


async def test_email_is_measured_in_rounds(bench: Bench) -> None:
    """Two of them, each in a temporary database of its own."""
    document = (
        await bench("email", "--messages", 200, "--repeat", 2, "--no-peers", "--json")
    ).document

    check_figures(document, 200)
    assert len(document["rounds"]) == 2
    assert document["far_side"] == 200


async def test_email_is_measured_beside_its_peers(bench: Bench) -> None:
    """Against the sink that it finds."""
    document = (await bench("email", "--messages", 200, "--peer-seconds", 0.3, "--json")).document

    check_figures(document, 200)
    assert document["far_side"] == 200
    assert document["sink"] == ("smtp-sink" if has("smtp-sink") else "ignition_ext.bench.smtp_sink")
    assert document["sink_rate"] > 0
    peers = document["peers"]
    python = ["prefect_email", "prefect_email_task", "smtplib", "aiosmtplib"]
    assert list(peers) == [*python, "smtp_source"]
    assert (peers["smtp_source"] is not None) == has("smtp-source")
    for name in python:
        assert peers[name] > 0
        ratio = document["rate"] / peers[name]
        assert document["ratios"][name] == pytest.approx(ratio, rel=0.05, abs=0.001)


async def test_sms_is_measured_beside_its_peers(bench: Bench) -> None:
    """The sink that answers late shows in the peer with one message on the way."""
    words = ("--messages", 200, "--delay-ms", 20, "--peer-seconds", 0.5, "--json")
    document = (await bench("sms", *words)).document

    check_figures(document, 200)
    assert document["far_side"] == 200
    assert list(document["peers"]) == ["smpplib_window_1", "smpplib_window_50"]
    assert 0 < document["peers"]["smpplib_window_1"] <= 51  # 20 ms each
    assert document["peers"]["smpplib_window_50"] > 0


@pytest.mark.parametrize(
    "words",
    [("email",), ("email", "--security", "starttls"), ("sms",), ("ledger", "--turns", 3)],
    ids=["email", "email over STARTTLS", "sms", "ledger"],
)
async def test_what_was_put_into_a_database_is_taken_out_again(
    bench: Bench, database_url: str, words: tuple[object, ...]
) -> None:
    """On each database; the peers are left out where there could be any."""
    more = () if words[0] == "ledger" else ("--no-peers",)
    done = await bench(*words, "--messages", 300, "--database", database_url, "--json", *more)

    check_figures(done.document, 300)
    assert done.document["database"] == database_url.partition(":")[0]
    assert done.document.get("far_side", 300) == 300
    assert all(rate is None for rate in done.document["peers"].values())
    assert done.document["snapshot_rate"] > 0
    if words[0] == "ledger":
        steps = [done.document[f"{step}_rate"] for step in ("claim", "intend", "settle")]
        assert 1 / sum(1 / rate for rate in steps) >= done.document["rate"]
    assert await rows_left(database_url) == {}


async def test_an_empty_database_gets_the_schema_first(bench: Bench, tmp_path: Path) -> None:
    """Nobody has to prepare one; without a server all is as always but for the server."""
    url = f"sqlite:///{tmp_path}/new.db"
    words = ("--null", "--messages", 300, "--batch", 100, "--database", url)
    document = (await bench("sms", *words, "--json")).document

    check_figures(document, 300)
    assert document["sink"] == "null"
    assert document["far_side"] is None
    assert await rows_left(url) == {}


async def test_a_target_gets_the_messages(bench: Bench) -> None:
    """A table without --json; the peers stay away when told so."""
    async with CaptureSmtpServer() as server:
        target = f"127.0.0.1:{server.port}"
        done = await bench("email", "--messages", 40, "--target", target, "--no-peers")

        assert done.status == 0, done.stderr
        taken = {message.recipients[0] for message in server.messages}
        assert len(server.messages) == len(taken) == 40
    assert "ignition" in done.stdout
    assert "not measured" in done.stdout


async def test_nobody_at_the_target_is_an_error_and_leaves_nothing(
    bench: Bench, sqlite_database_url: str, unused_tcp_port: int
) -> None:
    """Exit 1, the server named, the database as before."""
    done = await bench(
        "sms", "--messages", 20, "--target", f"127.0.0.1:{unused_tcp_port}", "--no-peers",
        "--database", sqlite_database_url, "--json",
    )  # fmt: skip

    assert done.status == 1
    assert done.stdout == ""
    assert f"127.0.0.1:{unused_tcp_port}" in done.stderr
    assert await rows_left(sqlite_database_url) == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
async def test_an_interrupted_benchmark_leaves_neither_rows_nor_processes(
    postgres_database_url: str, number: signal.Signals
) -> None:
    """In the midst of sending: the sender and the sink are ended, the rows deleted."""
    words = ("sms", "--messages", 3000, "--delay-ms", 2000, "--window", 1)
    async with started(*words, "--database", postgres_database_url) as process:
        assert process.stderr is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while b"sending" not in (line := await process.stderr.readline()):
                assert line, "it ended by itself"
            assert await rows_left(postgres_database_url) != {}
            while len(below := descendants(process.pid)) < 2:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.05)
            process.send_signal(number)
            await process.communicate()

    assert process.returncode == 130
    assert await rows_left(postgres_database_url) == {}
    assert not [pid for pid in below if is_alive(pid)]


@pytest.mark.parametrize(
    "words",
    [("--target", "nowhere"), ("--messages", "0"), ("--security", "rot13"), ("--repeat", "0")],
    ids=["target", "messages", "security", "repeat"],
)
async def test_wrong_usage_is_told(bench: Bench, words: tuple[str, str]) -> None:
    """Nothing is started for it."""
    done = await bench("email", *words)

    assert done.status in (1, 2)
    assert "Mend:" in done.stderr
    assert "round" not in done.stderr
