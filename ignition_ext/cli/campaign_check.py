"""``ignition campaign check``: a pre-flight from here, without a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import err, out, print_json, print_table
from ignition_ext.costs.sums import cost_words
from ignition_ext.database import Database
from ignition_ext.delivery.examine import Examined
from ignition_ext.delivery.examine import Progress as OnProgress
from ignition_ext.delivery.plan import CampaignPlan, plan_campaign
from ignition_ext.delivery.preflight import Preflight, check_campaign
from ignition_ext.delivery.preflight_legs import legs_document, would_run
from ignition_ext.delivery.preflight_report import COUNTS, preflight_document, takes
from ignition_ext.delivery.report import moment
from ignition_ext.errors import ConfigurationError
from ignition_ext.models.types import utc_now
from ignition_ext.orchestration.blocks import channel_class, load_block
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.database_block import resolve_database
from ignition_ext.settings import Settings

Json = Annotated[bool, Parameter(negative="")]


async def check(
    campaign: str,
    *,
    samples: NonNegativeInt = 3,
    limit: PositiveInt | None = None,
    json: Json = False,
) -> int:
    """Say what a run of a campaign would do, and whether it would be let go; sends nothing.

    Every recipient's message is made, every address checked, and the server asked without
    sending. Exit 1 when pre-flight would refuse the run.

    Args:
        campaign: TENANT/NAME.
        samples: So many messages are shown as they would go out.
        limit: Only the first recipients, as with run --limit.
        json: Print one JSON document.
    """
    async with open_database() as database, prefect_client():
        with _counter() as on_progress:
            legs = await _check(database, campaign, samples, limit, on_progress)
    if json:
        print_json(legs_document(legs))
    else:
        for leg in legs:
            _tell(leg, preflight_document(leg))
    return 0 if would_run(legs) else 1


async def _check(
    database: Database,
    campaign: str,
    samples: int,
    limit: int | None,
    on_progress: OnProgress,
) -> list[Preflight]:
    """The pre-flight of each of the campaign's channels, the one that leads first."""
    environment = Settings().environment
    async with database.read() as session:
        lead = await plan_campaign(session, campaign, environment=environment, limit=limit)
        if not lead.allowed_here:
            raise ConfigurationError(
                lead.why_not_here, mend="Check it there, or set IGNITION_ENVIRONMENT."
            )
        others = [
            await plan_campaign(
                session, campaign, environment=environment, limit=limit, channel=channel
            )
            for channel in lead.legs[1:]
        ]
    return [await _check_leg(database, plan, samples, on_progress) for plan in (lead, *others)]


async def _check_leg(
    database: Database, plan: CampaignPlan, samples: int, on_progress: OnProgress
) -> Preflight:
    block: Any = await load_block(
        channel_class(plan.channel), plan.stored.definition.block, plan.channel
    )
    return await check_campaign(
        database,
        plan,
        block,
        envelope_from=getattr(block, "envelope_from", None),
        run={"id": "check", "date": utc_now()},
        resolve_block=resolve_database,
        samples=samples,
        on_progress=on_progress,
    )


@contextmanager
def _counter() -> Iterator[OnProgress]:
    """A line on stderr that counts; none where nobody looks."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("asking the server")

        def show(found: Examined) -> None:
            bar.update(task, description=f"{found.recipients:,} recipients")

        yield show


def _tell(checked: Preflight, document: Mapping[str, Any]) -> None:
    verdict = checked.headline if checked.would_run else f"refused; {checked.headline}"
    out.print(f"{checked.reference}, version {checked.version}: {verdict}", markup=False)
    for one in checked.findings:
        mend = f" {one.mend}" if one.mend else ""
        out.print(f"{one.severity}: {one.text}.{mend}", markup=False, soft_wrap=True)
    rows = [
        {"what": COUNTS[name], "count": f"{count:,}"}
        for name, count in document["counts"].items()
        if count or name in ("recipients", "messages")
    ]
    print_table(rows, "what", "count")
    for name, value in document["content"].items():
        out.print(f"{name}: {_shown(value)}", markup=False)
    out.print(f"server {checked.answer.server}: {checked.answer.words}", markup=False)
    if (cost := document["cost"]) is not None:
        out.print(cost_words(cost), markup=False, soft_wrap=True)
    out.print(f"takes {takes(checked.estimate)}", markup=False)
    out.print(f"the first message {moment(checked.estimate.begin)}", markup=False)
    if checked.estimate.end is not None:
        out.print(f"the last one {moment(checked.estimate.end)}", markup=False)
    for problem in document["problems"]:
        text = f"row {problem['row']}, {problem['address']}: {problem['reason']}"
        out.print(text, markup=False, soft_wrap=True)
    for sample in document["samples"]:
        out.rule(f"row {sample['row']} to {sample['to']}", characters="-")
        if "subject" in sample:
            out.print(f"Subject: {sample['subject']}", markup=False)
        out.print(sample["text"] or "(HTML only)", markup=False)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count:,} of {name}" for name, count in value.items())
    return f"{value:,}"
