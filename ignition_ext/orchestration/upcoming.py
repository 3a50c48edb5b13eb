"""What will run within Prefect's horizon, by campaign and by day.

Prefect's server makes few runs ahead (three, or an hour's), so its lists do not show more. This
counts the same schedules further, with what was paused there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice, takewhile

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from sqlalchemy import func
from sqlmodel import col, select

from ignition_ext.campaigns.schedule import main_slug
from ignition_ext.database import Database
from ignition_ext.models import Campaign
from ignition_ext.orchestration.schedules import Timetable
from ignition_ext.orchestration.timetables import read_timetable
from ignition_ext.orchestration.top_up import campaigns_on_server

HORIZON = timedelta(days=100)
"""As far as Prefect's scheduler looks at most."""
MOST_OF_ONE = 100
"""Times of one schedule; as many as Prefect's scheduler makes at most."""
MOST_OF_A_DAY = 40
"""Runs that a day's paragraph names, so that it can still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """One schedule's times in UTC.

    Attributes:
        campaign: ``tenant/name``.
        schedule: its name in Prefect, such as ``cron-1``.
        is_paused: an operator or the file has switched it or its deployment off.
        times: ascending; none where it is paused.
        has_more: within the horizon, beyond those.
    """

    campaign: str
    schedule: str
    is_paused: bool
    times: Sequence[datetime]
    has_more: bool


async def read_upcoming(
    database: Database,
    client: PrefectClient,
    *,
    now: datetime,
    horizon: timedelta = HORIZON,
    tenant: str | None = None,
) -> list[Upcoming]:
    """Each schedule of each campaign that Prefect has, by campaign.

    Args:
        database: Ignition's.
        client: of the Prefect server.
        now: from when on.
        horizon: how far.
        tenant: this one's campaigns alone.
    """
    found: list[Upcoming] = []
    async for campaign, deployment in campaigns_on_server(database, client, lambda _: True):
        if tenant is not None and campaign.tenant.name != tenant:
            continue
        async with database.read() as session:
            timetable = await read_timetable(session, campaign.definition, campaign.tenant, now=now)
        found += _of_one(campaign.reference, timetable, deployment, now, now + horizon)
    return sorted(found, key=lambda one: (one.campaign, one.schedule))


def _of_one(
    reference: str,
    timetable: Timetable,
    deployment: DeploymentResponse,
    now: datetime,
    end: datetime,
) -> Iterable[Upcoming]:
    on = {main_slug(one.slug) for one in deployment.schedules if one.active}
    for slug, _, written, where in timetable.named():
        is_paused = deployment.paused or slug not in on
        times: list[datetime] = []
        if not is_paused:
            within = takewhile(lambda at: at <= end, written.occurrences(now, where))
            times = list(islice(within, MOST_OF_ONE + 1))
        yield Upcoming(
            campaign=reference,
            schedule=slug,
            is_paused=is_paused,
            times=times[:MOST_OF_ONE],
            has_more=len(times) > MOST_OF_ONE,
        )


async def last_edit(database: Database) -> datetime | None:
    """When a campaign was last applied, edited or deleted; None where there is none."""
    async with database.read() as session:
        found: datetime | None = (
            await session.exec(select(func.max(col(Campaign.updated_at))))
        ).one()
    return found


def upcoming_markdown(found: Sequence[Upcoming], now: datetime) -> str:
    """The page: what runs on each day, and when each schedule runs next."""
    runs = sum(len(one.times) for one in found)
    campaigns = len({one.campaign for one in found})
    lines = [
        "# Upcoming runs",
        "",
        f"{runs} runs of {campaigns} campaigns within {HORIZON.days} days from"
        f" {now:%Y-%m-%d %H:%M}; all times in UTC. Of a schedule that fires more than"
        f" {MOST_OF_ONE} times the first {MOST_OF_ONE} are counted.",
        "",
        "## By day",
        "",
        *_days(found),
        "## By schedule",
        "",
        "| campaign | schedule | next | runs |",
        "|---|---|---|--:|",
        *(_row(one) for one in found),
    ]
    return "\n".join(lines)


def _days(found: Sequence[Upcoming]) -> list[str]:
    days: defaultdict[date, list[tuple[datetime, str]]] = defaultdict(list)
    for one in found:
        for at in one.times:
            days[at.date()].append((at, one.campaign))
    # Paragraphs: the UI does not break lines within a table.
    lines = []
    for day, runs in sorted(days.items()):
        runs.sort()
        shown = ", ".join(f"{at:%H:%M} {campaign}" for at, campaign in runs[:MOST_OF_A_DAY])
        rest = len(runs) - MOST_OF_A_DAY
        more = f" and {rest} more" if rest > 0 else ""
        lines += [f"**{day:%a %Y-%m-%d}** ({len(runs)}): {shown}{more}", ""]
    return lines


def _row(one: Upcoming) -> str:
    count = f"{len(one.times)}{'+' if one.has_more else ''}"
    following = "paused" if one.is_paused else "none"
    if one.times:
        following = ", ".join(f"{at:%Y-%m-%d %H:%M:%S}" for at in one.times[:3])
    return f"| {one.campaign} | {one.schedule} | {following} | {count} |"
