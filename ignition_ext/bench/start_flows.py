"""The flow whose first line ``ignition bench start`` waits for."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow


@flow(name="ignition-bench-first-line")
async def first_line(path: str) -> None:
    """Write down when the first line is reached.

    Args:
        path: The file for it.
    """
    now = time.time()
    Path(path).write_text(repr(now))
