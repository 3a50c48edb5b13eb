"""A run in a real database, and short words for what a sender does with it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage, SmsReceipt
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.ledger.transitions import TRANSITIONS
from ignition_ext.models import Campaign, Suppression
from ignition_ext.tenants import create_tenant
from ignition_ext.values import (
    Channel,
    Delivery,
    Guarantee,
    LeaseId,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
    RunRef,
)

MINUTE = timedelta(minutes=1)
BIND = "127.0.0.1:2775/acme"
_ALLOWED = {("", "pending")} | {
    (old.value, new.value) for old, news in TRANSITIONS.items() for new in news
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

    async def claim(
        self, run: RunRef, limit: int = 100
    ) -> tuple[LeaseId, dict[str, MessageId]]:
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
            f"UPDATE message SET lease_until = {past} WHERE lease_until IS NOT NULL"
            " AND run_id = :run",
            run=self.key(run.id),
        )

    def key(self, value: UUID) -> Any:
        return value.hex if self.database.dialect == "sqlite" else value

    async def rows(self, run: RunRef) -> dict[str, dict[str, Any]]:
        """The run's messages by address, as the ledger lists them."""
        return {
            row["address"]: dict(row)
            async for page in self.ledger.messages(run.id)
            for row in page
        }

    async def states(self, run: RunRef) -> dict[str, str]:
        return {address: row["state"] for address, row in (await self.rows(run)).items()}

    async def events(self, message_id: MessageId) -> list[tuple[str, str]]:
        rows = await self.execute(
            "SELECT old_state, new_state FROM message_event WHERE message_id = :id ORDER BY seq",
            id=self.key(message_id),
        )
        return [(row[0], row[1]) for row in rows]

    async def check(self) -> None:
        """What must hold in every ledger at every moment."""
        messages = {
            row[0]: row
            for row in await self.execute(
                "SELECT id, state, seq, lease_id, lease_until, not_before, run_id FROM message"
            )
        }
        chains: dict[Any, list[Any]] = {key: [] for key in messages}
        for row in await self.execute(
            "SELECT message_id, seq, old_state, new_state, at FROM message_event ORDER BY seq"
        ):
            chains[row[0]].append(row)
        for key, (_, state, seq, lease, until, not_before, _run) in messages.items():
            chain = chains[key]
            assert [event.seq for event in chain] == list(range(1, seq + 1))
            assert chain[0].old_state == ""
            assert chain[-1].new_state == state
            for before, after in itertools.pairwise(chain):
                assert after.old_state == before.new_state
                assert after.at >= before.at
            assert {(event.old_state, event.new_state) for event in chain} <= _ALLOWED
            leased = state in ("claimed", "sending")
            assert (lease is not None) == leased
            assert (until is not None) == leased
            assert not_before is not None
        found = Counter((row[6], row[1]) for row in messages.values())
        for run_id, run_at in await self.execute("SELECT id, run_at FROM campaign_run"):
            ref = RunRef(
                id=UUID(str(run_id)),  # type: ignore[arg-type]
                run_at=run_at if isinstance(run_at, datetime) else datetime.min,
                tenant_id=self.tenant_id,  # type: ignore[arg-type]
            )
            counts = await self.ledger.counts(ref)
            assert set(counts) == set(MessageState)
            assert {state: n for state, n in counts.items() if n} == {
                MessageState(state): n for (run, state), n in found.items() if run == run_id
            }


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


async def make_scene(database: Database) -> Scene:
    tenant = await create_tenant(database, name="acme", actor="test")
    assert tenant.id is not None
    async with database.write() as session:
        campaign = Campaign(tenant_id=tenant.id, name="welcome")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
    return Scene(database, open_ledger(database), tenant.id, campaign.id)


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    """A ledger whose books are checked after the test, whatever the test did."""
    made = await make_scene(database)
    yield made
    await made.check()


@pytest.fixture
def sms_receipt() -> Callable[..., SmsReceipt]:
    def make(
        provider_id: str,
        state: MessageState | None = MessageState.DELIVERED,
        *,
        destination: str = "4917012345678",
        bind: str = BIND,
        id_format: str = "auto",
    ) -> SmsReceipt:
        names = {MessageState.DELIVERED: "DELIVRD", MessageState.FAILED: "UNDELIV"}
        status = names.get(state, "EXPIRED") if state else "ENROUTE"
        return SmsReceipt(
            bind=bind,
            provider_id=provider_id,
            state=state,
            status=status,
            code="000",
            destination=destination,
            raw=f"id:{provider_id} stat:{status} err:000",
            id_format=id_format,
        )

    return make


@pytest.fixture
def accepted() -> Callable[..., Outcome]:
    def make(provider_id: str = "Q1") -> Outcome:
        return Outcome(
            kind=OutcomeKind.ACCEPTED, code="250", text="queued", provider_id=provider_id
        )

    return make


@pytest.fixture
def at_least_once() -> Guarantee:
    return Guarantee.AT_LEAST_ONCE
