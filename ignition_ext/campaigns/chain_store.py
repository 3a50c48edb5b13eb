"""What of chains is in the database: who comes after whom, what was decided and not yet told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import exists, update
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.chain import Graph, ParentSpec, RunEnd
from ignition_ext.campaigns.store import split_reference
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.legs import abandoned
from ignition_ext.models import (
    Campaign,
    CampaignRun,
    CampaignVersion,
    ChainRelease,
    ReleaseState,
    Tenant,
)
from ignition_ext.values import CRASHED, UNDER_WAY

GIVEN_UP_AFTER = timedelta(minutes=5)
"""A crashed run is started again within two minutes or so, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """The end of one run of a campaign.

    Attributes:
        campaign: ``tenant/name``.
        reason: what Prefect says beside its state.
        release_id: the turn that the run was, where it came after others.
        is_joint: it is the worse end of two channels.
        scheduled_at: the time that it was for, where Prefect knows.
    """

    campaign: str
    flow_run_id: UUID
    end: RunEnd
    reason: str = ""
    release_id: UUID | None = None
    is_joint: bool = False
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A turn that was decided and has to be told to Prefect."""

    release_id: UUID
    attempt: int
    campaign: str
    root: UUID
    skipped: bool
    reason: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A campaign in force and what it comes after."""

    name: str
    id: int
    tenant_id: int
    parents: Sequence[ParentSpec]


async def read_graph(session: AsyncSession, tenant: str | None = None) -> Graph:
    """What each campaign in force comes after; of all tenants, or of one."""
    return {linked.name: linked.parents for linked in await read_links(session, tenant)}


async def dependents(session: AsyncSession, reference: str) -> list[str]:
    """The campaigns in force that come right after this one."""
    graph = await read_graph(session, split_reference(reference)[0])
    return sorted(
        child
        for child, parents in graph.items()
        if any(parent.campaign == reference for parent in parents)
    )


async def read_links(session: AsyncSession, tenant: str | None = None) -> list[Linked]:
    """The same with keys. Only what stands under ``after``: there may be a thousand campaigns."""
    after = col(CampaignVersion.definition)["after"]
    query = (
        select(Tenant.name, Campaign, after)
        .join(Campaign, col(Campaign.tenant_id) == col(Tenant.id))
        .join(
            CampaignVersion,
            (col(CampaignVersion.campaign_id) == col(Campaign.id))
            & (col(CampaignVersion.version) == col(Campaign.version)),
        )
        .where(col(Campaign.deleted_at).is_(None))
    )
    if tenant is not None:
        query = query.where(Tenant.name == tenant)
    found = []
    for owner, campaign, parents in await session.exec(query):
        assert campaign.id is not None
        found.append(
            Linked(
                name=f"{owner}/{campaign.name}",
                id=campaign.id,
                tenant_id=campaign.tenant_id,
                parents=[ParentSpec.model_validate(parent) for parent in parents or ()],
            )
        )
    return found


def decided_turn(release: ChainRelease, campaign: str) -> Decided:
    """What of a turn Prefect is told."""
    assert release.due_at is not None
    return Decided(
        release_id=release.id,
        attempt=release.attempt,
        campaign=campaign,
        root=release.root,
        skipped=release.state == ReleaseState.SKIPPED,
        reason=release.reason,
        due_at=release.due_at,
    )


async def refuse(database: Database, decided: Decided, reason: str) -> Decided:
    """Skip a turn after all, for what Prefect knows and the database does not."""
    async with database.write() as session:
        release = await session.get_one(ChainRelease, decided.release_id)
        if release.attempt == decided.attempt:
            release.state, release.reason = ReleaseState.SKIPPED.value, reason
            session.add(release)
    return replace(decided, skipped=True, reason=reason)


async def told(database: Database, decided: Decided, flow_run_id: UUID) -> None:
    """Note which flow run Prefect made for a turn."""
    async with database.write() as session:
        await (await session.connection()).execute(
            update(ChainRelease)
            .where(
                col(ChainRelease.id) == decided.release_id,
                col(ChainRelease.attempt) == decided.attempt,
            )
            .values(flow_run_id=flow_run_id)
        )


async def untold(session: AsyncSession, *, within: timedelta, limit: int) -> Sequence[Decided]:
    """Turns that were decided and that Prefect has not been told, oldest first."""
    query = (
        select(ChainRelease, Tenant.name, Campaign.name)
        .join(Campaign, col(Campaign.id) == col(ChainRelease.campaign_id))
        .join(Tenant, col(Tenant.id) == col(ChainRelease.tenant_id))
        .where(
            col(ChainRelease.flow_run_id).is_(None),
            col(ChainRelease.decided_at) > await database_now(session) - within,
            col(ChainRelease.state) != ReleaseState.WAITING.value,
            col(Campaign.deleted_at).is_(None),
        )
        .order_by(col(ChainRelease.decided_at))
        .limit(limit)
    )
    return [decided_turn(release, f"{t}/{c}") for release, t, c in await session.exec(query)]


async def unseen_ends(
    session: AsyncSession, *, within: timedelta, limit: int
) -> Sequence[EndedRun]:
    """Ended runs that nothing was let go for, oldest first: their process died right then.

    Trials (of a limited number of messages) let nothing go; neither does a crash so long as the run
    may be started again.
    """
    now = await database_now(session)
    crashed = (
        col(CampaignRun.state).in_(UNDER_WAY)
        & (col(CampaignRun.prefect_state) == CRASHED)
        & (col(CampaignRun.let_go_as) != RunEnd.FAILED.value)
        & (col(CampaignRun.ended_at) < now - GIVEN_UP_AFTER)
    )
    ended = col(CampaignRun.state).in_([end.value for end in RunEnd])
    leg = aliased(CampaignRun)
    leg_goes_on = exists().where(
        col(leg.lead_run_id) == col(CampaignRun.id),
        col(leg.state).in_(UNDER_WAY),
        (col(leg.prefect_state) != CRASHED)
        | col(leg.ended_at).is_(None)
        | (col(leg.ended_at) >= now - GIVEN_UP_AFTER),
        ~abandoned(leg),
    )
    query = (
        select(CampaignRun, Tenant.name, Campaign.name)
        .join(Campaign, col(Campaign.id) == col(CampaignRun.campaign_id))
        .join(Tenant, col(Tenant.id) == col(CampaignRun.tenant_id))
        .where(
            col(CampaignRun.let_go_as) != col(CampaignRun.state),
            col(CampaignRun.ended_at) > now - within,
            ended | crashed,
            col(CampaignRun.lead_run_id).is_(None),
            ~leg_goes_on,
            col(CampaignRun.flow_run_id).is_not(None),
            col(CampaignRun.max_messages).is_(None),
            col(Campaign.deleted_at).is_(None),
        )
        .order_by(col(CampaignRun.ended_at))
        .limit(limit)
    )
    return [_ended(run, f"{t}/{c}") for run, t, c in await session.exec(query)]


def _ended(run: CampaignRun, campaign: str) -> EndedRun:
    assert run.flow_run_id is not None
    values: dict[str, Any] = {"campaign": campaign, "flow_run_id": run.flow_run_id}
    if run.state in [end.value for end in RunEnd]:
        return EndedRun(end=RunEnd(run.state), reason=run.state_reason, **values)
    return EndedRun(end=RunEnd.FAILED, reason="crashed", **values)
