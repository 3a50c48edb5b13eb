"""Chains of any shape: in whatever order runs end, each campaign has one turn, the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ignition_ext.campaigns import store
from ignition_ext.campaigns.chain import On, RunEnd
from ignition_ext.campaigns.chain_store import Decided, EndedRun
from ignition_ext.campaigns.chain_turn import decide
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.database import Database
from ignition_ext.tenants import create_tenant

ENDS = (RunEnd.COMPLETED, RunEnd.COMPLETED, RunEnd.FAILED, RunEnd.CANCELLED)


@dataclass(frozen=True)
class Shape:
    """Campaigns c0 to cN, each after some before it; how each ends when it runs.

    ``mended``: failed runs are retried when all is over, and then complete.
    """

    parents: Mapping[int, Mapping[int, On]]
    ends: Mapping[int, RunEnd]
    mended: bool


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    count = draw(st.integers(2, 6))
    parents = {
        number: draw(
            st.dictionaries(st.integers(0, number - 1), st.sampled_from(On), min_size=1, max_size=3)
        )
        for number in range(1, count)
    }
    ends = {number: draw(st.sampled_from(ENDS)) for number in range(count)}
    return Shape(parents=parents, ends=ends, mended=draw(st.booleans()))


def expected(shape: Shape, ends: Mapping[int, RunEnd]) -> dict[int, RunEnd]:
    """How each campaign ends at last: as it does, or skipped."""
    came = {0: ends[0]}
    for number, parents in sorted(shape.parents.items()):
        runs = all(on.holds(came[parent]) for parent, on in parents.items())
        came[number] = ends[number] if runs else RunEnd.SKIPPED
    return came


async def play(database: Database, shape: Shape, random: st.DataObject) -> None:
    tenant = f"t-{uuid4().hex[:12]}"
    await create_tenant(database, name=tenant, actor="test")
    for number in range(len(shape.ends)):
        said = {
            "name": f"c{number}",
            "tenant": tenant,
            "channel": "email",
            "audience": {"name": "customers"},
            "template": "news",
            "block": "mail",
            "from": "news@acme.example",
            "after": [
                {"campaign": f"{tenant}/c{parent}", "on": on}
                for parent, on in shape.parents.get(number, {}).items()
            ],
        }
        definition = CampaignDefinition.model_validate(said)
        await store.apply(database, definition, base_path=Path("/srv"), actor="test")

    came: dict[int, list[RunEnd]] = {number: [] for number in shape.ends}
    begun: dict[int, UUID] = {0: uuid4()}
    waiting = [(0, begun[0], None, shape.ends[0])]

    async def run_all() -> None:
        while waiting:
            at = random.draw(st.integers(0, len(waiting) - 1))
            number, run, of, end = waiting.pop(at)
            for _ in range(random.draw(st.integers(1, 2))):
                decided = await decide(
                    database,
                    EndedRun(
                        campaign=f"{tenant}/c{number}",
                        flow_run_id=run,
                        end=end,
                        release_id=of.release_id if of else None,
                    ),
                )
                for one in decided:
                    take(one)
            came[number].append(end)

    def take(one: Decided) -> None:
        child = int(one.campaign.rpartition("/c")[2])
        begun[child] = uuid4()
        end = RunEnd.SKIPPED if one.skipped else shape.ends[child]
        waiting.append((child, begun[child], one, end))

    await run_all()
    wanted = expected(shape, shape.ends)
    assert came == {number: [end] for number, end in wanted.items()}
    if shape.mended and shape.ends[0] is not RunEnd.COMPLETED:
        waiting.append((0, begun[0], None, RunEnd.COMPLETED))
        await run_all()
        # Whatever had gone already does not go again: the first word on it holds.
        for ends in came.values():
            assert sum(end is not RunEnd.SKIPPED for end in ends[1:]) <= 1


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(shape=shapes(), random=st.data())
def test_any_chain_comes_to_the_same_in_any_order(
    sqlite_database_url: str, shape: Shape, random: st.DataObject
) -> None:
    """Ends reported twice, branches that overtake each other: one turn each, all the same."""

    async def once() -> None:
        database = Database(sqlite_database_url)
        try:
            await play(database, shape, random)
        finally:
            await database.close()

    asyncio.run(once())
