"""The ledger as a state machine: senders that crash, lag and race, an operator, an SMSC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from ignition_ext.database import Database
from ignition_ext.errors import ConflictError
from ignition_ext.ledger.contract import SmsReceipt
from ignition_ext.ledger.rules import MAX_RESENDS
from ignition_ext.ledger.runs import set_run_state
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
    RunState,
)

PHONES = [f"+49170000000{number}" for number in range(8)]
BIND = "127.0.0.1:2775/acme"
SENDERS = st.integers(0, 2)
RARELY = st.integers(0, 9)
"""Zero means yes: after a stop nothing happens any more, so few examples may have one."""
THOROUGH = settings.get_current_profile_name() == "ci"
FINAL = {"sent", "delivered", "failed", "suppressed", "cancelled", "expired"}


class Sender:
    """What one sender believes; it may be wrong, for its lease may have lapsed."""

    def __init__(self, lease: LeaseId, ids: list[MessageId]) -> None:
        self.lease, self.claimed = lease, ids
        self.wire: list[MessageId] = []


class LedgerMachine(RuleBasedStateMachine):
    """Drives one run at a time; the database stays, each example has a run of its own."""

    scene: Any
    runner: asyncio.Runner

    @initialize(guarantee=st.sampled_from(Guarantee), limit=st.sampled_from([None, None, 5]))
    def open(self, guarantee: Guarantee, limit: int | None) -> None:
        self.guarantee = guarantee
        self.expected = min(limit or len(PHONES), len(PHONES))
        self.senders: dict[int, Sender] = {}
        self.late: list[Sender] = []
        self.alive: dict[LeaseId, set[MessageId]] = {}
        self.copies: dict[MessageId, int] = {}
        self.over: dict[str, str] = {}
        self.clear()
        self.run_ref = self.wait(
            self.scene.run(*PHONES, channel=Channel.SMS, guarantee=guarantee, max_messages=limit)
        )

    def wait(self, awaitable: Any) -> Any:
        return self.runner.run(awaitable)

    def clear(self) -> None:
        self.wait(self.scene.execute("DELETE FROM suppression"))

    @rule()
    def snapshot_again(self) -> None:
        self.wait(self.scene.snapshot(self.run_ref, *PHONES[::-1], channel=Channel.SMS))

    @rule(number=SENDERS, limit=st.integers(1, 4))
    def claim(self, number: int, limit: int) -> None:
        if number in self.senders:
            self.late.append(self.senders.pop(number))
        lease, ids = self.wait(self.scene.claim(self.run_ref, limit))
        held = set(ids.values())
        for other in self.alive.values():
            assert not held & other, "a message is in two live leases"
        self.alive[lease] = held
        self.senders[number] = Sender(lease, list(ids.values()))

    @rule(number=SENDERS, count=st.integers(1, 4))
    def intend(self, number: int, count: int) -> None:
        sender = self.senders.get(number)
        if sender is None:
            return
        asked = sender.claimed[:count]
        granted = self.wait(self.scene.ledger.intend(self.run_ref, sender.lease, asked))
        # What a paused run refuses stays claimed, and is returned by a release.
        sender.claimed = [message for message in sender.claimed if message not in granted]
        assert granted <= self.alive.get(sender.lease, set()), "a dead lease may send"
        sender.wire.extend(granted)
        for message in granted:
            self.copies[message] = self.copies.get(message, 0) + 1
            if self.guarantee is Guarantee.AT_MOST_ONCE:
                assert self.copies[message] == 1, "a copy may be out already"

    @rule(number=SENDERS, kinds=st.lists(st.sampled_from(OutcomeKind), min_size=1, max_size=4))
    def settle(self, number: int, kinds: list[OutcomeKind]) -> None:
        if number in self.senders:
            self.report(self.senders[number], kinds)

    @rule(kinds=st.lists(st.sampled_from(OutcomeKind), min_size=1, max_size=4))
    def settle_late(self, kinds: list[OutcomeKind]) -> None:
        if self.late:
            self.report(self.late[-1], kinds)

    def report(self, sender: Sender, kinds: list[OutcomeKind]) -> None:
        done, sender.wire = sender.wire[: len(kinds)], sender.wire[len(kinds) :]
        deliveries = [delivery(message, kind) for message, kind in zip(done, kinds, strict=False)]
        self.wait(
            self.scene.ledger.settle(
                self.run_ref, sender.lease, deliveries, self.scene.retry, bind=BIND
            )
        )
        for report in deliveries:
            self.alive.get(sender.lease, set()).discard(report.message_id)
            if report.outcome.kind in (OutcomeKind.UNSENT, OutcomeKind.DEFERRED):
                self.copies[report.message_id] -= 1

    @rule(number=SENDERS)
    def send(self, number: int) -> None:
        """The way that most examples must go, so that what comes after it is reached."""
        self.operate(RunState.OPEN)
        self.claim(number, len(PHONES))
        self.intend(number, len(PHONES))

    @rule(number=SENDERS)
    def die_on_the_wire(self, number: int) -> None:
        self.send(number)
        self.late.append(self.senders.pop(number))
        self.lapse(recover=True)

    @rule(number=SENDERS)
    def crash(self, number: int) -> None:
        self.senders.pop(number, None)

    @rule(number=SENDERS)
    def release(self, number: int) -> None:
        if number in self.senders:
            sender = self.senders[number]
            self.wait(self.scene.ledger.release(self.run_ref, sender.lease))
            self.alive.get(sender.lease, set()).difference_update(sender.claimed)
            sender.claimed = []

    @rule(recover=st.booleans())
    def lapse(self, recover: bool) -> None:
        self.wait(self.scene.lapse(self.run_ref))
        self.alive.clear()
        if recover:
            self.wait(self.scene.ledger.recover(self.run_ref))

    @rule(state=st.sampled_from([RunState.PAUSED, RunState.OPEN, RunState.OPEN]))
    def steer(self, state: RunState) -> None:
        self.operate(state)

    @rule(end=st.sampled_from([MessageState.CANCELLED, MessageState.EXPIRED]), luck=RARELY)
    def stop(self, end: MessageState, luck: int) -> None:
        if luck:
            return
        if end is MessageState.CANCELLED:
            self.operate(RunState.CANCELLED)
        self.wait(self.scene.ledger.cancel_open(self.run_ref, end))

    def operate(self, state: RunState) -> None:
        try:
            self.wait(
                set_run_state(self.scene.database, self.run_ref.id, state, reason="", actor="test")
            )
        except ConflictError:
            assert state is not RunState.CANCELLED

    @rule(phone=st.sampled_from(PHONES[:2]))
    def suppress(self, phone: str) -> None:
        known = self.wait(
            self.scene.execute("SELECT 1 FROM suppression WHERE address = :phone", phone=phone)
        )
        if not known:
            self.wait(self.scene.suppress(phone, Channel.SMS))

    @rule(
        phone=st.sampled_from(PHONES),
        told=st.sampled_from([None, MessageState.DELIVERED, MessageState.FAILED]),
    )
    def receive(self, phone: str, told: MessageState | None) -> None:
        rows = self.wait(self.scene.rows(self.run_ref))
        if phone not in rows:
            return
        receipt = SmsReceipt(
            bind=BIND,
            provider_id=provider_id(rows[phone]["message_id"]),
            state=told,
            status="",
            code="",
            destination=phone,
            raw="",
        )
        self.wait(self.scene.ledger.receive([receipt]))

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "run_ref"):
            return
        self.wait(self.scene.check(self.run_ref))
        rows = self.wait(self.scene.rows(self.run_ref))
        assert len(rows) == self.expected, "a second snapshot added something"
        resends = self.wait(
            self.scene.execute(
                "SELECT max(resends) FROM message WHERE run_id = :run",
                run=self.scene.key(self.run_ref.id),
            )
        )
        assert resends[0][0] <= MAX_RESENDS
        for phone, row in rows.items():
            assert row["attempts"] <= self.scene.retry.attempts
            if self.over.get(phone) in ("delivered", "suppressed", "cancelled", "expired"):
                assert row["state"] == self.over[phone]
            if row["state"] in FINAL:
                self.over[phone] = row["state"]


def provider_id(message: UUID) -> str:
    return message.hex[-16:]


def delivery(message: MessageId, kind: OutcomeKind) -> Delivery:
    key = provider_id(message) if kind is OutcomeKind.ACCEPTED else ""
    outcome = Outcome(kind=kind, code="1", text=kind, provider_id=key)
    part = PartOutcome(part=1, parts=1, outcome=outcome)
    return Delivery(message_id=message, outcome=outcome, parts=(part,))


@pytest.mark.timeout(600)
def test_the_books_are_right_whatever_happens(
    database_url: str, make_scene: Callable[[Database], Any]
) -> None:
    """No message in two leases, no copy too many, no event outside the list, sums always right."""
    with asyncio.Runner() as runner:
        database = Database(database_url)
        LedgerMachine.runner = runner
        LedgerMachine.scene = runner.run(make_scene(database))
        try:
            run_state_machine_as_test(
                LedgerMachine,
                settings=settings(
                    max_examples=100 if THOROUGH else 20,
                    stateful_step_count=50 if THOROUGH else 25,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(database.close())
