"""``ignition campaign run`` and ``status``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ignition_ext.campaigns import store
from ignition_ext.campaigns.definition import Priority
from ignition_ext.campaigns.parameters import CampaignParameters
from ignition_ext.campaigns.selection import Selection, select_campaigns
from ignition_ext.campaigns.step_stops import StepStatus
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.cli.bulk import moment, selected, tell_items, wrong_usage
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import err, note, out, print_json, print_table
from ignition_ext.costs.sums import cost_words
from ignition_ext.database import Database
from ignition_ext.errors import NotFoundError
from ignition_ext.orchestration import runs
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.operations import Item, in_turn
from ignition_ext.orchestration.reports import dry_run_report
from ignition_ext.orchestration.run_operations import start_run
from ignition_ext.values import OPEN_STATES, RunState

Json = Annotated[bool, Parameter(negative="")]
LOOK_SECONDS = 0.5
"""Between two looks at a run: quick for the eye, a few small queries for the databases."""
PATIENCE_SECONDS = 8.0
"""After so long without a worker's sign of life it is said what is missing."""


async def run(
    campaign: str | None = None,
    *,
    tenant: str | None = None,
    tag: str | None = None,
    at: str | None = None,
    priority: Priority | None = None,
    wait: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    limit: PositiveInt | None = None,
    json: Json = False,
) -> int:
    """Run a campaign now or at a time, beside its schedules, and print the run's id.

    The id is the flow run's: status, pause, cancel and the Prefect UI all take it.

    Args:
        campaign: TENANT/NAME, or a pattern such as 'acme/news-*' for several.
        tenant: This tenant's campaigns.
        tag: Campaigns with this tag.
        at: When, with an offset: 2026-11-21T07:00:00Z; now when not given.
        priority: The queue to wait in, instead of the campaign's own.
        wait: Follow the run to its end; exit 1 if it fails.
        dry_run: Check everything on a worker and send nothing; with --wait the report is shown.
        limit: At most so many messages.
        json: Print one JSON document: the status at the end with --wait, else at the start.
    """
    selection = selected(campaign, tenant, tag)
    wanted = _Wanted(limit=limit, dry_run=dry_run, at=moment(at), priority=priority)
    async with open_database() as database, prefect_client() as client:
        if selection.is_bulk:
            if wait:
                wrong_usage("--wait follows one run; leave it out for several campaigns.")
            return tell_items(await _run_all(database, client, selection, wanted), json=json)
        assert campaign is not None
        async with database.read() as session:
            stored = await store.load(session, campaign)
        flow_run = await _start(database, client, wanted, stored)
        if not json:
            out.print(str(flow_run.id), markup=False)
        succeeded = True
        if wait:
            flow_run = await _follow(database, client, flow_run)
            beside = await _follow_companion(database, client, flow_run)
            succeeded = runs.succeeded(flow_run) and beside
        report = await dry_run_report(client, flow_run.id) if wait and dry_run else ""
        status = await _status(database, client, campaign, flow_run)
    if json:
        print_json(status)
    elif wait:
        _tell(status)
        if report:
            out.print(report, markup=False)
    return 0 if succeeded else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    limit: int | None
    dry_run: bool
    at: datetime | None
    priority: Priority | None


async def _start(
    database: Database, client: PrefectClient, wanted: _Wanted, stored: StoredCampaign
) -> FlowRun:
    return await start_run(
        database,
        client,
        stored,
        CampaignParameters(campaign=stored.reference, limit=wanted.limit, dry_run=wanted.dry_run),
        actor=actor(),
        at=wanted.at,
        priority=wanted.priority,
    )


async def _run_all(
    database: Database, client: PrefectClient, selection: Selection, wanted: _Wanted
) -> list[Item]:
    async with database.read() as session:
        found = await select_campaigns(session, selection)

    async def one(stored: StoredCampaign) -> str:
        return f"run {(await _start(database, client, wanted, stored)).id}"

    return await in_turn(found, lambda stored: stored.reference, one)


async def _follow(database: Database, client: PrefectClient, flow_run: FlowRun) -> FlowRun:
    """Draw the ledger's counts until Prefect says that the run has ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task(flow_run.name, total=None, words="waiting for a worker")
        async for now in _looks(client, flow_run.id):
            flow_run = now
            status = await _begun(database, now.id)
            if status is None:
                continue
            total = status.counts["total"]
            left = sum(status.counts[state] for state in OPEN_STATES)
            progress.update(
                task,
                description=now.name,
                total=total or None,
                completed=total - left,
                words=_words(status),
            )
    return flow_run


async def _follow_companion(database: Database, client: PrefectClient, lead: FlowRun) -> bool:
    """Follow the run's second channel, if it has one; returns whether it succeeded."""
    status = await _begun(database, lead.id)
    leg = status.other_leg if status is not None else None
    if leg is None:
        return True
    if leg.flow_run_id is None:
        if leg.state == RunState.OPEN:
            note(f"{leg.flow_run_name} waits for its deployment. Run: prefect deploy --all")
        return leg.state == RunState.COMPLETED
    beside = await client.read_flow_run(leg.flow_run_id)
    return runs.succeeded(await _follow(database, client, beside))


