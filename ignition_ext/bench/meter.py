"""What a process used: seconds by the clock and by the processor, and the most memory it held."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(slots=True)
class Meter:
    """Filled when its block ends."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure a block; the processor's time is that of all threads of this process."""
    meter = Meter()
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield meter
    finally:
        meter.seconds, meter.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu


def peak_rss_mb() -> float:
    """The most memory that this process ever held, in units of 10⁶ bytes."""
    if _STATUS.exists():
        # ru_maxrss begins with what the parent held when it made us, so it may be the parent's.
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
