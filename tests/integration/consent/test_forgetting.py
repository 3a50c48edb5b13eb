"""Forgetting a person: nothing names them any more, all counts stay, a no stays a no."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from ignition_ext import audit
from ignition_ext.consent.forgetting import Forgotten, forget
from ignition_ext.database import Database
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import Ledger, NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import (
    Audience,
    Campaign,
    InboundMessage,
    MailReport,
    OutboxEvent,
    Preference,
    Receipt,
    RecipientRow,
    metadata,
)
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    MessageState,
    Outcome,
    OutcomeKind,
    RunRef,
)

ADA, PHONE, BOB = "ada.love@b.example", "+4915123456789", "bob@b.example"
MINUTE, NOW = timedelta(minutes=1), datetime(2026, 11, 20, tzinfo=UTC)
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, code="250", text="queued")
REFUSED = Outcome(
    kind=OutcomeKind.REJECTED,
    code="550",
    text=f"<{ADA.title()}> unknown",
    failure_class=FailureClass.ADDRESS,
)


@dataclass
class House:
    """The tenant's campaign, with a person in all of its tables."""

    office: Any
    ledger: Ledger
    campaign_id: int

    @property
    def database(self) -> Database:
        database: Database = self.office.database
        return database

    async def run(self, *addresses: str, channel: Channel = Channel.EMAIL) -> RunRef:
        request = RunRequest(
            tenant_id=self.office.tenant_id, campaign_id=self.campaign_id, campaign_version=1
        )
        opened = await open_run(self.database, request, actor="test")

        async def batches() -> AsyncIterator[Sequence[NewMessage]]:
            yield [
                NewMessage(
                    channel=channel,
                    address=address,
                    domain=address.rpartition("@")[2] if channel is Channel.EMAIL else "49",
                    data={"name": "Bob" if address == BOB else "Ada", "email": address},
                )
                for address in addresses
            ]

        await self.ledger.snapshot(opened.ref, batches())
        return opened.ref

    async def claim(self, run: RunRef) -> tuple[Any, Mapping[str, Any]]:
        lease = await self.ledger.claim(run, limit=100, lease=MINUTE)
        return lease.id, {message.address: message.id for message in lease.messages}

    async def send(self, run: RunRef, outcome: Outcome) -> list[str]:
        lease, ids = await self.claim(run)
        granted = await self.ledger.intend(run, lease, list(ids.values()))
        assert granted == frozenset(ids.values())
        await self.settle(run, lease, list(granted), outcome)
        return sorted(ids)

    async def settle(self, run: RunRef, lease: Any, ids: Sequence[Any], outcome: Outcome) -> None:
        retry = StandardRetry(strategy="fixed", attempts=3, base=MINUTE, max=MINUTE)
        told = [Delivery(message_id=key, outcome=outcome) for key in ids]
        await self.ledger.settle(run, lease, told, retry)

    async def forget(self, address: str = ADA, **how: Any) -> Forgotten:
        return await forget(self.database, tenant="acme", address=address, actor="test", **how)

    async def counts(self, run: RunRef) -> dict[str, int]:
        found = await self.ledger.counts(run)
        return {state.value: number for state, number in found.items() if number}

    async def dump(self) -> str:
        """Every value of every table."""
        async with self.database.engine.connect() as connection:
            rows = [
                (table.name, *row)
                for table in metadata.sorted_tables
                for row in await connection.execute(select(table))
            ]
        return "\n".join(sorted(map(repr, rows))).lower()


@pytest.fixture
async def house(office: Any) -> AsyncIterator[House]:
    """After the test the books must hold: events without a gap, nothing due that is over."""
    async with office.database.write() as session:
        campaign = Campaign(tenant_id=office.tenant_id, name="welcome")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
    house = House(office, open_ledger(office.database), campaign.id)
    yield house
    async with office.database.engine.connect() as connection:
        gaps = await connection.execute(
            text(
                "SELECT m.id FROM message m WHERE m.seq <> (SELECT count(*) FROM message_event e"
                " WHERE e.message_id = m.id)"
            )
        )
        assert gaps.all() == []
        idle = await connection.execute(
            text(
                "SELECT d.id FROM message_due d JOIN message m ON m.id = d.id"
                " WHERE m.state NOT IN ('pending', 'deferred')"
            )
        )
        assert idle.all() == []


