"""A run that has an interpreter of its own is waited for and ended like any other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.utilities.processutils import run_process
from prefect.workers.process import ProcessWorker, ProcessWorkerResult

REPORTED = 3
PROCESS = f"""
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({REPORTED}))
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""


@pytest.mark.parametrize("command", [True, False], ids=["a command", "no fork server"])
async def test_a_stop_lets_it_report_its_end(
    server: Any, make_worker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: bool
) -> None:
    """It has SIGTERM and then time, with a group of its own and without."""
    up, statuses = tmp_path / "up", []

    async def run(_: object, flow_run: object, configuration: Any, status: Any) -> object:
        process = await run_process(
            [sys.executable, "-c", PROCESS, str(up)],
            task_status=status,
            start_new_session=not command,
        )
        statuses.append(process.returncode)
        return ProcessWorkerResult(status_code=0, identifier="any")

    async def is_warm() -> bool:
        return False

    monkeypatch.setattr(ProcessWorker, "run", run)
    monkeypatch.setenv("IGNITION_WORKER_DRAIN_SECONDS", "0")
    worker = make_worker()
    monkeypatch.setattr(worker, "_is_warm", is_warm)
    server.configuration = SimpleNamespace(_command_configured=command)
    going = server.add()

    async with server.working(worker) as working:
        await server.until(up.exists)
        assert list(worker.under_way()) == [going.id]
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(90):
            await working

    assert statuses == [REPORTED]
    assert not worker.under_way()
