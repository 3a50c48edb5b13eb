"""What the sinks share: a server on a free port that says what it took when it is asked.

It prints its port, then for every line on stdin its counts as JSON; when stdin ends, so does it.
A sink whose parent was killed therefore ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"
BACKLOG = 512


@dataclass(slots=True)
class Counts:
    """What a sink took.

    Attributes:
        messages: that it answered for.
        recipients: the distinct ones of them.
    """

    messages: int = 0
    recipients: set[bytes] = field(default_factory=set)

    def shown(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "messages": self.messages,
                "distinct": len(self.recipients),
                "cpu_seconds": time.process_time(),
            }
        )


async def serve(
    make: Callable[[], asyncio.Protocol], counts: Counts, tls: ssl.SSLContext | None = None
) -> None:
    """Run one sink until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, HOST, 0, backlog=BACKLOG, ssl=tls)
    tell(str(server.sockets[0].getsockname()[1]))
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        tell(counts.shown())
    server.close()


def tell(line: str) -> None:
    """One line for the parent."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
