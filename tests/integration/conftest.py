"""Referees: decoders written by others, which judge what the channels put on the wire."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path

import pytest

REFEREE = Path(__file__).parents[1] / "referee"


@pytest.fixture(scope="session")
def referee() -> Path:
    """The folder of the node referees, its packages installed once however many tests run."""
    with (Path(tempfile.gettempdir()) / "ignition-referee.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (REFEREE / "node_modules" / "smpp").is_dir():
            subprocess.run(["npm", "ci", "--silent"], cwd=REFEREE, check=True, timeout=150)
    return REFEREE
