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

PHONES = [f"+49170000000{number}" for number in range(6)]
BIND = "127.0.0.1:2775/acme"
SENDERS = st.integers(0, 2)
KINDS = st.lists(st.sampled_from(OutcomeKind), min_size=1, max_size=3)
COUNTS = st.integers(1, 2)
"""Few at a time: who takes all leaves nothing for the rules that come after."""
RARELY = st.integers(0, 9)
"""Zero means yes: after a stop nothing happens any more, so few examples may have one."""
THOROUGH = settings.get_current_profile_name() == "ci"
FINAL = {"sent", "delivered", "failed", "suppressed", "cancelled", "expired"}
TOLD = st.sampled_from([None, MessageState.DELIVERED, MessageState.FAILED])
STOPS = [MessageState.CANCELLED, MessageState.EXPIRED]
ENDS = {"delivered", "suppressed", "cancelled", "expired"}


class Sender:
    """What one sender believes; it may be wrong, for its lease may have lapsed."""

    def __init__(self, lease: LeaseId, ids: list[MessageId]) -> None:
        self.lease, self.claimed = lease, ids
        self.wire: list[MessageId] = []
        self.sent: list[MessageId] = []


class LedgerMachine(RuleBasedStateMachine):
    """Drives one run at a time; the database stays, each example has a run of its own."""

    scene: Any
    runner: asyncio.Runner

    @initialize(
        guarantee=st.sampled_from(Guarantee),
        limit=st.sampled_from([None, None, 4]),
        first=st.lists(st.sampled_from(OutcomeKind), min_size=2, max_size=2),
        end=st.sampled_from([None, *STOPS]),
    )
    def open(
        self,
        guarantee: Guarantee,
        limit: int | None,
        first: list[OutcomeKind],
        end: MessageState | None,
    ) -> None:
        """Every example begins in the middle: two are settled, a third is on the wire."""
        self.end = end
        self.guarantee = guarantee
        self.expected = min(limit or len(PHONES), len(PHONES))
        self.state = RunState.OPEN
        self.suppressed: set[str] = set()
        self.senders: dict[int, Sender] = {}
        self.late: list[Sender] = []
        self.alive: dict[LeaseId, set[MessageId]] = {}
        self.copies: dict[MessageId, int] = {}
        self.over: dict[str, str] = {}
        self.is_redriven = False
        self.clear()
        self.run_ref = self.wait(
            self.scene.run(*PHONES, channel=Channel.SMS, guarantee=guarantee, max_messages=limit)
        )
        self.send(0, 3)
        self.report(self.senders[0], first)

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
        assert not ids or self.state is RunState.OPEN, "a stopped run yields messages"
        assert not self.suppressed.intersection(ids), "a suppressed address is claimed"
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
        self.ask(sender, sender.claimed[:count])

    @rule(number=SENDERS, other=SENDERS)
    def intend_what_another_holds(self, number: int, other: int) -> None:
        if number in self.senders and other in self.senders:
            self.ask(self.senders[number], list(self.senders[other].claimed))

    def ask(self, sender: Sender, asked: list[MessageId]) -> None:
        self.granted(sender, self.wait(self.scene.ledger.intend(self.run_ref, sender.lease, asked)))

    def granted(self, sender: Sender, granted: frozenset[MessageId]) -> None:
        assert not granted or self.state is RunState.OPEN, "a stopped run sends"
        # What a paused run refuses stays claimed, and is returned by a release.
        sender.claimed = [message for message in sender.claimed if message not in granted]
        assert granted <= self.alive.get(sender.lease, set()), "a dead lease may send"
        sender.wire.extend(granted)
        sender.sent.extend(granted)
        for message in granted:
            self.copies[message] = self.copies.get(message, 0) + 1
            if self.guarantee is Guarantee.AT_MOST_ONCE:
                assert self.copies[message] == 1, "a copy may be out already"

    @rule(number=SENDERS, kinds=KINDS)
    def settle(self, number: int, kinds: list[OutcomeKind]) -> None:
        if number in self.senders:
            self.report(self.senders[number], kinds)

    @rule(back=st.integers(1, 3), kinds=KINDS)
    def settle_late(self, back: int, kinds: list[OutcomeKind]) -> None:
        if len(self.late) >= back:
            self.report(self.late[-back], kinds)

    @rule(kind=st.sampled_from([OutcomeKind.ACCEPTED, *OutcomeKind]))
    def settle_again(self, kind: OutcomeKind) -> None:
        """All that was told is told a second time, perhaps with other words than the first."""
        for sender in [*self.late, *self.senders.values()]:
            told = [message for message in sender.sent if message not in sender.wire]
            self.store(sender, told, [kind] * len(told))

    def report(self, sender: Sender, kinds: list[OutcomeKind]) -> None:
        done, sender.wire = sender.wire[: len(kinds)], sender.wire[len(kinds) :]
        self.store(sender, done, kinds)
        for kind, message in zip(kinds, done, strict=False):
            self.left(sender, message, kind)

    def left(self, sender: Sender, message: MessageId, kind: OutcomeKind) -> None:
        self.alive.get(sender.lease, set()).discard(message)
        if kind in (OutcomeKind.UNSENT, OutcomeKind.DEFERRED):
            self.copies[message] -= 1

    def store(self, sender: Sender, messages: list[MessageId], kinds: list[OutcomeKind]) -> None:
        deliveries = [
            delivery(message, kind) for message, kind in zip(messages, kinds, strict=False)
        ]
        states = self.wait(
            self.scene.ledger.settle(
                self.run_ref, sender.lease, deliveries, self.scene.retry, bind=BIND
            )
        )
        for report in deliveries:
            if report.outcome.kind is OutcomeKind.ACCEPTED:
                assert states[report.message_id] in FINAL, "what arrived may be sent again"

    @rule(number=SENDERS, kinds=KINDS, count=COUNTS)
    def turn(self, number: int, kinds: list[OutcomeKind], count: int) -> None:
        """As a transport at full speed: some are told, others asked for, in one call."""
        self.send(number, len(kinds) + count)
        sender = self.senders[number]
        done, sender.wire = sender.wire[: len(kinds)], sender.wire[len(kinds) :]
        self.claim((number + 1) % 3, count)
        asked = [*sender.claimed[:count], *self.senders[(number + 1) % 3].claimed]
        deliveries = [delivery(key, kind) for key, kind in zip(done, kinds, strict=False)]
        states, granted = self.wait(
            self.scene.ledger.turn(
                self.run_ref, sender.lease, deliveries, asked, self.scene.retry, bind=BIND
            )
        )
        assert set(states) == set(done)
        self.granted(sender, granted)
        for report in deliveries:
            self.left(sender, report.message_id, report.outcome.kind)

    @rule(number=SENDERS, times=st.integers(1, 5))
    def refuse_for_now(self, number: int, times: int) -> None:
        """One message, tried again and again, until its attempts are used up."""
        for _ in range(times):
            self.send(number, 1)
            self.report(self.senders[number], [OutcomeKind.DEFERRED])

    @rule()
    def redrive(self) -> None:
        rows = self.wait(self.scene.rows(self.run_ref))
        failed = {phone: row for phone, row in rows.items() if row["state"] == "failed"}
        assert self.wait(self.scene.ledger.redrive(self.run_ref, actor="test")) == len(failed)
        self.is_redriven = True
        for phone, row in failed.items():
            self.over.pop(phone, None)
            self.copies[row["message_id"]] = 0
            # Claimed again, and then refused by what an older sender said late, it is nobody's.
            for held in self.alive.values():
                held.discard(row["message_id"])

    @rule(number=SENDERS, count=COUNTS)
    def send(self, number: int, count: int) -> None:
        """The way that most examples must go, so that what comes after it is reached."""
        self.operate(RunState.OPEN)
        self.claim(number, count)
        self.intend(number, count)

    @rule(number=SENDERS, kinds=KINDS)
    def send_and_settle(self, number: int, kinds: list[OutcomeKind]) -> None:
        self.send(number, len(kinds))
        self.report(self.senders[number], kinds)

    @rule(number=SENDERS, count=COUNTS, times=st.integers(1, MAX_RESENDS + 1))
    def die_on_the_wire(self, number: int, count: int, times: int) -> None:
        for _ in range(times):
            self.send(number, count)
            self.late.append(self.senders.pop(number))
            self.lapse(recover=True)

    @rule(number=SENDERS, first=st.sampled_from(OutcomeKind), kinds=KINDS)
    def die_and_tell_late(self, number: int, first: OutcomeKind, kinds: list[OutcomeKind]) -> None:
        """A lapse, perhaps a second sender on its way, and then the word of the first, twice."""
        self.die_on_the_wire(number, 1, 1)
        self.claim(number, 1)
        self.report(self.late[-1], [first])
        self.store(self.late[-1], self.late[-1].sent, kinds)

    @rule(number=SENDERS, state=st.sampled_from([RunState.PAUSED, RunState.OPEN]))
    def steer_between_claim_and_intent(self, number: int, state: RunState) -> None:
        self.operate(RunState.OPEN)
        self.claim(number, 1)
        self.operate(state)
        self.intend(number, 1)
        self.claim((number + 1) % 3, 1)

    @rule(number=SENDERS)
    def intend_after_the_lapse(self, number: int) -> None:
        self.operate(RunState.OPEN)
        self.claim(number, 1)
        self.lapse(recover=False)
        self.intend(number, 1)

    @rule(number=SENDERS, other=SENDERS)
    def claim_what_another_holds(self, number: int, other: int) -> None:
        """Two claims without a word between them: the second gets what the first left."""
        self.operate(RunState.OPEN)
        self.claim(number, 2)
        self.claim(other, 2)
        self.intend_what_another_holds(other, number)

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

    @rule(end=st.sampled_from(STOPS), luck=RARELY)
    def stop_early(self, end: MessageState, luck: int) -> None:
        if not luck:
            self.stop(end)

    def stop(self, end: MessageState) -> None:
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
        else:
            self.state = state

    @rule(phone=st.sampled_from(PHONES[:2]))
    def suppress(self, phone: str) -> None:
        if phone not in self.suppressed:
            self.wait(self.scene.suppress(phone, Channel.SMS))
            self.suppressed.add(phone)

    @rule(place=st.integers(0, len(PHONES) - 1), told=st.lists(TOLD, min_size=1, max_size=3))
    def receive(self, place: int, told: list[MessageState | None]) -> None:
        """Receipts for one message, one after the other: the first final one decides."""
        rows = self.wait(self.scene.rows(self.run_ref))
        before = {phone: row["state"] for phone, row in rows.items()}
        phones = [phone for phone in rows if before[phone] == "sent"] or list(rows)
        phone = phones[place % len(phones)]
        for state in told:
            receipt = SmsReceipt(
                bind=BIND,
                provider_id=provider_id(rows[phone]["message_id"]),
                state=state,
                status="",
                code="",
                destination=phone,
                raw="",
            )
            self.wait(self.scene.ledger.receive([receipt]))
        final = next((state for state in told if state is not None), "sent")
        if before[phone] == "sent":
            now = self.wait(self.scene.states(self.run_ref))[phone]
            assert now == final, "a receipt is lost, or taken back"

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "run_ref"):
            return
        self.wait(self.scene.check(self.run_ref))
        rows = self.wait(
            self.scene.execute(
                "SELECT address, state, attempts, resends FROM message WHERE run_id = :run",
                run=self.scene.key(self.run_ref.id),
            )
        )
        assert len(rows) == self.expected, "a second snapshot added something"
        for phone, state, attempts, resends in rows:
            assert attempts <= self.scene.retry.attempts
            assert resends <= MAX_RESENDS
            if self.over.get(phone) in ENDS:
                assert state == self.over[phone]
            if state in FINAL:
                self.over[phone] = state
        changes = self.wait(self.changes())
        assert self.is_redriven or ("failed", "pending") not in changes, "only a redrive may"
        if self.guarantee is Guarantee.AT_MOST_ONCE:
            assert ("uncertain", "pending") not in changes, "a copy may be out already"

    async def changes(self) -> set[tuple[str, str]]:
        rows = await self.scene.execute(
            "SELECT DISTINCT e.old_state, e.new_state FROM message_event e"
            " JOIN message m ON m.id = e.message_id WHERE m.run_id = :run",
            run=self.scene.key(self.run_ref.id),
        )
        return {(row[0], row[1]) for row in rows}

    def teardown(self) -> None:
        """Whatever happened, a sender that lives gets the run done, or a stop does: nothing is
        lost, and what old senders say then takes nothing back."""
        if not hasattr(self, "run_ref"):
            return
        self.send(0, 2)
        self.report(self.senders[0], [OutcomeKind.UNSENT, OutcomeKind.DEFERRED])
        if self.end is not None:
            self.stop(self.end)
        self.lapse(recover=False)
        self.operate(RunState.OPEN)
        for _ in PHONES:
            self.claim(0, len(PHONES))
            self.ask(self.senders[0], list(self.senders[0].claimed))
            self.report(self.senders[0], [OutcomeKind.ACCEPTED] * len(PHONES))
        if self.state is RunState.CANCELLED:
            self.wait(self.scene.ledger.cancel_open(self.run_ref, MessageState.CANCELLED))
        self.books_are_right()
        self.settle_again(OutcomeKind.ACCEPTED)
        self.books_are_right()
        left = set(self.wait(self.scene.states(self.run_ref)).values())
        assert left <= FINAL | {"uncertain"}, "a message is lost"


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
                    max_examples=100 if THOROUGH else 40,
                    stateful_step_count=30 if THOROUGH else 20,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(database.close())
