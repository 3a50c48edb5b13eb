"""Decides which campaigns the end of a run lets go; one transaction, each end used at most once.

A campaign's turn begins with the first of its parents' ends and is decided when an end is not as
wished (skipped, at once) or when all are (released). Ends belong to one turn when one run began
them all: the flow run ``root``. Where the parents have no common beginning there is one turn that
gathers the newest end of each. A turn that was skipped is decided again when the parent that
spoilt it ends as wished after all: it was retried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import case, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.campaigns.chain import Graph, ParentSpec, RunEnd, starts_all_of
from ignition_ext.campaigns.chain_store import Decided, EndedRun, decided_turn, read_links
from ignition_ext.campaigns.store import split_reference
from ignition_ext.database import Database, database_now
from ignition_ext.models import Campaign, CampaignRun, ChainArrival, ChainRelease, ReleaseState
from ignition_ext.values import new_id

REASON_LENGTH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chains:
    """A tenant's campaigns in force and what they come after."""

    tenant_id: int
    ids: Mapping[str, int]
    graph: Graph

    def after(self, parent: str) -> list[str]:
        """The campaigns right after one, in the order in which their rows are locked."""
        found = [c for c, ps in self.graph.items() if any(p.campaign == parent for p in ps)]
        return sorted(found, key=lambda name: self.ids[name])


async def decide(database: Database, run: EndedRun) -> list[Decided]:
    """Note the end of a run, and decide about every campaign that comes right after it.

    The same end again decides nothing. What is returned stands in the database too, so that
    nothing is lost with the process between here and Prefect.
    """
    async with database.write() as session:
        links = await read_links(session, split_reference(run.campaign)[0])
        chains = _Chains(
            tenant_id=links[0].tenant_id if links else 0,
            ids={linked.name: linked.id for linked in links},
            graph={linked.name: linked.parents for linked in links},
        )
        children = chains.after(run.campaign) if run.campaign in chains.ids else []
        decided = []
        if children:
            root, root_campaign = await _root(session, chains, run)
            now = await database_now(session)
            for child in children:
                await _lock(session, chains.ids[child])
                turn = _Turn(session, chains, child, run, now)
                if (found := await turn.take(root, root_campaign)) is not None:
                    decided.append(found)
        await _note(session, run)
        return decided


async def _note(session: AsyncSession, run: EndedRun) -> None:
    """Note what was told; of two channels each as it ended itself, and a crash as a failure."""
    own = col(CampaignRun.flow_run_id) == run.flow_run_id
    noted = update(CampaignRun).where(own).values(let_go_as=run.end.value)
    if run.is_joint:
        ended = col(CampaignRun.state).in_([end.value for end in RunEnd])
        lead = select(CampaignRun.id).where(own)
        noted = (
            update(CampaignRun)
            .where(own | col(CampaignRun.lead_run_id).in_(lead))
            .values(let_go_as=case((ended, col(CampaignRun.state)), else_=RunEnd.FAILED.value))
        )
    await (await session.connection()).execute(noted)


async def _lock(session: AsyncSession, campaign_id: int) -> None:
    """Two parents that end at once, on two nodes, decide one after the other."""
    query = select(Campaign.id).where(Campaign.id == campaign_id).with_for_update()
    await session.exec(query)


