"""``ignition bench start``: how long a flow run takes to its first line, and how punctual it is."""

from __future__ import annotations

import asyncio
import math
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled
from sqlmodel import col, func, select

from ignition_ext.bench.options import Say
from ignition_ext.bench.report import Document
from ignition_ext.bench.start_stage import POOL, StartStage, open_start_stage
from ignition_ext.database import Database
from ignition_ext.devtools.stack import PrefectWorker, WarmWorker
from ignition_ext.errors import IgnitionError
from ignition_ext.models import CampaignRun, Message

LOOK_SECONDS = 0.25
"""Between two questions whether a run has ended, which the server has to answer."""
FILE_SECONDS = 0.01
END_SECONDS = 120.0
"""For a run to end, on a machine that is busy with other things."""
AHEAD_SECONDS = 20.0
"""The first scheduled run is due so late that the worker fetches it ahead, as it does always."""
APART_SECONDS = 4.0
"""Between two scheduled runs: they are not to share the processor."""
PROCESS_WORKER = "process_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What is to be measured.

    Attributes:
        schedules: deployments with a schedule that are there besides.
        runs: ad hoc runs for each worker.
        scheduled: scheduled runs for each worker.
        query_seconds: between two looks of either worker.
        database: URL of a PostgreSQL server on which a database may be made; None starts one.
        peers: whether Prefect's process worker is measured too.
    """

    schedules: int = 1000
    runs: int = 40
    scheduled: int = 24
    query_seconds: float = 0.5
    database: str | None = None
    peers: bool = True


async def bench_start(options: StartOptions, say: Say) -> Document:
    """Measure the warm worker and, in the same run, Prefect's; seconds.

    ``ad_hoc`` is from before the request that creates a run to the flow's first line.
    ``scheduled`` is from the time that a campaign's run is due to the database's time of the first
    message's intent, which follows its claim: what is below 0 was early.
    """
    async with open_start_stage(options.database, options.schedules, say) as stage:
        ours = await _measure(WarmWorker, stage, options, say)
        peers = {}
        if options.peers:
            peers[PROCESS_WORKER] = await _measure(PrefectWorker, stage, options, say)
    return {
        **ours,
        "peers": peers,
        "schedules": options.schedules,
        "runs": {"ad_hoc": options.runs, "scheduled": options.scheduled},
        "query_seconds": options.query_seconds,
        "load_average": round(os.getloadavg()[0], 2),
    }


async def _measure(
    kind: type[PrefectWorker], stage: StartStage, options: StartOptions, say: Say
) -> Document:
    name = "warm worker" if kind is WarmWorker else "process worker"
    worker = kind(
        stage.server,
        POOL,
        environment=stage.environment,
        query_seconds=options.query_seconds,
    )
    try:
        await asyncio.to_thread(worker.start)
        say(f"{name}: {options.runs} runs at once …")
        await _ad_hoc(stage, "warm-up")  # the first run of a worker opens its connections
        waits = [await _ad_hoc(stage, f"{name}-{n}") for n in range(options.runs)]
        say(f"{name}: {options.scheduled} runs at their time …")
        late = await _scheduled(stage, options.scheduled)
    finally:
        await asyncio.shield(asyncio.to_thread(worker.stop))
    return {
        "ad_hoc": percentiles(waits),
        "scheduled": {**percentiles(late), "min": round(min(late), 3)},
    }


def start_table(document: Document) -> Sequence[Mapping[str, object]]:
    """Rows for people: each worker, with both figures."""
    return [
        {
            "worker": name,
            **{f"at once, {key}": value for key, value in figures["ad_hoc"].items()},
            **{f"at a time, {key}": value for key, value in figures["scheduled"].items()},
        }
        for name, figures in {"ignition": document, **document["peers"]}.items()
    ]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile, by the nearest rank."""
    ranked = sorted(values)
    return {
        f"p{share}": round(ranked[math.ceil(share / 100 * len(ranked)) - 1], 3)
        for share in (50, 95)
    }


async def _ad_hoc(stage: StartStage, name: str) -> float:
    """Seconds from creating one run to its first line."""
    path = stage.folder / f"{name}.txt"
    # Where in the polling interval a run comes is chance, and would not be for runs in a row.
    await asyncio.sleep(random.random())  # noqa: S311 - nothing secret
    began = datetime.now(UTC)
    run = await stage.client.create_flow_run_from_deployment(
        stage.first_line, parameters={"path": str(path)}
    )
    with suppress(TimeoutError):  # what became of it is said below
        async with asyncio.timeout(END_SECONDS):
            await _appeared(path)
    await _ended(stage, run.id)
    return float(path.read_text()) - began.timestamp()


async def _appeared(path: Path) -> None:
    while True:
        if path.exists():
            return
        await asyncio.sleep(FILE_SECONDS)


async def _scheduled(stage: StartStage, count: int) -> list[float]:
    """How late the first message of each run is, in seconds."""
    database = Database(stage.database_url)
    late: list[float] = []
    try:
        while len(late) < count:
            late += await _round(stage, database, min(count - len(late), len(stage.campaigns)))
    finally:
        await database.close()
    return late


async def _round(stage: StartStage, database: Database, count: int) -> list[float]:
    """One run of each campaign, created before the first of them is due."""
    first = datetime.now(UTC) + timedelta(seconds=AHEAD_SECONDS)
    due = [first + timedelta(seconds=APART_SECONDS * number) for number in range(count)]
    runs = [
        await stage.client.create_flow_run_from_deployment(
            deployment, state=Scheduled(scheduled_time=at)
        )
        for deployment, at in zip(stage.campaigns, due, strict=False)
    ]
    late = []
    for run, at in zip(runs, due, strict=True):
        await _ended(stage, run.id)
        late.append((await _first_message(database, run.id) - at).total_seconds())
    return late


async def _first_message(database: Database, flow_run_id: UUID) -> datetime:
    async with database.read() as session:
        query = (
            select(func.min(Message.intended_at))
            .join(CampaignRun, col(CampaignRun.id) == col(Message.run_id))
            .where(col(CampaignRun.flow_run_id) == flow_run_id)
        )
        found = (await session.exec(query)).one()
    if found is None:
        raise IgnitionError(f"the run {flow_run_id} has sent nothing.")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


async def _ended(stage: StartStage, flow_run_id: UUID) -> FlowRun:
    """Wait for the run's end.

    Raises:
        IgnitionError: it did not complete, or not in time after it was due.
    """
    flow_run = await stage.client.read_flow_run(flow_run_id)
    due = flow_run.expected_start_time or datetime.now(UTC)
    while flow_run.state is None or not flow_run.state.is_final():
        if datetime.now(UTC) - due > timedelta(seconds=END_SECONDS):
            break
        await asyncio.sleep(LOOK_SECONDS)
        flow_run = await stage.client.read_flow_run(flow_run_id)
    if flow_run.state is None or not flow_run.state.is_completed():
        raise IgnitionError(
            f"the run {flow_run.name} is {flow_run.state and flow_run.state.name}.",
            mend="Its worker's log says why.",
        )
    return flow_run