async def settle_in(house: House) -> RunRef:
    """Ada and Bob are in an audience, were written to, answered, and Ada opted out."""
    office = house.office
    cap = {"messages": 9, "days": 7}
    await set_tenant_setting(
        house.database, tenant="acme", key="caps.email", value=cap, actor="test"
    )
    async with house.database.write() as session:
        audience = Audience(tenant_id=office.tenant_id, name="all", generation=1, size=2)
        session.add(audience)
        await session.flush()
        assert audience.id is not None
        common = {"tenant_id": office.tenant_id, "audience_id": audience.id, "generation": 1}
        session.add(RecipientRow(**common, email=ADA, phone=PHONE, data={"name": "Ada"}))
        session.add(RecipientRow(**common, email=BOB, phone="+4915199999999"))
        session.add(
            Receipt(
                received_at=NOW,
                tenant_id=office.tenant_id,
                channel="sms",
                address=PHONE.removeprefix("+"),
                raw="id:1 text:Hello Ada",
            )
        )
        session.add(
            InboundMessage(
                received_at=NOW,
                tenant_id=office.tenant_id,
                bind="b",
                source=PHONE,
                destination="12345",
                text="STOP, yours Ada",
            )
        )
        session.add(
            OutboxEvent(
                tenant_id=office.tenant_id,
                name="ignition.recipient.opted_out",
                subject="campaign:welcome",
                payload={"count": 2},
                private={"addresses": [ADA.upper(), BOB]},
            )
        )
        session.add(Preference(tenant_id=office.tenant_id, channel="email", address=ADA))
        session.add(
            MailReport(
                digest="1",
                source="test",
                received_at=NOW,
                kind="bounce",
                state="settled",
                tenant_id=office.tenant_id,
                address=ADA,
            )
        )
    run = await house.run(ADA, BOB)
    await house.send(run, ACCEPTED)
    await house.send(await house.run(ADA), REFUSED)
    told = ACCEPTED._replace(text=f"{PHONE} accepted")
    await house.send(await house.run(PHONE, channel=Channel.SMS), told)
    await office.suppress(ADA, detail=f"{ADA} wrote")
    return run


async def test_nothing_names_a_forgotten_person(house: House) -> None:
    """Every column of every table is looked at; what is Bob's is as it was."""
    run = await settle_in(house)
    full = await house.dump()
    before, bobs = await house.counts(run), full.count(BOB)
    named = {row.split("'")[1] for row in full.splitlines() if ADA in row or PHONE[1:] in row}

    done = await house.forget()

    dumped = await house.dump()
    assert named >= {table.name for table in metadata.sorted_tables if "address" in table.c}
    for trace in (ADA, PHONE.removeprefix("+"), "yours ada", "hello ada", "'ada'"):
        assert trace not in dumped
    assert dumped.count(BOB) == bobs > 0
    assert await house.counts(run) == before == {"sent": 2}
    assert done == Forgotten(
        addresses={Channel.EMAIL: ADA, Channel.SMS: PHONE},
        recipients=1,
        messages=3,
        stopped=0,
        on_the_wire=0,
        traces={"inbound_message": 1, "mail_report": 1, "outbox_event": 1, "receipt": 1},
        kept_out={Channel.EMAIL: "manual"},
    )
    (size,) = await house.office.rows(select(Audience.size))
    assert size == (1,)


async def test_the_audit_log_still_holds_and_tells_of_it(house: House) -> None:
    """How much was erased, and not whose."""
    await settle_in(house)

    await house.forget()

    (told,) = await house.office.audited("recipient.forgotten")
    assert told.after["messages"] == 3
    assert told.after["kept_out"] == {"email": "manual"}
    (report,) = await audit.verify(house.database, keys=audit.trusted_keys())
    assert report.holds


async def test_who_opted_out_stays_so_in_a_fresh_import(house: House) -> None:
    """By the hash, at the claim, until the operator takes the address off the list."""
    await settle_in(house)
    await house.forget()

    run = await house.run(ADA, BOB)
    assert await house.send(run, ACCEPTED) == [BOB]
    assert await house.counts(run) == {"sent": 1, "suppressed": 1}

    assert await house.office.lift(ADA.upper()) == 1
    assert await house.send(await house.run(ADA, BOB), ACCEPTED) == [ADA, BOB]


async def test_who_did_not_opt_out_is_a_stranger_unless_kept_out(house: House) -> None:
    """An erased person who comes again comes as anybody, or not at all where that was asked."""
    await house.forget(BOB)
    assert await house.send(await house.run(BOB), ACCEPTED) == [BOB]

    done = await house.forget(BOB, suppress=True)

    assert done.kept_out == {Channel.EMAIL: "opt_out"}
    assert await house.send(await house.run(BOB), ACCEPTED) == []


async def test_what_was_still_to_be_sent_is_stopped(house: House) -> None:
    """Also what a sender has claimed already: it may not put it on the wire."""
    waiting, claimed = await house.run(ADA, BOB), await house.run(ADA, BOB)
    lease, ids = await house.claim(claimed)

    done = await house.forget()

    assert (done.messages, done.stopped, done.on_the_wire) == (2, 2, 0)
    granted = await house.ledger.intend(claimed, lease, list(ids.values()))
    assert granted == {ids[BOB]}
    assert await house.send(waiting, ACCEPTED) == [BOB]
    assert await house.counts(waiting) == {"sent": 1, "suppressed": 1}


async def test_what_had_failed_is_not_sent_by_a_redrive(house: House) -> None:
    """There is nobody to send it to any more."""
    run = await house.run(ADA, BOB)
    await house.send(run, REFUSED)
    await house.forget()

    assert await house.ledger.redrive(run, actor="test") == 2

    assert await house.send(run, ACCEPTED) == [BOB]
    assert await house.counts(run) == {"sent": 1, "suppressed": 1}


