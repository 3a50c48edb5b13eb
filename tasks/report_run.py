"""Writes the report of a run as an artifact."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.artifacts import acreate_markdown_artifact

from ignition_ext.costs.actual import compute_cost, read_cost
from ignition_ext.costs.sums import Cost, found_by_words
from ignition_ext.database import Database
from ignition_ext.delivery.pace import read_pace
from ignition_ext.delivery.report import RunReport, example, moment, report_markdown
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.fallback_counts import count_fallen
from ignition_ext.ledger.legs import other_leg
from ignition_ext.ledger.runs import find_run
from ignition_ext.models import CostKind, Template, TemplateVersion
from ignition_ext.values import MessageState, RunRef, RunState
from tasks.live_progress import artifact_key

EXAMPLES = 10
"""Refused messages that the report shows: enough to see a pattern, no list of people."""
TROUBLED = (
    MessageState.FAILED,
    MessageState.BOUNCED,
    MessageState.UNCERTAIN,
    MessageState.DEFERRED,
)


async def report_run(database: Database, reference: str, run: RunRef) -> str:
    """Make the report's artifact; returns the Markdown."""
    markdown = report_markdown(await read_report(database, reference, run))
    await acreate_markdown_artifact(
        markdown=markdown,
        key=artifact_key("report", reference),
        description=f"What became of the messages of {reference}.",
    )
    return markdown


async def read_report(database: Database, reference: str, run: RunRef) -> RunReport:
    """Gather what the report says from the ledger."""
    ledger = open_ledger(database)
    async with database.read() as session:
        row = await find_run(session, str(run.id))
        pace = await read_pace(session, run)
        version = await session.get(TemplateVersion, row.template_version_id)
        template = await session.get(Template, version.template_id) if version else None
    examples: list[dict[str, str]] = []
    async for rows in ledger.messages(run.id, states=TROUBLED, batch=EXAMPLES):
        examples = [example(message) for message in rows]
        break
    actual = await compute_cost(database, run)
    async with database.read() as session:
        estimate = await read_cost(session, run.id, CostKind.ESTIMATE)
        fallen = await count_fallen(session, row.lead_run_id or run.id)
        other = await other_leg(session, row)
    ended = row.ended_at or datetime.now(UTC)
    return RunReport(
        campaign=reference,
        run_id=run.id,
        counts=await ledger.counts(run),
        failures_by_class=await ledger.failures(run),
        examples=examples,
        template=f"{template.name}@{version.version}" if template and version else "–",
        began=moment(row.started_at),
        ended=moment(ended),
        seconds=(ended - row.started_at).total_seconds() if row.started_at else 0.0,
        skipped=row.skipped,
        rejected=row.rejected,
        duplicates=row.duplicates,
        reason=row.state_reason if row.state != RunState.COMPLETED else "",
        pace=pace,
        cost=None if actual is None else actual.document,
        estimated="" if estimate is None else _estimated(estimate),
        fallback="" if fallen is None else str(fallen),
        other_leg="" if other is None else f"{other.channel}: {other.flow_run_name}, {other.state}",
    )


def _estimated(cost: Cost) -> str:
    """``1.35 EUR (at least: with one segment a text)``."""
    found_by = found_by_words(cost.basis)
    return f"{cost.money} ({found_by})" if found_by else str(cost.money)
