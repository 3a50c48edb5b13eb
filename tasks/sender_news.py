"""What a sender in its own thread has to say: kept until Prefect's thread writes it down."""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import assert_never
from uuid import UUID

from prefect import get_run_logger

from ignition_ext.delivery.guard import CircuitChange
from ignition_ext.orchestration.events import ServerEvent, tell_server
from tasks.live_progress import LiveProgress


@dataclass(slots=True)
class SenderNews:
    """Told from any thread, shown from Prefect's."""

    progress: LiveProgress
    flow_run_id: UUID
    _queue: SimpleQueue[CircuitChange | str] = field(default_factory=SimpleQueue)

    def circuit(self, change: CircuitChange) -> None:
        """A server's circuit opened or closed."""
        self._queue.put(change)

    def waits(self, words: str) -> None:
        """What the sender waits for, nothing when empty."""
        self._queue.put(words)

    def show(self) -> None:
        """Write to the run's log, emit the events, and change the progress."""
        while True:
            try:
                news = self._queue.get_nowait()
            except Empty:
                return
            match news:
                case CircuitChange():
                    self._show_circuit(news)
                case str():
                    self.progress.waits_for = news
                    if news:
                        get_run_logger().info("%s", news)
                case _:
                    assert_never(news)

    def _show_circuit(self, change: CircuitChange) -> None:
        logger = get_run_logger()
        if change.wait is None:
            logger.info("the circuit of %s is closed: it works again", change.key)
            event = ServerEvent.CLOSED
        else:
            logger.warning(
                "the circuit of %s is open for %.0f s after %d failures in a row: %s",
                change.key,
                change.wait.total_seconds(),
                change.failures,
                change.reason,
            )
            event = ServerEvent.OPENED
        tell_server(
            event,
            server=change.key,
            flow_run_id=self.flow_run_id,
            reason=change.reason,
            failures=change.failures,
            seconds=change.wait.total_seconds() if change.wait else 0,
        )
