"""What a process used: seconds by the clock and by the processor, and the most memory it held."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(slots=True)
class Meter:
    """Filled when its block ends."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure a block.

    The processor's time is that of all threads of this process, and of what it started and
    awaited within the block.
    """
    meter = Meter()
    began, cpu = time.perf_counter(), _cpu_seconds()
    try:
        yield meter
    finally:
        meter.seconds, meter.cpu_seconds = time.perf_counter() - began, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    spent = os.times()  # in hundredths; our own time is known better
    return time.process_time() + spent.children_user + spent.children_system


def peak_rss_mb(process: int | None = None) -> float:
    """The most memory that this process or another one ever held, in units of 10⁶ bytes."""
    status = _PROC / ("self" if process is None else str(process)) / "status"
    if status.exists():
        # ru_maxrss begins with what the parent held when it made us, so it may be the parent's.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if process is not None:
        return 0.0  # what another one holds is not told here
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