async def _root(session: AsyncSession, chains: _Chains, run: EndedRun) -> tuple[UUID, str]:
    """The flow run (or the gathered turn) that began the chain, and its campaign."""
    query = select(ChainRelease).where(
        (col(ChainRelease.id) == run.release_id)
        if run.release_id is not None
        else (col(ChainRelease.flow_run_id) == run.flow_run_id)
    )
    release = (await session.exec(query)).first()
    names = {key: name for name, key in chains.ids.items()}
    if release is None or release.root_campaign_id not in names:
        return run.flow_run_id, run.campaign
    return release.root, names[release.root_campaign_id]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One end arriving at one campaign."""

    session: AsyncSession
    chains: _Chains
    child: str
    run: EndedRun
    now: datetime

    @property
    def _parents(self) -> Mapping[int, ParentSpec]:
        """By campaign; a parent that was deleted meanwhile is not waited for."""
        return {
            self.chains.ids[parent.campaign]: parent
            for parent in self.chains.graph[self.child]
            if parent.campaign in self.chains.ids
        }

    @property
    def _parent_id(self) -> int:
        return self.chains.ids[self.run.campaign]

    def _is_wished(self, parent_id: int, ended: str) -> bool:
        return self._parents[parent_id].on.holds(RunEnd(ended))

    async def take(self, root: UUID, root_campaign: str) -> Decided | None:
        """Let the end arrive; what was decided by it, None where nothing was."""
        key = (self.chains.ids[self.child], self.run.flow_run_id)
        arrival = await self.session.get(ChainArrival, key)
        if arrival is not None:
            release = await self._again(arrival)
        else:
            release = await self._join(root, root_campaign)
        return None if release is None else await self._decide(release)

    async def _again(self, arrival: ChainArrival) -> ChainRelease | None:
        """A run that ended before ends again: it counts if it spoilt the turn and now does not."""
        wished = self._is_wished(self._parent_id, self.run.end)
        if arrival.release_id is None or not wished:
            return None
        if self._is_wished(self._parent_id, arrival.ended):
            return None
        self._write(arrival)
        return await self.session.get_one(ChainRelease, arrival.release_id)

    async def _join(self, root: UUID, root_campaign: str) -> ChainRelease | None:
        gathering = not starts_all_of(self.chains.graph, root_campaign, self.child)
        query = select(ChainRelease).where(
            col(ChainRelease.campaign_id) == self.chains.ids[self.child],
            col(ChainRelease.gathering) if gathering else col(ChainRelease.root) == root,
        )
        release = (await self.session.exec(query)).first()
        if release is None:
            release = self._begin(None if gathering else (root, root_campaign))
            self.session.add(release)
            await self.session.flush()
        elif not await self._makes_room(release):
            return None
        arrival = ChainArrival(
            campaign_id=self.chains.ids[self.child],
            parent_flow_run_id=self.run.flow_run_id,
            tenant_id=self.chains.tenant_id,
            parent_id=self._parent_id,
            release_id=release.id,
            ended=self.run.end.value,
            at=self.now,
        )
        self._write(arrival)
        self.session.add(arrival)
        await self.session.flush()
        return release

    def _begin(self, root: tuple[UUID, str] | None) -> ChainRelease:
        own = new_id()
        return ChainRelease(
            id=own,
            tenant_id=self.chains.tenant_id,
            campaign_id=self.chains.ids[self.child],
            root=root[0] if root else own,
            root_campaign_id=self.chains.ids[root[1] if root else self.child],
            gathering=root is None,
            created_at=self.now,
        )

    async def _makes_room(self, release: ChainRelease) -> bool:
        """Whether the turn takes this end; an earlier one of the same parent gives way.

        One that let the campaign go does not: a chain gives each campaign one turn.
        """
        earlier = await self._arrived(release)
        same = earlier.get(self._parent_id)
        if same is None:
            return True
        if release.state == ReleaseState.RELEASED.value:
            return False
        same.release_id = None
        self.session.add(same)
        await self.session.flush()
        return True

    def _write(self, arrival: ChainArrival) -> None:
        arrival.ended = self.run.end.value
        arrival.reason = self.run.reason[:REASON_LENGTH]
        arrival.at = self.now

    async def _arrived(self, release: ChainRelease) -> dict[int, ChainArrival]:
        query = select(ChainArrival).where(col(ChainArrival.release_id) == release.id)
        return {row.parent_id: row for row in await self.session.exec(query)}

    async def _decide(self, release: ChainRelease) -> Decided | None:
        parents = self._parents
        arrived = {
            key: row for key, row in (await self._arrived(release)).items() if key in parents
        }
        spoilt = [row for key, row in arrived.items() if not self._is_wished(key, row.ended)]
        complete = len(arrived) == len(parents)
        release.gathering = release.gathering and not complete
        before = release.state
        if spoilt:
            after = ReleaseState.SKIPPED
        else:
            after = ReleaseState.RELEASED if complete else ReleaseState.WAITING
        self.session.add(release)
        if after == before:
            return None
        release.state = after.value
        if after is ReleaseState.WAITING:
            return None
        names = {key: name for name, key in self.chains.ids.items()}
        told = spoilt or list(arrived.values())
        release.reason = "; ".join(_words(names[row.parent_id], row) for row in told)[
            :REASON_LENGTH
        ]
        release.attempt += 1
        release.flow_run_id, release.decided_at = None, self.now
        waits = [row.at + parents[key].wait for key, row in arrived.items()]
        release.due_at = self.now if spoilt else max([self.now, *waits])
        return decided_turn(release, self.child)


def _words(parent: str, arrival: ChainArrival) -> str:
    because = f" ({arrival.reason})" if arrival.reason and arrival.ended != "completed" else ""
    verb = "was " if arrival.ended in (RunEnd.CANCELLED, RunEnd.SKIPPED) else ""
    return f"{parent} {verb}{arrival.ended}{because}"
