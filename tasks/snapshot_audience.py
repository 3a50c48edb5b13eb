"""Puts a run's audience into the ledger, once."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.audience import Source, open_source
from ignition_ext.campaigns.legs import CampaignChannel
from ignition_ext.campaigns.step_rows import begin_steps
from ignition_ext.costs.actual import store_cost
from ignition_ext.costs.sums import Cost
from ignition_ext.database import Database
from ignition_ext.delivery.local_time import database_clock, local_time_of
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.recipients import Hours, Intake, messages_of
from ignition_ext.errors import AudienceError
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.legs import companions_of
from ignition_ext.ledger.run_rows import run_ref
from ignition_ext.ledger.runs import OpenedRun, find_run
from ignition_ext.models import CostKind
from ignition_ext.orchestration.database_block import resolve_database
from ignition_ext.settings import prefect_home
from ignition_ext.values import Channel, RunRef, RunState
from tasks.database import open_database
from tasks.expect_cost import tell_cost
from tasks.snapshot_legs import LegWriter


@task(cache_policy=NO_CACHE, persist_result=False)
async def snapshot_audience(
    plan: CampaignPlan, run: OpenedRun, expected: Mapping[Channel, Cost]
) -> int:
    """Write one message for each recipient; a run that has its audience keeps it.

    Args:
        plan: the campaign.
        run: which run of it.
        expected: what pre-flight found that the messages of each channel would cost.

    Returns the number of messages in the run.

    Raises:
        AudienceError: there is nobody to write to.
    """
    async with open_database() as database:
        ledger = open_ledger(database)
        if not run.snapshot_done and run.state is RunState.OPEN:
            await _take(database, plan, run)
            await tell_cost(database, run.ref)
            for channel, companion in await _companions(database, run):
                if channel in expected and _has_both(plan):
                    await store_cost(database, companion, CostKind.ESTIMATE, expected[channel])
                await tell_cost(database, companion)
        total = sum((await ledger.counts(run.ref)).values())
    get_run_logger().info("%d messages are in the run", total)
    return total


async def _companions(database: Database, run: OpenedRun) -> list[tuple[Channel, RunRef]]:
    async with database.read() as session:
        found = await companions_of(session, run.ref.id)
    return [(Channel(one.channel), run_ref(one)) for one in found]


def _has_both(plan: CampaignPlan) -> bool:
    """Whether the second channel's messages are known when the run begins."""
    return plan.whole is not None and plan.whole.channel is CampaignChannel.BOTH


async def _take(database: Database, plan: CampaignPlan, run: OpenedRun) -> None:
    ledger, intake = open_ledger(database), Intake()
    rejects = prefect_home() / "ignition-rejects" / f"{run.ref.id}.csv"
    rejects.parent.mkdir(parents=True, exist_ok=True)
    hours = await _hours(database, plan, run)
    async with open_source(
        database,
        tenant=plan.stored.tenant,
        spec=plan.stored.definition.audience,
        base_path=plan.stored.base_path,
        resolve_block=resolve_database,
        rejects=rejects,
    ) as source:
        if plan.whole is not None and len(plan.legs) > 1:
            await _take_legs(LegWriter(database, plan, plan.whole, run), source, hours, intake)
        else:
            batches = messages_of(
                source.batches(), plan.channel, intake, limit=plan.limit, hours=hours
            )
            delivery = plan.stored.definition.delivery
            is_held = run.in_steps and await begin_steps(database, run.ref, delivery)
            await ledger.snapshot(run.ref, batches, is_held=is_held)
        stats = source.stats
    if not intake.taken:
        raise AudienceError(
            f"the audience of {plan.reference} has nobody to write to by {' or '.join(plan.legs)}:"
            f" {stats.yielded} recipients, {intake.skipped} of them without an address for it,"
            f" {stats.rejected} rejected rows.",
            mend="Look at the audience (ignition audience list) and at `where`.",
        )
    await ledger.finish_snapshot(
        run.ref, skipped=intake.skipped, rejected=stats.rejected, duplicates=stats.duplicates
    )
    if stats.rejects_path is not None and stats.rejected:
        get_run_logger().warning("%d rows were rejected: %s", stats.rejected, stats.rejects_path)


async def _take_legs(
    writer: LegWriter, source: Source, hours: Hours | None, intake: Intake
) -> None:
    found = await writer.take(source, hours)
    intake.taken, intake.skipped = found.taken, found.skipped[writer.plan.channel]
    if intake.taken:
        await writer.finish(found)


async def _hours(database: Database, plan: CampaignPlan, run: OpenedRun) -> Hours | None:
    """The campaign's rules of the hour for this run, None where it has none."""
    if not plan.has_hours:
        return None
    async with database.read() as session:
        row = await find_run(session, str(run.ref.id))
    begin = row.scheduled_at or row.run_at
    rules = local_time_of(plan, begin)
    return Hours(rules=rules, begin=begin, now=await database_clock(database))
