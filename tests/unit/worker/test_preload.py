"""What the fork server has loaded, in a process like it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ignition_ext.worker.preload import Stamp, changed_file

PROGRAM = """
import json, sys, threading
from ignition_ext.worker.preload import ROOMS, preload, rehearse
failed = preload(["flows.campaign", "no_such_module"])
rehearse()
before = {name.partition(".")[0] for name in sys.modules}
threads = threading.active_count()
import flows.campaign
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({
    "failed": failed, "threads": threads,
    "rooms": sorted(before & set(ROOMS)), "new": sorted(after - before),
}))
"""


def test_all_is_loaded_but_the_projects_own(tmp_path: Path) -> None:
    """A child that loads our flow loads the flow, its tasks and its blocks, and no library."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
        cwd=tmp_path,
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
    )
    told = json.loads(done.stdout.splitlines()[-1])

    assert told["rooms"] == []
    assert set(told["new"]) <= {"flows", "tasks", "blocks"}
    assert told["threads"] == 1
    refused, missing = told["failed"]
    assert refused.startswith("flows.campaign:")
    assert "no_such_module" in missing


def test_the_worker_type_is_light_to_import(tmp_path: Path) -> None:
    """Every Prefect worker and server of the environment imports it when it starts."""
    program = "import ignition_ext.worker.worker, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
        env={**os.environ, "PREFECT_HOME": str(tmp_path)},
    )

    assert not {"sqlmodel", "alembic", "blocks", "flows"} & set(done.stdout.split())


@pytest.fixture
def stamped(tmp_path: Path) -> tuple[Path, list[Stamp]]:
    """A file and its stamp."""
    path = tmp_path / "module.py"
    path.write_text("A = 1\n")
    status = path.stat()
    return path, [(str(path), status.st_mtime_ns, status.st_size)]


def test_a_file_as_it_was_is_up_to_date(stamped: tuple[Path, list[Stamp]]) -> None:
    """Nothing to renew."""
    assert changed_file(stamped[1]) is None


@pytest.mark.parametrize("change", ["longer", "later", "gone"])
def test_a_file_that_changed_is_named(stamped: tuple[Path, list[Stamp]], change: str) -> None:
    """By its size, its time, or for it is not there."""
    path, stamps = stamped
    match change:
        case "longer":
            path.write_text("A = 12\n")
            os.utime(path, ns=(stamps[0][1], stamps[0][1]))
        case "later":
            os.utime(path, ns=(stamps[0][1] + 1_000_000, stamps[0][1] + 1_000_000))
        case _:
            path.unlink()

    assert changed_file(stamps) == str(path)
