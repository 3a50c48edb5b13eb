"""A run in a real database, and short words for what a sender does with it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.ledger.transitions import TRANSITIONS
from ignition_ext.models import Campaign, Suppression
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    LeaseId,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
    RunId,
    RunRef,
    TenantId,
)

MINUTE = timedelta(minutes=1)
BIND = "127.0.0.1:2775/acme"
_WAITING, _UNDER_WAY = {"pending", "deferred"}, {"claimed", "sending"}
_NOTED = {
    (old.value, new.value)
    for old, news in TRANSITIONS.items()
    for new in news
    if new not in _UNDER_WAY
}


@dataclass
class Scene:
    """One database, its ledger, a tenant with a campaign, and the runs that a test opens."""

    database: Database
    ledger: Ledger
    tenant_id: int
    campaign_id: int
    retry: StandardRetry = field(
        default_factory=lambda: StandardRetry(
            strategy="fixed", attempts=3, base=timedelta(0), max=timedelta(0)
        )
    )

    async def run(
        self, *addresses: str, channel: Channel = Channel.EMAIL, **request: Any
    ) -> RunRef:
        """Open a run and put these addresses into it."""
        opened = await open_run(
            self.database,
            RunRequest(
                tenant_id=self.tenant_id,
                campaign_id=self.campaign_id,
                campaign_version=1,
                **request,
            ),
            actor="test",
        )
        await self.snapshot(opened.ref, *addresses, channel=channel)
        return opened.ref

    async def snapshot(
        self, run: RunRef, *addresses: str, channel: Channel = Channel.EMAIL
    ) -> None:
        await self.ledger.snapshot(run, batched(news(*addresses, channel=channel)))

    async def claim(self, run: RunRef, limit: int = 100) -> tuple[LeaseId, dict[str, MessageId]]:
        lease = await self.ledger.claim(run, limit=limit, lease=MINUTE)
        return lease.id, {message.address: message.id for message in lease.messages}

    async def sending(self, run: RunRef) -> tuple[LeaseId, dict[str, MessageId]]:
        """Claim all that is due and intend it."""
        lease, ids = await self.claim(run)
        assert await self.ledger.intend(run, lease, list(ids.values())) == set(ids.values())
        return lease, ids

    async def settle(
        self,
        run: RunRef,
        lease: LeaseId,
        message_id: MessageId,
        outcome: Outcome,
        *parts: Outcome,
    ) -> MessageState:
        delivery = Delivery(
            message_id=message_id,
            outcome=outcome,
            parts=tuple(
                PartOutcome(part=place, parts=len(parts), outcome=part)
                for place, part in enumerate(parts, 1)
            ),
        )
        states = await self.ledger.settle(run, lease, [delivery], self.retry, bind=BIND)
        return states[message_id]

    async def suppress(self, address: str, channel: Channel = Channel.EMAIL) -> None:
        async with self.database.write() as session:
            session.add(
                Suppression(
                    tenant_id=self.tenant_id, channel=channel, address=address, reason="opt_out"
                )
            )

    async def execute(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def lapse(self, run: RunRef) -> None:
        """Let every lease of a run be over, as if its time had passed in the database."""
        past = (
            "strftime('%Y-%m-%d %H\\:%M\\:%f000', 'now', '-1 second')"
            if self.database.dialect == "sqlite"
            else "now() - interval '1 second'"
        )
        await self.execute(
            f"UPDATE sender_lease SET until = {past} WHERE run_id = :run",
            run=self.key(run.id),
        )

    async def days_pass(self, days: int) -> None:
        """Let all that was claimed or sent have been so many days earlier."""
        back = (
            f"strftime('%Y-%m-%d %H\\:%M\\:%f000', {{}}, '-{days} days')"
            if self.database.dialect == "sqlite"
            else f"{{}} - interval '{days} days'"
        )
        for table, column in (
            ("message", "intended_at"),
            ("message", "sent_at"),
            ("capped_message", "claimed_at"),
        ):
            await self.execute(f"UPDATE {table} SET {column} = {back.format(column)}")

    def key(self, value: UUID) -> Any:
        return value.hex if self.database.dialect == "sqlite" else value

    async def rows(self, run: RunRef) -> dict[str, dict[str, Any]]:
        """The run's messages by address, as the ledger lists them."""
        return {
            row["address"]: dict(row) async for page in self.ledger.messages(run.id) for row in page
        }

    async def states(self, run: RunRef) -> dict[str, str]:
        return {address: row["state"] for address, row in (await self.rows(run)).items()}

    async def events(self, message_id: MessageId) -> list[tuple[str, str]]:
        rows = await self.execute(
            "SELECT old_state, new_state FROM message_event WHERE message_id = :id ORDER BY seq",
            id=self.key(message_id),
        )
        return [(row[0], row[1]) for row in rows]

    async def check(self, run: RunRef | None = None) -> None:
        """What must hold in every ledger at every moment; of one run, or of all."""
        runs = await self.execute("SELECT id FROM campaign_run") if run is None else [(run.id,)]
        for (run_id,) in runs:
            await self._check_run(RunId(UUID(str(run_id))))

    async def _check_run(self, run_id: RunId) -> None:
        where = {"run": self.key(run_id)}
        messages = await self.execute(
            "SELECT id, state, seq, lease_id, not_before FROM message WHERE run_id = :run", **where
        )
        chains: dict[Any, list[Any]] = {row[0]: [] for row in messages}
        for event in await self.execute(
            "SELECT e.message_id, e.seq, e.old_state, e.new_state, e.at FROM message_event e"
            " JOIN message m ON m.id = e.message_id WHERE m.run_id = :run ORDER BY e.seq",
            **where,
        ):
            chains[event[0]].append(event)
        for key, state, seq, lease, not_before in messages:
            check_chain(chains[key], state, seq)
            assert not_before is not None
            assert (lease is not None) == (state in ("claimed", "sending"))
        await self._check_due(messages, where)
        await self._check_leases(messages, where)
        counts = await self.ledger.counts(
            RunRef(id=run_id, run_at=datetime.now(UTC), tenant_id=TenantId(self.tenant_id))
        )
        assert set(counts) == set(MessageState)
        assert sum(counts.values()) == len(messages)
        assert Counter({state: n for state, n in counts.items() if n}) == Counter(
            MessageState(row[1]) for row in messages
        )

    async def _check_due(self, messages: Sequence[Any], where: dict[str, Any]) -> None:
        """What waits stands in message_due, once and with its own time, or is held by its step."""
        due = await self.execute(
            "SELECT id, not_before FROM message_due WHERE run_id = :run", **where
        )
        rows = await self.execute("SELECT id FROM message_held WHERE run_id = :run", **where)
        held = {row[0] for row in rows}
        pending = {row[0] for row in messages if row[1] == "pending"}
        assert held <= pending
        waiting = [
            (row[0], row[4]) for row in messages if row[1] in _WAITING and row[0] not in held
        ]
        assert sorted(map(str, due)) == sorted(map(str, waiting))

    async def _check_leases(self, messages: Sequence[Any], where: dict[str, Any]) -> None:
        """What is under way stands in the lease that it names."""
        held = {
            UUID(str(row[0])): {UUID(str(key)) for key in listed(row[1])}
            for row in await self.execute(
                "SELECT id, message_ids FROM sender_lease WHERE run_id = :run", **where
            )
        }
        for key, _, _, lease, _ in messages:
            assert lease is None or UUID(str(key)) in held[UUID(str(lease))]


