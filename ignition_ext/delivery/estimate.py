"""How long a run will take: by the rates it has to keep, those it had before, and the hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.delivery.limits import RateLimits
from ignition_ext.delivery.local_time import LocalTime, Zones
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.models import CampaignRun, CampaignVersion
from ignition_ext.values import MessageState, RunState

PAST_RUNS = 50
"""Runs of the tenant that are looked at, the latest first."""
WORTH_FROM = 100
"""Messages of a run from which on its rate says something of the next."""
_ACCEPTED = (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED)
_SHORTEST = timedelta(minutes=1)
"""Of a step: where zones have no common hour, the next quiet hours may begin at once."""
_LONGEST = timedelta(days=366)
"""Nobody plans further; a rate of one message a day would go on for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """When a run that begins now would be done.

    Attributes:
        rate: messages a second; None where neither a rate nor a past run says anything.
        by: what the rate is taken from.
        begin: the first message's time.
        end: the last one's; None without a rate.
        late: messages that would not go before the deadline, and expire.
    """

    rate: float | None
    by: str
    begin: datetime
    end: datetime | None
    late: int = 0


async def past_rate(session: AsyncSession, plan: CampaignPlan) -> tuple[float, str] | None:
    """The median rate of the campaign's own past runs, else of the tenant's on its channel."""
    query = (
        select(CampaignRun, CampaignVersion.definition)
        .join(
            CampaignVersion,
            (col(CampaignVersion.campaign_id) == col(CampaignRun.campaign_id))
            & (col(CampaignVersion.version) == col(CampaignRun.campaign_version)),
        )
        .where(
            CampaignRun.tenant_id == plan.stored.campaign.tenant_id,
            CampaignRun.state == RunState.COMPLETED.value,
            col(CampaignRun.channel).in_(["", plan.channel.value]),
        )
        .order_by(col(CampaignRun.run_at).desc())
        .limit(PAST_RUNS)
    )
    own: list[float] = []
    others: list[float] = []
    for run, definition in await session.exec(query):
        rate = _rate(run)
        if rate is None:
            continue
        if run.campaign_id == plan.stored.campaign.id:
            own.append(rate)
        elif (run.channel or definition.get("channel")) == plan.channel.value:
            others.append(rate)
    if own:
        return median(own), f"the median of {len(own)} past runs"
    if others:
        return median(others), f"the median of {len(others)} runs of the tenant's {plan.channel}"
    return None


def _rate(run: CampaignRun) -> float | None:
    counts: Mapping[str, Any] = run.counts or {}
    accepted = sum(int(counts.get(state.value, 0)) for state in _ACCEPTED)
    if run.started_at is None or run.ended_at is None or accepted < WORTH_FROM:
        return None
    seconds = (run.ended_at - run.started_at).total_seconds()
    return accepted / seconds if seconds > 0 else None


def usual_rate(
    limits: RateLimits, past: tuple[float, str] | None, domains: Counter[str]
) -> tuple[float, str] | None:
    """The rate that a run is held to: the least of its limits and of what it had before.

    A domain's rate holds the whole back by as much as that domain is of it.
    """
    total = sum(domains.values())
    found = [(limit.rate, f"the rate {limit.key}") for limit in limits.common]
    for limit_of in limits.domains:
        for domain, count in domains.most_common(1):
            limit = limit_of(domain)
            found.append((limit.rate * total / count, f"the rate {limit.key}"))
    if past is not None:
        found.append(past)
    return min(found, default=None)


def estimate(
    held: Counter[tuple[Zones, datetime | None]],
    messages: int,
    rate: tuple[float, str] | None,
    *,
    now: datetime,
    rules: LocalTime | None,
    deadline: timedelta | None,
) -> Estimate:
    """Walk through the run: those whose time has come go first, and none in quiet hours.

    Args:
        held: messages by where their recipients are and until when they are held; empty without
            rules of the hour.
        messages: of the run.
        rate: messages a second, and what says so.
        now: when the run begins.
        rules: the campaign's, of the hour.
        deadline: after which the rest expires.
    """
    ends = None if deadline is None else now + deadline
    groups = sorted(
        ((until or now, zones, count) for (zones, until), count in held.items()),
        key=lambda group: group[0],
    ) or [(now, (), messages)]
    begin = groups[0][0]
    if rate is None:
        late = sum(count for due, _, count in groups if ends is not None and due >= ends)
        return Estimate(rate=None, by="", begin=begin, end=None, late=late)
    end, late = _walk(groups, rate[0], rules, ends)
    return Estimate(rate=rate[0], by=rate[1], begin=begin, end=end, late=late)


def _walk(
    groups: Iterable[tuple[datetime, Zones, int]],
    rate: float,
    rules: LocalTime | None,
    ends: datetime | None,
) -> tuple[datetime, int]:
    at: datetime | None = None
    late = 0.0
    for due, zones, count in groups:
        at = due if at is None else max(at, due)
        left = float(count)
        while left > 0:
            at = at if rules is None else rules.opens(at, zones)
            closes = None if rules is None else rules.closes(at, zones)
            room = _LONGEST if closes is None else max(closes - at, _SHORTEST)
            needed = min(left / rate, _LONGEST.total_seconds())
            is_last = needed <= room.total_seconds()
            step = timedelta(seconds=needed) if is_last else room
            sent = left if is_last else room.total_seconds() * rate
            if ends is not None and at + step > ends:
                late += sent - min(max((ends - at).total_seconds(), 0) * rate, sent)
            left -= sent
            at += step
    assert at is not None
    return at, round(late)
