"""Keeps a fork server that is alive and up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from prefect.logging import get_logger

from ignition_ext.worker.job import Job
from ignition_ext.worker.server import ForkedProcess, ForkServer, ForkServerError

logger = get_logger("ignition.worker")


class ForkServers:
    """The fork server in use; a new one takes its place when it died or its imports are stale.

    A server that was replaced stays until its last child has ended.

    Args:
        preload: further modules to preload.

    Attributes:
        known: what the worker has learned of Prefect's server; see :mod:`.handshake`.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self.known: Mapping[str, str] = {}
        self._preload = preload
        self._current: ForkServer | None = None
        self._lock = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process id of the server in use, 0 without one."""
        return self._current.pid if self._current is not None and self._current.alive else 0

    async def fork(self, job: Job) -> ForkedProcess:
        """Fork a child; :meth:`refresh` has looked just before whether the server is up to date.

        Raises:
            ForkServerError: no server can be started, or there is no room for a process.
        """
        server = self._current
        if server is not None and server.alive:
            try:
                return await server.fork(job)
            except ForkServerError:
                if server.alive:
                    raise
        server = await self.refresh()  # it died under our hands: a new one, once
        return await server.fork(job)

    async def refresh(self) -> ForkServer:
        """The server, started or renewed where needed.

        Raises:
            ForkServerError: it does not start.
        """
        async with self._lock:
            server = self._current
            if server is not None and server.alive:
                changed = await asyncio.to_thread(server.out_of_date)
                if changed is None:
                    return server
                logger.info("Renewing the fork server: %s changed.", changed)
            elif server is not None:
                logger.warning("The fork server %s has died; starting another.", server.pid)
            if server is not None:
                await server.close()
            self._current = fresh = ForkServer(self.known)
            await fresh.start(self._preload)
            for reason in fresh.failed:
                logger.warning("Not preloaded: %s", reason)
            logger.debug("Fork server %s is ready.", fresh.pid)
            return fresh

    async def close(self) -> None:
        """Let the server go."""
        if self._current is not None:
            await self._current.close()
