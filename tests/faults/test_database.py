"""Databases that go away under a sender, disks that fill up, clocks that disagree."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import PostgresServer, running_postgres
from ignition_ext.schema import upgrade

pytestmark = pytest.mark.timeout(1800)

FREE_PAGES = 10
"""Pages that the disk still has: enough for a few groups, not for the run."""
FIVE_MINUTES = 300
CHAOS = bool(os.environ.get("CHAOS"))
RESTARTS = [("email", "fast"), ("sms", "immediate")]
CLOCKS = [("email", FIVE_MINUTES), ("sms", -FIVE_MINUTES)]
if CHAOS:
    RESTARTS += [("email", "immediate"), ("sms", "fast")]
    CLOCKS += [("email", -FIVE_MINUTES), ("sms", FIVE_MINUTES)]
LIBRARIES = (Path("/usr/lib"), Path("/usr/local/lib"))


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of this test's own, which keeps what it committed."""
    with running_postgres(durable=True) as server:
        yield server


@pytest.mark.parametrize(("channel", "mode"), RESTARTS)
def test_postgresql_restarted_in_mid_run(
    channel: str,
    mode: Any,
    postgres: PostgresServer,
    migrate: Callable[[str], None],
    open_stage: Any,
    counter: Any,
    dice: random.Random,
    wait: Any,
    chaos: bool,
) -> None:
    """The same sender goes on when the server is back; nothing is lost or sent twice."""
    total, restarts = (20_000, 3) if chaos else (1_500, 1)
    migrate(postgres.url)
    far = counter(channel)
    stage = open_stage(postgres.url, channel, lease=5)
    addresses = stage.fill(total)
    stage.send_to(far.port)

    sender = stage.start()
    for moment in sorted(dice.randrange(total // 10, total * 8 // 10) for _ in range(restarts)):
        wait(lambda moment=moment: far.count() >= moment or not sender.running)
        assert sender.running, sender.story()
        postgres.stop(mode)
        postgres.start()
    assert sender.ended() == 0, sender.story()

    states = stage.check(far, addresses, uncertain=restarts * stage.width)
    assert set(states.values()) <= {"sent", "delivered", "uncertain"}


@pytest.fixture
def pages_of() -> Callable[[str], int]:
    """Tells how many pages a database on SQLite has."""

    def count(url: str) -> int:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
        return int(pages)

    return count


@pytest.fixture
def migrate() -> Callable[[str], None]:
    """Brings a database to this release's schema."""

    async def upgraded(url: str) -> None:
        database = Database(url)
        await upgrade(database)
        await database.close()

    return lambda url: asyncio.run(upgraded(url))


def test_a_full_disk_stops_the_run_and_space_resumes_it(
    sqlite_database_url: str, open_stage: Any, counter: Any, pages_of: Callable[[str], int]
) -> None:
    """One clear error with its mend; what was not sent stays, and is sent when there is room."""
    far = counter("email")
    stage = open_stage(sqlite_database_url, "email")
    addresses = stage.fill(1_500)
    stage.send_to(far.port)

    full = pages_of(sqlite_database_url) + FREE_PAGES
    sender = stage.start(max_pages=full, patience=0)
    assert sender.ended() == 2, sender.story()

    said = sender.said()["error"]
    assert "full" in said
    assert re.search(r"(Check|Make space).* (disk|there)", said), "it does not say what to do"
    before = far.count()
    assert 0 < before < 1_500
    stage.drain()

    states = stage.check(far, addresses, uncertain=stage.width)
    assert set(states.values()) <= {"sent", "uncertain"}


def _faketime() -> str:
    """The library of Debian's package faketime."""
    for folder in LIBRARIES:
        for found in sorted(folder.glob("**/faketime/libfaketime.so.1")):
            return str(found)
    if os.environ.get("CI"):
        raise LookupError("there is no libfaketime.so.1: install Debian's package faketime")
    pytest.skip("there is no libfaketime.so.1: install Debian's package faketime")


def _clock(seconds: int) -> dict[str, str]:
    """A process whose clock is so far off; time still passes as fast."""
    return {
        "LD_PRELOAD": _faketime(),
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.parametrize(("channel", "seconds"), CLOCKS)
def test_two_nodes_with_clocks_five_minutes_apart(
    channel: str,
    seconds: int,
    postgres_database_url: str,
    open_stage: Any,
    counter: Any,
    far_smtp: Any,
    wait: Any,
    chaos: bool,
) -> None:
    """Leases are the database's: neither node takes what the other one holds, none waits on."""
    total = 10_000 if chaos else 600
    far = counter(channel)
    stage = open_stage(postgres_database_url, channel, portion=50)
    addresses = stage.fill(total)
    stage.send_to(far.port)

    one, other = stage.start(), stage.start(preload=_clock(seconds))
    assert (one.ended(), other.ended()) == (0, 0), one.story() + other.story()

    assert set(stage.check(far, addresses).values()) <= {"sent", "delivered"}


@pytest.mark.parametrize("seconds", [-FIVE_MINUTES, FIVE_MINUTES], ids=["behind", "ahead"])
def test_a_wrong_clock_tries_again_neither_early_nor_late(
    seconds: int, postgres_database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """A message deferred for two seconds comes again after two seconds, on a node that is off."""
    far = far_smtp({"stage": "RCPT", "do": "451 4.7.1 later", "every": 1, "times": 10})
    stage = open_stage(postgres_database_url, "email", retry=2)
    addresses = stage.fill(10)
    stage.send_to(far.port)

    stage.drain(preload=_clock(seconds))

    assert set(stage.check(far, addresses).values()) == {"sent"}
    with psycopg.connect(postgres_database_url, options="-c search_path=ignition") as connection:
        waits = connection.execute(
            "SELECT extract(epoch FROM b.at - a.at) FROM message_event a"
            " JOIN message_event b ON b.message_id = a.message_id AND b.seq = a.seq + 1"
            " WHERE a.new_state = 'deferred'"
        ).fetchall()
    assert len(waits) == 10
    assert all(2 <= wait < 60 for (wait,) in waits), waits
