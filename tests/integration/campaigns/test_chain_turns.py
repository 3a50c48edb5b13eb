"""What the end of a run lets go, as the database decides it, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import select

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import RunEnd
from ignition_ext.campaigns.chain_legs import joint_end
from ignition_ext.campaigns.chain_store import (
    Decided,
    EndedRun,
    dependents,
    read_graph,
    told,
    unseen_ends,
    untold,
)
from ignition_ext.campaigns.chain_turn import decide
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign, CampaignRun, ChainArrival, ChainRelease
from ignition_ext.models.types import utc_now
from ignition_ext.tenants import create_tenant

DAY = timedelta(days=1)
COMPLETED, FAILED, SKIPPED = RunEnd.COMPLETED, RunEnd.FAILED, RunEnd.SKIPPED


class Chain:
    """A tenant's campaigns; runs of them end, and what is let go is told as Prefect would be."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def apply(self, name: str, *after: Any) -> None:
        said = {
            "name": name,
            "tenant": "acme",
            "channel": "email",
            "audience": {"name": "customers"},
            "template": "news",
            "block": "acme-mail",
            "from": "news@acme.example",
            "after": after,
        }
        definition = CampaignDefinition.model_validate(said)
        await store.apply(self.database, definition, base_path=Path("/srv"), actor="ann")

    async def end(
        self,
        name: str,
        end: RunEnd = COMPLETED,
        *,
        run: UUID | None = None,
        of: Decided | None = None,
        reason: str = "",
    ) -> dict[str, Decided]:
        ended = EndedRun(
            campaign=f"acme/{name}",
            flow_run_id=run or uuid4(),
            end=end,
            reason=reason,
            release_id=of.release_id if of else None,
        )
        decided = await decide(self.database, ended)
        return {one.campaign.removeprefix("acme/"): one for one in decided}

    async def rows(self, table: Any) -> list[Any]:
        async with self.database.read() as session:
            return list(await session.exec(select(table)))


@pytest.fixture
async def chain(database: Database) -> Chain:
    await create_tenant(database, name="acme", actor="test")
    return Chain(database)


@pytest.fixture
async def diamond(chain: Chain) -> Chain:
    """a, then b and c, then d after both."""
    await chain.apply("a")
    await chain.apply("b", "acme/a")
    await chain.apply("c", "acme/a")
    await chain.apply("d", "acme/b", {"campaign": "acme/c", "delay": "30m"})
    return chain


async def test_an_end_lets_the_next_go_once(diamond: Chain) -> None:
    """However often it is reported."""
    run = uuid4()
    first = await diamond.end("a", run=run)

    assert set(first) == {"b", "c"}
    assert not any(one.skipped for one in first.values())
    assert {one.root for one in first.values()} == {run}
    assert first["b"].reason == "acme/a completed"
    assert await diamond.end("a", run=run) == {}


async def test_a_join_waits_for_all_and_for_the_longest_delay(diamond: Chain) -> None:
    """The delay counts from the end of the parent that it stands beside."""
    first = await diamond.end("a")
    assert await diamond.end("c", of=first["c"]) == {}
    joined = await diamond.end("b", of=first["b"])

    (release,) = [
        row
        for row in await diamond.rows(ChainRelease)
        if row.id not in {one.release_id for one in first.values()}
    ]
    c_ended = next(
        row.at
        for row in await diamond.rows(ChainArrival)
        if row.release_id == release.id and row.at != release.decided_at
    )
    assert joined["d"].due_at == c_ended + timedelta(minutes=30)
    assert not joined["d"].skipped


async def test_two_parents_that_end_at_once_let_the_join_go_once(diamond: Chain) -> None:
    """On two nodes, many times over: exactly one of the two decides."""
    other = Chain(Database(str(diamond.database.url.render_as_string(hide_password=False))))
    try:
        for _ in range(10):
            first = await diamond.end("a")
            both = await asyncio.gather(
                diamond.end("b", of=first["b"]), other.end("c", of=first["c"])
            )
            assert sorted(len(found) for found in both) == [0, 1]
    finally:
        await other.database.close()