async def test_a_message_on_the_wire_is_told_of_and_taken_the_next_time(house: House) -> None:
    """What the server will say of it is not known yet."""
    run = await house.run(ADA)
    lease, ids = await house.claim(run)
    await house.ledger.intend(run, lease, list(ids.values()))

    first = await house.forget()
    await house.settle(run, lease, list(ids.values()), ACCEPTED)
    second = await house.forget()

    assert (first.messages, first.on_the_wire) == (0, 1)
    assert (second.messages, second.on_the_wire) == (1, 0)
    assert ADA not in await house.dump()
    assert (await house.ledger.counts(run))[MessageState.SENT] == 1


async def test_a_no_stops_what_a_sender_holds(house: House) -> None:
    """What is claimed is not sent; what is on the wire cannot be called back."""
    later, held, sending = [await house.run(ADA, BOB) for _ in range(3)]
    lease, ids = await house.claim(held)
    wire, gone = await house.claim(sending)
    await house.ledger.intend(sending, wire, list(gone.values()))

    await house.office.suppress(ADA)

    assert await house.ledger.intend(held, lease, list(ids.values())) == {ids[BOB]}
    assert await house.counts(held) == {"sending": 1, "suppressed": 1}
    assert await house.counts(sending) == {"sending": 2}
    assert await house.send(later, ACCEPTED) == [BOB]
    (told,) = await house.office.audited("suppression.added")
    assert told.after["withdrawn"] == 1


async def test_forgetting_while_senders_claim_lets_nobody_slip_through(house: House) -> None:
    """Twelve who opted out are forgotten one by one while run after run to them is claimed."""
    people = [f"u{number}@b.example" for number in range(12)]
    await house.office.suppress(*people)

    async def claim_runs() -> set[str]:
        claimed: set[str] = set()
        for _ in range(8):
            _, ids = await house.claim(await house.run(*people, BOB))
            claimed |= set(ids)
        return claimed

    async def forget_all() -> None:
        for one in people:
            await house.forget(one)

    *claims, _ = await asyncio.gather(claim_runs(), claim_runs(), forget_all())

    assert claims == [{BOB}, {BOB}]
    assert await house.office.suppressed() == []


async def test_forgetting_waits_for_the_claims_under_way(house: House) -> None:
    """A claim that has not seen the hash yet has ended before the suppression goes."""
    if house.database.dialect == "sqlite":
        return  # one writer at a time: a claim is over, or has not begun
    await house.office.suppress(ADA)
    run = await house.run(ADA)
    async with house.database.engine.connect() as claim:
        await claim.execute(text("SELECT id FROM campaign_run FOR SHARE"))
        forgetting = asyncio.create_task(house.forget())
        async with asyncio.timeout(60), house.database.engine.connect() as other:
            waiting = text(
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                " WHERE NOT l.granted AND a.datname = current_database()"
            )
            while not (await other.execute(waiting)).scalar_one():
                assert not forgetting.done()
                await asyncio.sleep(0.01)
            left = await other.execute(text("SELECT count(*) FROM suppression"))
            assert left.scalar_one() == 1
    await forgetting

    assert await house.counts(run) == {"suppressed": 1}


async def test_a_rehearsal_changes_nothing(house: House) -> None:
    """It says what the real thing then does."""
    await settle_in(house)
    before = await house.dump()

    rehearsed = await house.forget(dry_run=True)

    assert await house.dump() == before
    assert await house.forget() == rehearsed


async def test_a_telephone_that_somebody_else_uses_is_left_alone(house: House) -> None:
    """Forgetting one of a family keeps the number and what went to it."""
    async with house.database.write() as session:
        audience = Audience(tenant_id=house.office.tenant_id, name="all", generation=1)
        session.add(audience)
        await session.flush()
        for email in (ADA, BOB):
            session.add(
                RecipientRow(
                    tenant_id=house.office.tenant_id,
                    audience_id=audience.id or 0,
                    generation=1,
                    email=email,
                    phone=PHONE,
                )
            )

    done = await house.forget()

    assert done.addresses == {Channel.EMAIL: ADA}
    (left,) = await house.office.rows(select(RecipientRow.email, RecipientRow.phone))
    assert tuple(left) == (BOB, PHONE)


async def test_another_tenants_data_is_its_own(house: House, other_tenant: int) -> None:
    """The same person at somebody else's."""
    async with house.database.write() as session:
        session.add(Preference(tenant_id=other_tenant, channel="email", address=ADA))

    await house.forget()

    assert await house.office.rows(select(Preference.address)) == [(ADA,)]


def test_the_command_says_what_it_did(ignition: Callable[..., Any]) -> None:
    """In words, and as JSON."""
    rehearsed = ignition("recipient", "forget", BOB, "--tenant", "acme", "--dry-run")
    done = ignition("recipient", "forget", BOB.upper(), "--tenant", "acme", "--suppress", "--json")

    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "This would be done:" in rehearsed.stderr
    assert json.loads(done.stdout) == {
        "addresses": {"email": BOB},
        "recipients": 0,
        "messages": 0,
        "stopped": 0,
        "on_the_wire": 0,
        "traces": {},
        "kept_out": {"email": "opt_out"},
    }
