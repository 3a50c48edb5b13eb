"""A worker that is told to stop begins no more runs, whatever it was doing."""

from __future__ import annotations

import asyncio
import os
import signal
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse

from ignition_ext.worker.worker import IgnitionWorker


async def test_a_stop_that_comes_while_the_server_is_asked_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slow server's answer names a run that was made after the worker had said "no new ones"."""
    said: list[str] = []
    told = asyncio.Event()

    def say(words: str) -> None:
        said.append(words)
        told.set()

    async def asked(worker: IgnitionWorker) -> list[WorkerFlowRunResponse]:
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
        run = FlowRun(flow_id=uuid4(), name="late")
        return [WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run)]

    monkeypatch.setattr(IgnitionWorker, "_get_scheduled_flow_runs", asked)
    worker = IgnitionWorker(work_pool_name="any")
    worker._has_successfully_synced = True

    with worker._drain.on_signals(say):
        assert await worker.get_and_submit_flow_runs() == []

    assert "no new flow runs" in said[0]
    assert not worker._submitting_flow_run_ids