async def test_runs_of_one_chain_do_not_mix_with_those_of_another(diamond: Chain) -> None:
    """Nor with a parent that somebody ran by hand."""
    one, two = await diamond.end("a"), await diamond.end("a")
    assert await diamond.end("b") == {}
    assert await diamond.end("b", of=one["b"]) == {}
    assert await diamond.end("c", of=two["c"]) == {}

    assert (await diamond.end("c", of=one["c"]))["d"].root == one["c"].root
    assert (await diamond.end("b", of=two["b"]))["d"].root == two["c"].root
    assert (await diamond.end("c"))["d"].reason == "acme/b completed; acme/c completed"


async def test_a_failure_skips_at_once_and_only_once(diamond: Chain) -> None:
    """Without waiting for the other branch, whose end then changes nothing."""
    first = await diamond.end("a")
    skipped = await diamond.end("b", FAILED, of=first["b"], reason="no server")

    assert skipped["d"].skipped
    assert skipped["d"].reason == "acme/b failed (no server)"
    assert await diamond.end("c", of=first["c"]) == {}


async def test_a_retry_that_succeeds_lets_the_chain_go_on(diamond: Chain) -> None:
    """The run that had spoilt the turn ends again, as wished; the turn is decided once more."""
    first = await diamond.end("a")
    run = uuid4()
    skipped = await diamond.end("b", FAILED, of=first["b"], run=run)
    assert await diamond.end("b", FAILED, of=first["b"], run=run) == {}
    await diamond.end("c", of=first["c"])
    released = await diamond.end("b", of=first["b"], run=run)

    assert not released["d"].skipped
    assert released["d"].release_id == skipped["d"].release_id
    assert released["d"].attempt == skipped["d"].attempt + 1
    assert await diamond.end("b", FAILED, of=first["b"], run=run) == {}


async def test_skipping_goes_down_the_chain_and_is_made_good_the_same_way(chain: Chain) -> None:
    """The second run of a skipped campaign takes the place of the first."""
    await chain.apply("a")
    await chain.apply("b", "acme/a")
    await chain.apply("c", "acme/b")
    run = uuid4()
    b = (await chain.end("a", FAILED, run=run))["b"]
    c = (await chain.end("b", SKIPPED, of=b, reason=b.reason))["c"]
    assert c.skipped
    assert c.reason == "acme/b was skipped (acme/a failed)"

    again = (await chain.end("a", run=run))["b"]
    assert (await chain.end("b", of=again))["c"].reason == "acme/b completed"


async def test_branches_by_the_way_the_parent_ended(chain: Chain) -> None:
    """One goes, the other is skipped, and one goes in any case."""
    await chain.apply("a")
    await chain.apply("thanks", "acme/a")
    await chain.apply("alarm", {"campaign": "acme/a", "on": "failed"})
    await chain.apply("report", {"campaign": "acme/a", "on": "any"})

    good = await chain.end("a")
    bad = await chain.end("a", RunEnd.CANCELLED)
    assert {name: one.skipped for name, one in good.items()} == {
        "thanks": False,
        "alarm": True,
        "report": False,
    }
    assert {name: one.skipped for name, one in bad.items()} == {
        "thanks": True,
        "alarm": True,
        "report": False,
    }
    assert bad["thanks"].reason == "acme/a was cancelled"


async def test_parents_without_a_common_beginning_gather_their_newest_ends(chain: Chain) -> None:
    """A daily one beside a weekly one: the weekly one decides, by the last daily one's end."""
    await chain.apply("daily")
    await chain.apply("weekly")
    await chain.apply("both", "acme/daily", "acme/weekly")
    assert await chain.end("daily") == {}
    assert (await chain.end("daily", FAILED))["both"].skipped
    assert await chain.end("daily") == {}
    assert not (await chain.end("weekly"))["both"].skipped

    assert await chain.end("weekly") == {}
    assert not (await chain.end("daily"))["both"].skipped
    assert sum(row.gathering for row in await chain.rows(ChainRelease)) == 0


