"""Binds of one account over several processes: never more than are allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from ignition_ext.budgets.bind import BindSlots, SlotTimes
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError, MustWait

ACCOUNT = "smsc.example:2775/acme"
MINUTE = timedelta(minutes=1)
QUICK = SlotTimes(
    lease=timedelta(milliseconds=600),
    drain=timedelta(milliseconds=100),
    look=timedelta(milliseconds=20),
    patience=timedelta(milliseconds=200),
)
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


def claimant(allowed: int = 2, owner: str = "node-1 pid 7, acme/reminder") -> Claimant:
    return Claimant(account=ACCOUNT, allowed=allowed, owner=owner)


def binds(
    database: Database, allowed: int = 2, times: SlotTimes = QUICK
) -> tuple[BindSlots, list[str], asyncio.Event]:
    """The slots of a sender, what it said, and whether it was told to close."""
    said: list[str] = []
    lost = asyncio.Event()
    made = BindSlots(
        Slots(database), claimant(allowed), on_lost=lost.set, tell=said.append, times=times
    )
    return made, said, lost


async def held(database: Database) -> int:
    async with database.engine.connect() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM bind_slot"))).scalar_one())


async def test_processes_together_never_hold_too_many(database: Database, start: Start) -> None:
    """Two processes want three binds each of an account that allows two."""
    url = database.url.render_as_string(hide_password=False)
    both = [await start("hold.py", url, ACCOUNT, 2, 3, 3, 0.05) for _ in range(2)]
    outputs = await asyncio.gather(*(one.communicate(b"go\n") for one in both))

    assert [one.returncode for one in both] == [0, 0]
    lines = [line.split() for out, _ in outputs for line in out.decode().splitlines()]
    assert len(lines) == 2 * 3 * 3 * 2
    # At one instant an end counts before a beginning.
    at_once = most = 0
    for _, sign in sorted((float(at), 1 if sign == "+" else -1) for sign, at in lines):
        at_once += sign
        most = max(most, at_once)
    assert most == 2
    assert await held(database) == 0


async def test_a_killed_holders_slot_comes_free(database: Database, start: Start) -> None:
    """When its lease lapses, not before."""
    url = database.url.render_as_string(hide_password=False)
    victim = await start("hold.py", url, ACCOUNT, 1, 1, 1, 60)
    assert victim.stdin is not None
    assert victim.stdout is not None
    victim.stdin.write(b"go\n")
    assert (await victim.stdout.readline()).startswith(b"+")
    victim.kill()
    await victim.wait()

    times = SlotTimes(look=timedelta(milliseconds=20))
    other, said, _ = binds(database, allowed=1, times=times)
    async with other():
        pass
    assert said == [f"waits for a bind of {ACCOUNT}: 1 of 1 in use by hold.py", ""]


async def test_who_comes_too_late_gives_up_after_a_while(database: Database) -> None:
    """Its messages are worth more elsewhere than in a sender without a bind."""
    first, _, _ = binds(database, allowed=1)
    second, said, _ = binds(database, allowed=1)
    async with first():
        with pytest.raises(MustWait, match="1 of 1 in use by node-1 pid 7") as caught:
            async with second():
                raise AssertionError("two binds of one")
    assert caught.value.retry_after == QUICK.patience
    assert len(said) == 1


async def test_a_sender_with_a_bind_waits_on_for_the_next(database: Database) -> None:
    """It works meanwhile; a cancelled wait leaves nothing behind."""
    one, said, _ = binds(database, allowed=1, times=replace(QUICK, lease=MINUTE))
    async with one():
        second = asyncio.create_task(one().__aenter__())
        done, _ = await asyncio.wait([second], timeout=QUICK.patience.total_seconds() * 3)
        assert not done
        assert said
        second.cancel()
        await asyncio.wait([second])
        assert await held(database) == 1
    assert await held(database) == 0


async def test_a_slot_is_kept_as_long_as_the_bind_is_open(database: Database) -> None:
    """For several leases, without being lost."""
    lease = timedelta(seconds=3)  # a loaded machine may stand still for a second
    first, _, lost = binds(database, allowed=1, times=replace(QUICK, lease=lease))
    slots = Slots(database)
    async with first():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lost.wait(), lease.total_seconds() * 2)
        assert not isinstance(await slots.take(claimant(1), MINUTE), UUID)
    assert isinstance(await slots.take(claimant(1), MINUTE), UUID)


async def test_a_lost_slot_closes_the_binds_before_it_lapses(database: Database) -> None:
    """The database is away: the sender is told while the slot is still its own."""

    class Cut(Slots):
        async def renew(self, account: str, holder: UUID, duration: timedelta) -> bool:
            raise DatabaseError("the database is away.")

    lost = asyncio.Event()
    times = SlotTimes(lease=timedelta(seconds=3), drain=timedelta(seconds=1))
    slots = BindSlots(
        Cut(database), claimant(1), on_lost=lost.set, tell=lambda words: None, times=times
    )
    async with slots():
        await asyncio.wait_for(lost.wait(), 20)
        assert times.lost_after < 2
    assert await held(database) == 0


async def test_a_slot_that_another_took_is_noticed(database: Database) -> None:
    """However that came: the bind is closed."""
    slots, _, lost = binds(database)
    async with slots():
        async with database.engine.begin() as connection:
            await connection.execute(text("DELETE FROM bind_slot"))
        await asyncio.wait_for(lost.wait(), 20)


async def test_fewer_allowed_binds_count_those_that_are_open(database: Database) -> None:
    """A block that was changed to one bind waits until the others are closed."""
    slots = Slots(database)
    taken = [await slots.take(claimant(3, f"owner {number}"), MINUTE) for number in range(3)]
    assert await slots.take(claimant(1), MINUTE) == ["owner 0", "owner 1", "owner 2"]
    for holder in taken[:2]:
        assert isinstance(holder, UUID)
        await slots.leave(ACCOUNT, holder)

    assert await slots.take(claimant(1), MINUTE) == ["owner 2"]
    assert isinstance(await slots.take(claimant(2), MINUTE), UUID)