def listed(keys: Any) -> list[Any]:
    """Keys as the database gives them: a list, or SQLite's JSON."""
    found: list[Any] = json.loads(keys) if isinstance(keys, str) else keys
    return found


def check_chain(chain: Sequence[Any], state: str, seq: int) -> None:
    """A message's events: numbered without a gap, each begins where the one before ended.

    Between what waits and what is under way stands no event: the claim and the intent are told
    by what ends them.
    """
    assert [event.seq for event in chain] == list(range(1, seq + 1))
    assert {(event.old_state, event.new_state) for event in chain} <= _NOTED
    now = "pending"
    for event in chain:
        assert event.old_state == now or (now in _WAITING and event.old_state in _UNDER_WAY)
        now = event.new_state
    assert state == now or (now in _WAITING and state in _UNDER_WAY)
    for before, after in itertools.pairwise(chain):
        assert after.at >= before.at


async def batched(
    messages: Sequence[NewMessage], size: int = 500
) -> AsyncIterator[Sequence[NewMessage]]:
    for start in range(0, len(messages), size):
        yield messages[start : start + size]


def news(*addresses: str, channel: Channel = Channel.EMAIL) -> list[NewMessage]:
    return [
        NewMessage(
            channel=channel,
            address=address,
            domain=address.rpartition("@")[2],
            data={"name": address},
        )
        for address in addresses
    ]


async def _make_scene(database: Database) -> Scene:
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="welcome")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
    return Scene(database, open_ledger(database), tenant.id, campaign.id)


@pytest.fixture
def make_scene() -> Callable[[Database], Awaitable[Scene]]:
    """For tests that run a loop of their own."""
    return _make_scene


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    """A ledger whose books are checked after the test, whatever the test did."""
    made = await _make_scene(database)
    yield made
    await made.check()


@pytest.fixture
def new_messages() -> Callable[..., list[NewMessage]]:
    return news


@pytest.fixture
def in_batches() -> Callable[..., AsyncIterator[Sequence[NewMessage]]]:
    return batched


@pytest.fixture
def accepted() -> Callable[..., Outcome]:
    """The outcome of an accepted message or segment."""

    def make(provider_id: str = "Q1") -> Outcome:
        return Outcome(
            kind=OutcomeKind.ACCEPTED, code="250", text="queued", provider_id=provider_id
        )

    return make


@pytest.fixture
def refused() -> Outcome:
    """A refusal for good."""
    return Outcome(
        kind=OutcomeKind.REJECTED,
        code="550",
        enhanced="5.1.1",
        text="no such user",
        failure_class=FailureClass.ADDRESS,
    )


@pytest.fixture
def deferred() -> Outcome:
    """A refusal for now, which the server judged."""
    return Outcome(
        kind=OutcomeKind.DEFERRED,
        code="451",
        enhanced="4.3.0",
        text="try later",
        failure_class=FailureClass.SYSTEM,
    )


@pytest.fixture
def unknown() -> Outcome:
    """No answer came."""
    return Outcome(kind=OutcomeKind.UNCERTAIN, text="connection lost after the last byte")
