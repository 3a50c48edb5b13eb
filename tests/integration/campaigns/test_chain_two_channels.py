"""What comes after a campaign with two channels: it waits for both, and sees the worse end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import RunEnd
from ignition_ext.campaigns.chain_legs import joint_end
from ignition_ext.campaigns.chain_store import EndedRun, unseen_ends
from ignition_ext.campaigns.chain_turn import decide
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.ledger.legs import open_companion, set_flow_run
from ignition_ext.ledger.runs import RunRequest, close_run, mirror, open_run
from ignition_ext.models import Campaign, CampaignRun
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, RunRef, RunState

DAY = timedelta(days=1)
ENDS = {
    RunEnd.COMPLETED: RunState.COMPLETED,
    RunEnd.FAILED: RunState.FAILED,
    RunEnd.CANCELLED: RunState.CANCELLED,
}


@dataclass
class Pair:
    """A run with two channels, of a campaign that another comes after."""

    database: Database
    lead: RunRef
    companion: RunRef
    flow_runs: Mapping[RunRef, UUID]

    async def close(self, run: RunRef, end: RunEnd) -> EndedRun:
        await close_run(self.database, run, ENDS[end], f"it {end}", {})
        return self.ended(run, end)

    def ended(self, run: RunRef, end: RunEnd) -> EndedRun:
        return EndedRun(
            campaign="acme/both", flow_run_id=self.flow_runs[run], end=end, reason=f"it {end}"
        )

    async def unseen(self) -> list[UUID]:
        async with self.database.read() as session:
            return [run.flow_run_id for run in await unseen_ends(session, within=DAY, limit=9)]

    async def told(self) -> list[str]:
        async with self.database.read() as session:
            return list(await session.exec(select(CampaignRun.let_go_as).distinct()))


async def apply(database: Database, **said: Any) -> None:
    definition = CampaignDefinition.model_validate(
        {
            "tenant": "acme",
            "audience": {"name": "customers"},
            "template": "news",
            "block": "acme-mail",
            "from": "news@acme.example",
            **said,
        }
    )
    await store.apply(database, definition, base_path=Path("/srv"), actor="ann")


@pytest.fixture
async def pair(database: Database, limit: int | None) -> Pair:
    await create_tenant(database, name="acme", actor="test")
    await apply(database, name="both", channel="both", sms={"block": "acme-sms", "from": "ACME"})
    await apply(database, name="next", channel="email", after=["acme/both"])
    async with database.read() as session:
        campaign = (await session.exec(select(Campaign).where(Campaign.name == "both"))).one()
    assert campaign.id is not None
    request = RunRequest(
        tenant_id=campaign.tenant_id,
        campaign_id=campaign.id,
        campaign_version=1,
        flow_run_id=uuid4(),
        max_messages=limit,
    )
    lead = (await open_run(database, request, actor="test")).ref
    companion = await open_companion(database, lead, Channel.SMS, actor="test")
    assert companion is not None
    assert request.flow_run_id is not None
    flow_runs = {lead: request.flow_run_id, companion: uuid4()}
    await set_flow_run(database, companion, flow_runs[companion])
    return Pair(database, lead, companion, flow_runs)


@pytest.fixture
def limit() -> int | None:
    return None


@pytest.mark.parametrize("first", ["lead", "companion"])
@pytest.mark.parametrize(
    ("one", "other", "worse"),
    [
        (RunEnd.COMPLETED, RunEnd.COMPLETED, RunEnd.COMPLETED),
        (RunEnd.COMPLETED, RunEnd.FAILED, RunEnd.FAILED),
        (RunEnd.CANCELLED, RunEnd.COMPLETED, RunEnd.CANCELLED),
        (RunEnd.CANCELLED, RunEnd.FAILED, RunEnd.FAILED),
    ],
)
async def test_the_later_end_lets_go_and_the_worse_one_counts(
    pair: Pair, first: str, one: RunEnd, other: RunEnd, worse: RunEnd
) -> None:
    """Under the lead's flow run, whichever leg ended last; reported again it changes nothing."""
    legs = [pair.lead, pair.companion]
    if first == "companion":
        legs.reverse()
    early = await pair.close(legs[0], one)
    assert await joint_end(pair.database, early) is None
    assert await pair.unseen() == []

    whole = await joint_end(pair.database, await pair.close(legs[1], other))
    assert whole is not None
    assert (whole.flow_run_id, whole.end) == (pair.flow_runs[pair.lead], worse)
    assert whole.reason == f"it {worse}"
    assert await pair.unseen() == [pair.flow_runs[pair.lead]]
    (decided,) = await decide(pair.database, whole)
    assert (decided.campaign, decided.skipped) == ("acme/next", worse is not RunEnd.COMPLETED)
    assert await pair.unseen() == []
    assert await decide(pair.database, whole) == []


async def test_a_leg_that_is_retried_with_success_lets_a_skipped_turn_go_on(pair: Pair) -> None:
    """As any run does."""
    await pair.close(pair.lead, RunEnd.COMPLETED)
    failed = await joint_end(pair.database, await pair.close(pair.companion, RunEnd.FAILED))
    assert failed is not None
    (skipped,) = await decide(pair.database, failed)
    assert skipped.skipped

    mended = await joint_end(pair.database, await pair.close(pair.companion, RunEnd.COMPLETED))
    assert mended is not None
    (released,) = await decide(pair.database, mended)
    assert not released.skipped


async def test_a_companion_that_crashed_is_waited_for_until_it_is_given_up(pair: Pair) -> None:
    """It may be started again."""
    ended = await pair.close(pair.lead, RunEnd.COMPLETED)
    await mirror(pair.database, pair.companion, prefect_state="Crashed")
    assert await joint_end(pair.database, ended) is None
    async with pair.database.write() as session:
        row = await session.get_one(CampaignRun, pair.companion.id)
        row.ended_at = row.created_at - DAY
        session.add(row)

    whole = await joint_end(pair.database, ended)
    assert whole is not None
    assert (whole.end, whole.reason) == (RunEnd.FAILED, "crashed")
    assert await pair.unseen() == [pair.flow_runs[pair.lead]]
    await decide(pair.database, whole)
    assert sorted(await pair.told()) == ["completed", "failed"]


async def test_a_lead_that_failed_within_its_audience_is_not_waited_for(pair: Pair) -> None:
    """Nobody begins its companion, which has no audience."""
    async with pair.database.write() as session:
        row = await session.get_one(CampaignRun, pair.companion.id)
        row.flow_run_id = None
        session.add(row)
    ended = await pair.close(pair.lead, RunEnd.FAILED)

    whole = await joint_end(pair.database, ended)

    assert whole is not None
    assert (whole.end, whole.reason) == (RunEnd.FAILED, "it failed")
    assert await pair.unseen() == [pair.flow_runs[pair.lead]]


@pytest.mark.parametrize("limit", [10])
async def test_a_trial_lets_nothing_go(pair: Pair) -> None:
    """Not by its second channel either, whose flow run knows of no limit."""
    await pair.close(pair.lead, RunEnd.COMPLETED)

    ended = await pair.close(pair.companion, RunEnd.COMPLETED)
    assert await joint_end(pair.database, ended) is None
    assert await pair.unseen() == []


async def test_a_run_that_never_reached_the_ledger_is_whole_by_itself(pair: Pair) -> None:
    """It has no companion."""
    ended = EndedRun(campaign="acme/both", flow_run_id=uuid4(), end=RunEnd.FAILED)

    assert await joint_end(pair.database, ended) is ended
