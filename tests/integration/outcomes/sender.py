"""A process that sends to webhooks until it is killed: ``python sender.py DATABASE_URL``."""

from __future__ import annotations

import asyncio
import sys

from ignition_ext.database import Database
from ignition_ext.orchestration.outcomes import relay_once
from ignition_ext.settings import Settings


async def main(url: str) -> None:
    """Derive and send, as the flow does."""
    database = Database(url)
    while True:
        await relay_once(database, Settings(), None, seconds=60)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
