"""What the health server and ``ignition doctor`` both say: database, Prefect, runs, reconcile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import __version__ as installed_version
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from sqlmodel import col, select

from ignition_ext.database import Database, database_now
from ignition_ext.errors import IgnitionError
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.models import CampaignRun, MessageDue, SenderLease
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.client import api_url
from ignition_ext.schema import database_errors, head_revision, require_current
from ignition_ext.settings import Settings
from ignition_ext.values import UNDER_WAY

RECONCILE_DEPLOYMENT = "reconcile/reconcile"
SENDER_DEPLOYMENTS = ("sender/email", "sender/sms")
LEG_DEPLOYMENTS = ("campaign/sms",)
RECONCILE_LATE = timedelta(minutes=10)
"""It runs each minute; a worker that is busy or starts slowly may pass some over."""
RUNS_SHOWN = 100
_DEPLOY = "Run in a clone: prefect deploy --all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """An unfinished run.

    Attributes:
        waiting: whether messages wait for a sender, due or not.
        leases: how many leases senders hold, each of some hundred messages.
        lapsed: how many of these lapsed: their senders are dead, or have lost the database.
    """

    run_id: UUID
    name: str
    state: str
    prefect_state: str
    waiting: bool
    leases: int
    lapsed: int


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url)
    try:
        with database_errors(database):
            await require_current(database)
            yield database
    finally:
        await database.close()


async def check_database(settings: Settings) -> Check:
    """The database: reachable and at this release's revision."""
    try:
        async with _opened(settings) as database:
            return passed("database", f"{database.url!r} at revision {head_revision()}")
    except IgnitionError as error:
        return failed("database", error.message, error.mend)


async def check_server(client: PrefectClient) -> Check:
    """The Prefect server: answers, and is of a version that fits."""
    running = str(await client.api_version())
    if running.split(".")[:2] != installed_version.split(".")[:2]:
        return failed(
            "prefect",
            f"{api_url()} runs {running}, this environment has {installed_version}.",
            f"Run the server with prefect=={installed_version}, or install {running} here.",
        )
    return passed("prefect", f"{api_url()} runs {running}")


async def read_runs(settings: Settings) -> list[RunFacts]:
    """The unfinished runs, newest first.

    Raises:
        IgnitionError: the database cannot be used.
    """
    async with _opened(settings) as database, database.read() as session:
        now = await database_now(session)
        query = (
            select(CampaignRun)
            .where(col(CampaignRun.state).in_(UNDER_WAY))
            .order_by(col(CampaignRun.created_at).desc())
            .limit(RUNS_SHOWN)
        )
        rows = list(await session.exec(query))
        found = []
        for row in rows:
            leases = select(SenderLease.until).where(col(SenderLease.run_id) == row.id)
            until = list(await session.exec(leases))
            due = select(MessageDue.id).where(col(MessageDue.run_id) == row.id).limit(1)
            found.append(
                RunFacts(
                    run_id=row.id,
                    name=row.flow_run_name,
                    state=row.state,
                    prefect_state=row.prefect_state,
                    waiting=(await session.exec(due)).first() is not None,
                    leases=len(until),
                    lapsed=sum(end <= now for end in until),
                )
            )
        return found


async def check_runs(settings: Settings) -> Check:
    """The unfinished runs, and whether some of them have nobody."""
    try:
        runs = await read_runs(settings)
    except IgnitionError:
        return hint("runs", "cannot be read.", "Mend the database first.")
    lost = [run for run in runs if run.lapsed or run.prefect_state == "Crashed"]
    if lost:
        names = ", ".join(run.name or str(run.run_id) for run in lost[:3])
        return hint(
            "runs",
            f"{len(lost)} of {len(runs)} unfinished runs have lost a process: {names}",
            "The flow reconcile starts them again; look whether it runs, and at its artifact.",
        )
    return passed("runs", f"{len(runs)} unfinished")


async def last_reconciled(client: PrefectClient) -> datetime | None:
    """When the flow ``reconcile`` ended last, in whatever state."""
    ended = [StateType.COMPLETED, StateType.FAILED]
    found = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["reconcile"])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ended))
        ),
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    return found[0].end_time if found else None


async def check_reconcile(client: PrefectClient) -> Check:
    """Whether somebody mends what breaks."""
    try:
        await client.read_deployment_by_name(RECONCILE_DEPLOYMENT)
    except ObjectNotFound:
        return hint("reconcile", "is not deployed: nobody mends what breaks.", _DEPLOY)
    at = await last_reconciled(client)
    if at is None or utc_now() - at > RECONCILE_LATE:
        told = "never" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC the last time"
        return hint(
            "reconcile",
            f"has not run for a while: {told}.",
            "Start a worker for the pool default, and look whether its schedule is on.",
        )
    return passed("reconcile", f"ran at {at:%Y-%m-%d %H:%M:%S} UTC")


async def check_senders(client: PrefectClient) -> Check:
    """Whether runs with several senders can start them."""
    return await _deployed(client, "senders", SENDER_DEPLOYMENTS, "runs go on with one sender each")


async def check_legs(client: PrefectClient) -> Check:
    """Whether campaigns with two channels can start the second one."""
    without = "text messages of campaigns with two channels wait"
    return await _deployed(client, "second channels", LEG_DEPLOYMENTS, without)


async def _deployed(client: PrefectClient, what: str, names: Sequence[str], without: str) -> Check:
    missing = []
    for name in names:
        try:
            await client.read_deployment_by_name(name)
        except ObjectNotFound:
            missing.append(name)
    if missing:
        return hint(what, f"{', '.join(missing)} not deployed: {without}.", _DEPLOY)
    return passed(what, ", ".join(names))


def document(run: RunFacts) -> dict[str, Any]:
    """A run as JSON has it."""
    return {**asdict(run), "run_id": str(run.run_id)}
