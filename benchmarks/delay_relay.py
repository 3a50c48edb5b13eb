"""A TCP relay that makes a link longer: half a round trip each way, and nothing else.

``python benchmarks/delay_relay.py --target HOST:PORT [--listen PORT] [--round-trip SECONDS]``

What comes in goes out a fixed time later, in order, however much of it there is: pipelining and
throughput stay as they are. Reading stops while much is under way, as on a link whose window is
full. Says on stdout where it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque

# Bytes under way in one direction of one connection; far more than 20 ms need.
_WINDOW = 4 * 1024 * 1024


class Side(asyncio.Protocol):
    """One end of a relayed connection; what it receives goes to ``other`` after the delay."""

    def __init__(self, delay: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay = delay
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link stands."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Put it on its way."""
        self._depart(data)
        self._size += len(data)
        if self._size > _WINDOW and self.transport is not None:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of a connection travels as long as its data does."""
        self._depart(b"")

    def _depart(self, data: bytes) -> None:
        self._under_way.append((self._loop.time() + self._delay, data))
        if len(self._under_way) == 1:
            self._loop.call_later(self._delay, self._arrive)

    def _arrive(self) -> None:
        """Deliver what is due; the rest is waited for with one timer."""
        now = self._loop.time()
        far = self.other.transport if self.other is not None else None
        due = []
        while self._under_way and self._under_way[0][0] <= now:
            due.append(self._under_way.popleft()[1])
        if far is not None and not far.is_closing():
            far.write(b"".join(due))
            if b"" in due:
                far.close()
        before, self._size = self._size, self._size - sum(map(len, due))
        if before > _WINDOW >= self._size and self.transport is not None:
            self.transport.resume_reading()
        if self._under_way:
            self._loop.call_at(self._under_way[0][0], self._arrive)


class Inward(Side):
    """The client's side, which opens the connection to the target."""

    def __init__(self, delay: float, host: str, port: int) -> None:
        super().__init__(delay)
        self._target = host, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect onwards; what the client says meanwhile waits."""
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        assert self.transport is not None
        far = Side(self._delay)
        far.other, self.other = self, far
        try:
            await self._loop.create_connection(lambda: far, *self._target)
        except OSError as error:
            sys.stderr.write(f"no connection to {self._target[0]}:{self._target[1]}: {error}\n")
            self.transport.close()
            return
        self.transport.resume_reading()


async def relay(listen: int, host: str, port: int, round_trip: float) -> None:
    """Run until cancelled."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Inward(round_trip / 2, host, port), "127.0.0.1", listen
    )
    sys.stdout.write(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", required=True, metavar="HOST:PORT")
    parser.add_argument("--listen", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--round-trip", type=float, default=0.02, help="seconds")
    options = parser.parse_args()
    host, _, port = options.target.rpartition(":")
    try:
        asyncio.run(relay(options.listen, host, int(port), options.round_trip))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
