"""Whether the kernel killed a child for want of memory, by the kernel's own count.

SIGKILL tells nothing of who sent it. The kernel counts what it kills for each control group (and,
where there is none, for the whole host), and it counts before it kills: the count has grown when
the child is seen to have ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun, State

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
_FIELD = "oom_kill"


def counter_of(pid: int, *, proc: Path = PROC, groups: Path = GROUPS) -> Path | None:
    """The file in which the kernel counts what it kills of that process's control group.

    ``memory.events`` (version 2) or ``memory.oom_control`` (version 1) of the group itself, of the
    container's own where the group's path is not seen from inside, else the host's ``vmstat``.
    """
    for path in (*_group_files(pid, proc, groups), proc / "vmstat"):
        if _read(path) is not None:
            return path
    return None


def _group_files(pid: int, proc: Path, groups: Path) -> list[Path]:
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = groups, "memory.events"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.oom_control"
        else:
            continue
        found += [root / path.lstrip("/") / name, root / name]
    # Where both versions are mounted, only one has the memory controller's files.
    return found


def _read(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == _FIELD:
                return int(count)
    except (OSError, ValueError):
        return None
    return None


class Killed:
    """Tells of children that were killed whether it was for want of memory.

    A count names nobody. Each one that it grew by explains one child: of those that were running
    when it grew, the one whose end is asked about first.

    Args:
        counter: the kernel's file; None where there is none.
    """

    def __init__(self, counter: Path | None) -> None:
        self._counter = counter
        self._explained = 0

    def count(self) -> int:
        """As of now, for a child that begins; 0 where nothing is counted."""
        return 0 if self._counter is None else _read(self._counter) or 0

    def why(self, status: int | None, began: int) -> str:
        """What is known of a child's end besides its status, in a sentence; empty for nothing.

        Args:
            status: how it ended, negative for a signal.
            began: the count when it began.
        """
        if status != -signal.SIGKILL or self._counter is None:
            return ""
        former = max(began, self._explained)
        if self.count() > former:
            self._explained = former + 1
            return (
                f" The kernel killed it for want of memory ({self._counter} has counted it): give"
                " the node more, or let the worker run fewer at a time (--limit)."
            )
        return (
            f" Not for want of memory: the kernel counts no such end ({self._counter}), so somebody"
            " killed it."
        )


class TellingProposer:
    """Prefect's proposer of states, which adds to a crash what is known of it.

    Args:
        proposer: Prefect's.
        why: the sentence to add.
    """

    def __init__(self, proposer: Any, why: Callable[[], str]) -> None:
        self._proposer, self._why = proposer, why

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proposer, name)

    def propose_crashed(self, flow_run: FlowRun, message: str) -> Awaitable[State[Any] | None]:
        """Say that a run crashed."""
        crashed: Awaitable[State[Any] | None] = self._proposer.propose_crashed(
            flow_run, message=f"{message}{self._why()}"
        )
        return crashed


def here() -> Killed:
    """For the children of this process, which are in its control group."""
    return Killed(counter_of(os.getpid()))
