"""The kernel's count of what it killed for want of memory, and whose end it explains."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ignition_ext.worker.memory import Killed, counter_of

EVENTS = "low 0\nhigh 3\nmax 12\noom 2\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
KILLED = -signal.SIGKILL


class Kernel:
    """Its files, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"

    def writes(self, path: str, text: str) -> Path:
        whole = self.proc.parent / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        return whole

    def counter(self) -> Path | None:
        return counter_of(7, proc=self.proc, groups=self.groups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/pods/one\n", "cgroup/pods/one/memory.events", EVENTS),
        ("0::/of/the/host\n", "cgroup/memory.events", EVENTS),
        ("4:memory:/docker/x\n0::/\n", "cgroup/memory/docker/x/memory.oom_control", CONTROL),
        ("3:cpu,memory:/docker/x\n", "cgroup/memory/memory.oom_control", CONTROL),
        ("0::/\n", "proc/vmstat", "pgfault 1\noom_kill {}\n"),
    ],
    ids=["version 2", "version 2 inside", "version 1", "version 1 inside", "no group"],
)
def test_the_count_is_found(kernel: Kernel, groups: str, file: str, text: str) -> None:
    """In the process's own group where it can be seen, else in the nearest that can."""
    kernel.writes("proc/7/cgroup", groups)
    counter = kernel.writes(file, text.format(5))

    assert kernel.counter() == counter
    assert Killed(counter).count() == 5


def test_without_a_count_nothing_is_claimed(kernel: Kernel) -> None:
    """On another system, or a kernel that counts nothing."""
    kernel.writes("proc/7/cgroup", "0::/\n")
    kernel.writes("cgroup/memory.events", "low 0\n")

    assert kernel.counter() is None
    assert Killed(None).why(KILLED, Killed(None).count()) == ""


def test_each_count_explains_one_child(kernel: Kernel) -> None:
    """Two children run, the kernel kills one: the other's end was somebody else's."""
    counter = kernel.writes("counter", CONTROL.format(4))
    killed = Killed(counter)
    first, second = killed.count(), killed.count()
    kernel.writes("counter", CONTROL.format(5))

    assert "The kernel killed it" in killed.why(KILLED, first)
    assert "Not for want of memory" in killed.why(KILLED, second)


def test_what_was_counted_before_a_child_began_does_not_explain_its_end(kernel: Kernel) -> None:
    """Nor does what ended in another way."""
    counter = kernel.writes("counter", CONTROL.format(4))
    killed = Killed(counter)
    early = killed.count()
    kernel.writes("counter", CONTROL.format(6))
    late = killed.count()

    assert "Not for want of memory" in killed.why(KILLED, late)
    assert killed.why(-signal.SIGTERM, early) == ""
    assert killed.why(None, early) == ""
    assert "The kernel killed it" in killed.why(KILLED, early)
