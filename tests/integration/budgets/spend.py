"""A sender of its own process: takes places of one rate and prints when it used each.

Arguments: database URL, key, rate, seconds. Times are of the machine's monotonic clock, which all
its processes share. ``ready`` is printed first, and a line read: all begin together.
"""

from __future__ import annotations

import asyncio
import sys
import time

from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.lines import Lines
from ignition_ext.budgets.rate import Limit
from ignition_ext.database import Database


async def main(url: str, key: str, rate: str, seconds: str) -> None:
    database = Database(url)
    limit = Limit(key=key, rate=float(rate))
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    async with Budget(Lines(database)) as budget:
        while time.monotonic() < end:
            await budget.take(limit)
            print(time.monotonic(), flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