async def _looks(client: PrefectClient, flow_run_id: UUID) -> AsyncIterator[FlowRun]:
    began = time.monotonic()
    told = ""
    while True:
        flow_run = await client.read_flow_run(flow_run_id)
        yield flow_run
        if flow_run.state is not None and flow_run.state.is_final():
            return
        if time.monotonic() - began > PATIENCE_SECONDS:
            reason = await _held_up(client, flow_run)
            # The time of the next look changes; that it waits, and for what, is told once.
            if reason and reason.partition(",")[0] != told.partition(",")[0]:
                note(reason)
            told = reason
        await asyncio.sleep(LOOK_SECONDS)


async def _held_up(client: PrefectClient, flow_run: FlowRun) -> str:
    """What a run waits for that does not start; empty when it has started, or is about to."""
    state = flow_run.state
    if state is not None and state.is_paused():
        return f"The run is {(state.name or 'paused').lower()}: {state.message or 'by an operator'}"
    if state is not None and not (state.is_scheduled() or state.is_pending()):
        return ""
    if state is not None and state.name in ("AwaitingRetry", "AwaitingConcurrencySlot"):
        due = state.state_details.scheduled_time
        at = f", next look at {due:%H:%M:%S} UTC" if due else ""
        what = "for a free concurrency slot" if "Slot" in state.name else f"({state.message})"
        return f"The run waits {what}{at}."
    pool = flow_run.work_pool_name or "default"
    if (await client.read_work_pool(pool)).is_paused:
        return f"The pool {pool!r} is paused: prefect work-pool resume {pool}"
    if not await runs.workers_online(client, pool):
        return f"No worker polls the pool {pool!r}: prefect worker start --pool {pool}"
    return "A worker is there and has not begun the run: its slots, or the pool's, may be taken."


async def _begun(database: Database, flow_run_id: UUID) -> runs.RunStatus | None:
    try:
        return await runs.run_status(database, str(flow_run_id))
    except NotFoundError:
        return None


async def _status(
    database: Database, client: PrefectClient, campaign: str, flow_run: FlowRun
) -> runs.RunStatus:
    status = await _begun(database, flow_run.id)
    if status is None:
        return runs.scheduled_status(campaign, flow_run)
    # The ledger's copy is written by a hook, which runs after Prefect has said that it is over.
    return replace(status, prefect_state=flow_run.state_name or status.prefect_state)


async def status(run: str, *, json: Json = False) -> None:
    """Show how a run stands: its state, and how many messages are in each state.

    Args:
        run: A run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        json: Print one JSON document.
    """
    async with open_database() as database:
        try:
            found = await runs.run_status(database, run, computes_cost=True)
        except NotFoundError:
            found = await _scheduled(run)
    if json:
        print_json(found)
    else:
        _tell(found)


async def _scheduled(reference: str) -> runs.RunStatus:
    """The status of a run that Prefect has and no worker has begun."""
    try:
        UUID(reference)
    except ValueError:
        raise NotFoundError(
            f"{reference} has not run yet.", mend=f"Run: ignition campaign run {reference}"
        ) from None
    async with prefect_client() as client:
        flow_run = await runs.find_flow_run(client, reference)
    if flow_run is None:
        raise NotFoundError(
            f"there is no run {reference}.",
            mend="Name a run's id, a flow run's id, or TENANT/NAME.",
        )
    given = flow_run.parameters.get("parameters") or {}
    return runs.scheduled_status(str(given.get("campaign", "")), flow_run)


def _tell(status: runs.RunStatus) -> None:
    reason = f" ({status.state_reason})" if status.state_reason else ""
    out.print(f"{status.campaign}: {status.state}{reason}", markup=False)
    if status.started_at is not None:
        ended = f", ended {status.ended_at:%H:%M:%S}" if status.ended_at else ""
        rate = f", {status.rate:g} a second" if status.rate else ""
        out.print(f"started {status.started_at:%Y-%m-%d %H:%M:%S}{ended} UTC{rate}", markup=False)
    if status.steps is not None and status.steps.of:
        out.print(_step(status.steps), markup=False)
    if status.fallback is not None:
        out.print(str(status.fallback), markup=False)
    for what, cost in (status.cost or {}).items():
        if cost is not None:
            out.print(f"{what}: {cost_words(cost)}", markup=False, soft_wrap=True)
    if (leg := status.other_leg) is not None:
        counted = _words_of(leg.counts) or "nothing yet"
        told = f"{leg.channel}: {leg.flow_run_name}, {leg.state}: {counted} (run {leg.run_id})"
        out.print(told, markup=False, soft_wrap=True)
    rows = [
        {"state": name, "messages": count}
        for name, count in status.counts.items()
        if count or name == "total"
    ]
    print_table(rows, "state", "messages")


def _step(steps: StepStatus) -> str:
    total = steps.targets[-1] if steps.targets else "all"
    told = f"step {steps.step} of {steps.of}: {steps.released} messages of {total} let go"
    return f"{told}, the next at {steps.next_at:%H:%M:%S} UTC" if steps.next_at else told


def _words(status: runs.RunStatus) -> str:
    return _words_of(status.counts) or status.state


def _words_of(counts: Mapping[str, int]) -> str:
    told = ("sent", "delivered", "failed", "deferred", "uncertain")
    return ", ".join(f"{counts[name]} {name}" for name in told if counts[name])
