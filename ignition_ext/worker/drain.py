"""How a worker stops: no new runs, time for those that go on, then an end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

import anyio

from ignition_ext.worker.private import ProcessHandle

LAST_SECONDS = 10.0
"""For runs that were asked to end, to report it; with the 15 s before less than the 30 s that
Kubernetes gives a pod."""
LOOK_SECONDS = 0.1
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drain:
    """The first signal asks for an orderly stop, the second ends the runs, the third the worker.

    Args:
        seconds: how long runs may go on after the first.
        is_busy: whether there are any.

    Attributes:
        asked: whether the worker is to stop.
        stop: set from then on.
    """

    def __init__(self, seconds: float, is_busy: Callable[[], bool]) -> None:
        self._seconds, self._is_busy = seconds, is_busy
        self.stop, self._hurry = asyncio.Event(), asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether the worker is to stop."""
        return self.stop.is_set()

    @contextmanager
    def on_signals(self, say: Callable[..., None]) -> Iterator[None]:
        """Take the signals for as long as the block lasts, where this is the main thread."""
        loop = asyncio.get_running_loop()

        def told(number: signal.Signals) -> None:
            if not self.asked:
                say(f"Received {number.name}: no new flow runs; those that run may end first.")
                self.stop.set()
                return
            say(f"Received {number.name} again: ending the flow runs.")
            self._hurry.set()
            for each in SIGNALS:
                loop.remove_signal_handler(each)

        former = {}
        try:
            for number in SIGNALS:
                former[number] = signal.getsignal(number)
                loop.add_signal_handler(number, told, number)
        except (ValueError, RuntimeError, NotImplementedError):
            former = {}  # another thread, or Windows: whoever runs us there stops us
        try:
            yield
        finally:
            for number, handler in former.items():
                with suppress(ValueError, RuntimeError):
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)

    async def carry_out(self, handles: Collection[ProcessHandle], scope: anyio.CancelScope) -> None:
        """Wait until a stop is asked for, drain, then cancel the scope.

        Args:
            handles: processes that run, as they come and go.
            scope: the worker's.
        """
        await self.stop.wait()
        await self._while_busy(self._seconds, self._hurry)
        for handle in tuple(handles):
            with suppress(ProcessLookupError, PermissionError):  # ended, or a command with sudo
                handle.graceful_kill()
        await self._while_busy(LAST_SECONDS, asyncio.Event())
        scope.cancel()

    async def _while_busy(self, seconds: float, enough: asyncio.Event) -> None:
        """Look again and again: Prefect's collections of runs tell nobody when they change."""
        with anyio.move_on_after(seconds):
            while self._is_busy() and not enough.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(enough.wait(), LOOK_SECONDS)
