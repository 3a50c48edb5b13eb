"""One of Prefect's executor contexts for many flow runs.

The process worker opens one for each run: a client, a listener for cancellations with its
WebSocket, the control channel. That costs as much as all else between polling and forking. Here
they are shared, as Prefect's own ``Runner`` shares them, and made anew every few minutes, so that
a listener that has given up in a long outage does not leave later runs without cancellation.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger

from ignition_ext.worker import private

RENEW_SECONDS = 300.0
"""Longer than Prefect's client waits for an unreachable server; a new one costs 0.1 s."""
logger = get_logger("ignition.worker")


class Hooks:
    """Finds each run's own hooks: Prefect's context knows only one runner of hooks."""

    def __init__(self) -> None:
        self._runners: dict[UUID, private.WorkspaceHookRunner] = {}

    def add(self, flow_run_id: UUID, runner: private.WorkspaceHookRunner) -> None:
        """Take up a run."""
        self._runners[flow_run_id] = runner

    def remove(self, flow_run_id: UUID) -> None:
        """Forget a run."""
        self._runners.pop(flow_run_id, None)

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run what the flow wants done when it is cancelled."""
        if runner := self._runners.get(flow_run.id):
            await runner.run_cancellation_hooks(flow_run, state)

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State) -> None:
        """Run what the flow wants done when it crashes."""
        if runner := self._runners.get(flow_run.id):
            await runner.run_crashed_hooks(flow_run, state)


class Cancellations:
    """Prefect's manager of cancellations, which tells when a run's is done and never raises.

    An error in it would end the context, and every run in it with it.
    """

    def __init__(self, manager: private.CancellationManager) -> None:
        self.hooks = Hooks()
        manager._hook_runner = self.hooks
        self._manager = manager
        self._going: Counter[UUID] = Counter()
        self._done = asyncio.Condition()
        self._hook_runner: object = None  # set by each new executor; we know them all

    async def cancel_by_id(self, flow_run_id: UUID) -> None:
        """Cancel a run that is marked as cancelling."""
        self._going[flow_run_id] += 1
        try:
            await self._manager.cancel_by_id(flow_run_id)
        except Exception:
            logger.exception("Flow run '%s' could not be cancelled.", flow_run_id)
        finally:
            self._going[flow_run_id] -= 1
            async with self._done:
                self._done.notify_all()

    async def settled(self, flow_run_id: UUID) -> None:
        """Return when no cancellation of that run is going on."""
        async with self._done:
            await self._done.wait_for(lambda: not self._going[flow_run_id])
        del self._going[flow_run_id]


class SharedContext:
    """A context in a task of its own, which has to enter and leave it.

    Attributes:
        context: Prefect's.
        cancellations: its manager of cancellations.
    """

    context: private.FlowRunExecutorContext
    cancellations: Cancellations

    def __init__(self) -> None:
        self.users = 0
        self._began = time.monotonic()
        self._unused = asyncio.Event()
        self._ready = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    @property
    def usable(self) -> bool:
        """Whether another run may begin with it."""
        return not self._task.done() and time.monotonic() - self._began < RENEW_SECONDS

    async def opened(self) -> None:
        """Wait until it is open; raises what kept it from that."""
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            await self._task

    async def close(self) -> None:
        """Let it end, and wait for that."""
        self._unused.set()
        with suppress(Exception):  # said where it happened
            await self._task

    async def _keep(self) -> None:
        async with private.FlowRunExecutorContext() as context:
            self.context = context
            self.cancellations = Cancellations(context._cancellation_manager)
            private.replace_cancellation_manager(context, self.cancellations)
            self._ready.set()
            await self._unused.wait()


class ExecutorContexts:
    """Lends the context in use; one that grew old is closed when its last run has ended."""

    def __init__(self) -> None:
        self._current: SharedContext | None = None
        self._all: set[SharedContext] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[SharedContext]:
        """A context for one run."""
        shared = await self.open()
        shared.users += 1
        try:
            yield shared
        finally:
            shared.users -= 1
            self._retire(shared)

    async def open(self) -> SharedContext:
        """The context in use, opened where there is none."""
        async with self._lock:
            if self._current is None or not self._current.usable:
                former, fresh = self._current, SharedContext()
                await fresh.opened()
                self._all.add(fresh)
                self._current = fresh
                if former is not None:
                    self._retire(former)
            return self._current

    def _retire(self, shared: SharedContext) -> None:
        if shared is not self._current and not shared.users:
            self._all.discard(shared)
            task = asyncio.create_task(shared.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close them all."""
        self._current = None
        for shared in list(self._all):
            await shared.close()
        await asyncio.gather(*self._closing)
