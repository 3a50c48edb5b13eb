"""Rates in a real database: exact over processes, whatever their clocks say."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.lines import CHUNK, Lines
from ignition_ext.budgets.rate import Limit, Want
from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]
RATE, SECONDS = 60, 4.0
FAST = Limit(key="tenant:acme", rate=1000)


def want(key: str = "tenant:acme", rate: float = 10, count: int = 1, **more: int) -> Want:
    return Want(limit=Limit(key=key, rate=rate, **more), count=count, patience=30)


async def keys(database: Database) -> list[str]:
    async with database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT key FROM rate_budget ORDER BY key"))
        return list(rows.scalars())


async def run_senders(processes: list[asyncio.subprocess.Process]) -> list[list[float]]:
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [[float(line) for line in out.decode().split()] for out, _ in outputs]


def require_rate(used: list[float], rate: float) -> None:
    """No window of any length holds more than its share and a second's burst."""
    times = sorted(used)
    for first, begin in enumerate(times):
        for width in (0.05, 0.25, 1.0, 2.0):
            count = bisect_right(times, begin + width) - first
            assert count <= rate * width + rate + 1


async def test_two_processes_together_keep_the_rate(database: Database, start: Start) -> None:
    """The uses of both, laid side by side: never more than the rate, and fairly shared."""
    url = database.url.render_as_string(hide_password=False)
    senders = [await start("spend.py", url, "campaign:acme/news", RATE, SECONDS) for _ in range(2)]
    shares = await run_senders(senders)

    used = [at for share in shares for at in share]
    require_rate(used, RATE)
    assert len(used) >= RATE * SECONDS * 0.5
    assert min(map(len, shares)) >= len(used) * 0.25


async def test_a_killed_sender_takes_little_with_it(database: Database, start: Start) -> None:
    """The other goes on, and gets its places when they have passed."""
    url = database.url.render_as_string(hide_password=False)
    victim = await start("spend.py", url, "server:h:25", RATE, 60)
    other = await start("spend.py", url, "server:h:25", RATE, SECONDS)
    assert victim.stdin is not None
    assert victim.stdout is not None
    victim.stdin.write(b"go\n")
    await victim.stdin.drain()
    seen = [float(await victim.stdout.readline()) for _ in range(10)]
    victim.kill()
    (used,) = await run_senders([other])
    out, _ = await victim.communicate()
    seen += [float(line) for line in out.decode().split("\n")[:-1]]

    require_rate(seen + used, RATE)
    assert len(used) >= RATE * SECONDS * 0.5


async def test_each_key_has_a_line_of_its_own(database: Database) -> None:
    """Thousands are moved on at once, in transactions of a bounded size."""
    lines = Lines(database)
    wants = [want(f"domain:acme:d{number}.example", count=3) for number in range(CHUNK + 50)]
    granted = await lines.take(wants)

    assert {answer.tokens for answer in granted.values()} == {3}
    assert len(await keys(database)) == CHUNK + 50


async def test_lines_nobody_uses_are_swept(database: Database) -> None:
    """Those in use stay; a swept one begins anew."""
    lines = Lines(database)
    await lines.take([want("domain:acme:old.example"), want("domain:acme:slow.example", 0.01)])

    assert await lines.sweep() == 0
    await lines.take([want("domain:acme:old.example", count=0)])
    while "domain:acme:old.example" in await keys(database):
        await lines.sweep(timedelta(0))
    assert await keys(database) == ["domain:acme:slow.example"]
    assert (await lines.take([want("domain:acme:old.example")])).popitem()[1].tokens == 1


async def test_concurrent_senders_never_get_a_place_twice(database: Database) -> None:
    """Many keys in different orders, from several connections: no deadlock, no place lost."""
    names = [f"domain:acme:d{number}.example" for number in range(20)]
    other = Database(database.url.render_as_string(hide_password=False))
    try:
        both = (Lines(database), Lines(other))
        answers = await asyncio.gather(
            *(
                both[turn % 2].take([want(name, 1) for name in names[:: 1 - 2 * (turn % 2)]])
                for turn in range(20)
            )
        )
    finally:
        await other.close()

    for name in names:
        waits = sorted(answer[name].wait for answer in answers)
        span = waits[-1] - waits[0]
        assert span >= 19 - SECONDS  # 20 places of a second each, asked for at almost one time


async def test_a_new_rate_is_everybodys_at_once(database: Database) -> None:
    """A sender that still has the old one learns it with its next places."""
    lines = Lines(database)
    await lines.take([want(rate=1, revision=1)])
    await lines.take([want(rate=500, revision=2)])
    answer = (await lines.take([want(rate=1, revision=1)]))["tenant:acme"]

    assert (answer.rate, answer.revision) == (500, 2)
    assert answer.wait < 1


async def test_unused_places_are_given_back(database: Database) -> None:
    """What a sender leaves is the next one's."""
    slow = Limit(key="tenant:acme", rate=5)
    async with Budget(Lines(database)) as budget:
        await budget.take(slow)
    answer = (await Lines(database).take([Want(limit=slow, count=1)]))["tenant:acme"]

    assert answer.wait <= 0.4


async def test_the_nodes_clock_does_not_matter(
    postgres_database_url: str, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two nodes five minutes apart share one line: only the database tells the time."""
    url = postgres_database_url
    shift = tmp_path / "sitecustomize.py"
    shift.write_text(
        "import time, datetime as d\n"
        "real = time.time\n"
        "time.time = lambda: real() + 300\n"
        "class Late(d.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return super().now(tz) + d.timedelta(minutes=5)\n"
        "d.datetime = Late\n"
    )
    there = await start("spend.py", url, "server:h:25", RATE, 2)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ahead = await start("spend.py", url, "server:h:25", RATE, 2)
    shares = await run_senders([there, ahead])

    require_rate([at for share in shares for at in share], RATE)
    assert min(map(len, shares)) >= RATE * 2 * 0.15


async def test_a_database_that_is_away_stops_and_comes_back() -> None:
    """No place, no sending; then it goes on by itself, and the end does not fail either."""

    class Flaky:
        tries = 0

        async def take(self, wants: list[Want]) -> dict[str, object]:
            self.tries += 1
            raise DatabaseError("away.")

    flaky = Flaky()
    async with Budget(flaky) as budget:  # type: ignore[arg-type]  answers nothing at all
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(budget.take(FAST), 0.2)
    assert flaky.tries == 1
