"""A process that takes slots of an account and holds each for a moment; prints what it did.

Arguments: database URL, account, binds allowed, binds wanted, turns, seconds each is held.
Lines are ``+ TIME`` and ``- TIME`` by the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

from ignition_ext.budgets.bind import BindSlots, SlotTimes
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.database import Database


async def main(url: str, account: str, allowed: str, wanted: str, turns: str, hold: str) -> None:
    database = Database(url)
    claimant = Claimant(account=account, allowed=int(allowed), owner="hold.py")
    slots = BindSlots(
        Slots(database),
        claimant,
        on_lost=lambda: print("lost", flush=True),
        tell=lambda words: None,
        times=SlotTimes(
            lease=timedelta(seconds=3),
            drain=timedelta(seconds=1),
            look=timedelta(milliseconds=20),
        ),
    )
    print("ready", flush=True)
    sys.stdin.readline()

    async def bind() -> None:
        for _ in range(int(turns)):
            async with slots():
                print(f"+ {time.monotonic()}", flush=True)
                await asyncio.sleep(float(hold))
                print(f"- {time.monotonic()}", flush=True)

    await asyncio.gather(*(bind() for _ in range(int(wanted))))
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