async def test_what_is_not_told_is_found_again(diamond: Chain) -> None:
    """A crash between the decision and Prefect loses nothing."""
    first = await diamond.end("a")
    async with diamond.database.read() as session:
        left = await untold(session, within=DAY, limit=10)
    assert sorted(one.release_id for one in left) == sorted(o.release_id for o in first.values())
    flow_run = uuid4()
    await told(diamond.database, first["b"], flow_run)
    async with diamond.database.read() as session:
        assert [one.campaign for one in await untold(session, within=DAY, limit=10)] == ["acme/c"]

    # A run of which only its id is known belongs to the same chain.
    assert await diamond.end("c", of=first["c"]) == {}
    assert set(await diamond.end("b", run=flow_run)) == {"d"}


async def add_run(chain: Chain, campaign: str, state: str, **more: Any) -> UUID:
    flow_run = uuid4()
    async with chain.database.write() as session:
        row = (await session.exec(select(Campaign).where(Campaign.name == campaign))).one()
        session.add(
            CampaignRun(
                tenant_id=row.tenant_id,
                campaign_id=row.id,
                campaign_version=1,
                run_at=utc_now(),
                state=state,
                flow_run_id=flow_run,
                **({"ended_at": utc_now()} | more),
            )
        )
    return flow_run


async def test_ended_runs_that_nothing_was_let_go_for_are_found(diamond: Chain) -> None:
    """Of every kind, crashes too; not those that go on or may, nor trials, nor those long over."""
    wanted = {
        await add_run(diamond, "a", "completed"): RunEnd.COMPLETED,
        await add_run(diamond, "a", "failed"): RunEnd.FAILED,
        await add_run(diamond, "b", "cancelled"): RunEnd.CANCELLED,
        await add_run(diamond, "c", "skipped"): RunEnd.SKIPPED,
        await add_run(
            diamond,
            "a",
            "open",
            prefect_state="Crashed",
            ended_at=utc_now() - timedelta(minutes=10),
        ): RunEnd.FAILED,
    }
    await add_run(diamond, "a", "open", prefect_state="Crashed")
    await add_run(diamond, "a", "open", prefect_state="Running", ended_at=None)
    await add_run(diamond, "a", "completed", max_messages=5)
    await add_run(diamond, "a", "completed", ended_at=utc_now() - 2 * DAY)

    async with diamond.database.read() as session:
        found = await unseen_ends(session, within=DAY, limit=10)
    assert {run.flow_run_id: run.end for run in found} == wanted
    for run in found:
        await decide(diamond.database, run)
    async with diamond.database.read() as session:
        assert await unseen_ends(session, within=DAY, limit=10) == []


async def test_the_graph_is_that_of_the_campaigns_in_force(diamond: Chain) -> None:
    """A campaign that was deleted follows nobody."""
    async with diamond.database.write() as session:
        assert await dependents(session, "acme/a") == ["acme/b", "acme/c"]
        await store.mark_deleted(session, "acme/b", actor="ann")
    async with diamond.database.read() as session:
        graph = await read_graph(session, "acme")
    assert {name: [p.campaign for p in parents] for name, parents in graph.items()} == {
        "acme/a": [],
        "acme/c": ["acme/a"],
        "acme/d": ["acme/b", "acme/c"],
    }

    # What waits for it waits for the others only.
    first = await diamond.end("a")
    assert set(await diamond.end("c", of=first["c"])) == {"d"}


async def test_two_flow_runs_for_one_time_let_go_what_comes_after_once(chain: Chain) -> None:
    """Where two schedules meet Prefect makes two; the second finds the run done."""
    await chain.apply("first")
    await chain.apply("next", "acme/first")
    [campaign] = [row for row in await chain.rows(Campaign) if row.name == "first"]
    eight = utc_now()

    async def ended(flow_run_id: UUID) -> EndedRun | None:
        end = EndedRun(
            campaign="acme/first", flow_run_id=flow_run_id, end=COMPLETED, scheduled_at=eight
        )
        return await joint_end(chain.database, end)

    early = uuid4()
    assert await ended(early) is not None, "it ended before a run was opened"
    requests = [
        RunRequest(
            tenant_id=campaign.tenant_id,
            campaign_id=campaign.id,
            campaign_version=1,
            flow_run_id=uuid4(),
            scheduled_at=eight,
        )
        for _ in range(2)
    ]
    first, second = [await open_run(chain.database, one, actor="test") for one in requests]
    assert first.ref == second.ref

    assert [await ended(one.flow_run_id or early) is not None for one in requests] == [True, False]
    assert await ended(early) is None
