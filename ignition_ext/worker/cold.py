"""Runs that Prefect's own code starts in a new interpreter: they too are waited for and ended."""

from __future__ import annotations

from collections.abc import Callable

import anyio.abc


class NotedStatus(anyio.abc.TaskStatus[int]):
    """Hands on the process id that Prefect tells, and notes it.

    Args:
        status: where it goes, if anywhere.
        note: takes the process id.
    """

    def __init__(
        self, status: anyio.abc.TaskStatus[int] | None, note: Callable[[int], None]
    ) -> None:
        self._status, self._note = status, note

    def started(self, value: int | None = None) -> None:
        """The process runs."""
        assert value is not None
        self._note(value)
        if self._status is not None:
            self._status.started(value)
