"""The way of a message on both databases: claimed, intended, settled; what stops it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.errors import NotFoundError
from ignition_ext.ledger import accounts
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import set_run_state
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    LeaseId,
    MessageState,
    Outcome,
    OutcomeKind,
    RunId,
    RunRef,
    RunState,
)

MINUTE = timedelta(minutes=1)
ADA, BOB = "ada@example.com", "bob@example.com"


async def test_an_accepted_message_is_sent_with_its_words(scene: Any, accepted: Any) -> None:
    """The server's code, words and queue id stand in the ledger, and what ended in its events."""
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    state = await scene.settle(run, lease, ids[ADA], accepted("4bGh7"))

    row = (await scene.rows(run))[ADA]
    assert state is MessageState.SENT
    assert (row["code"], row["detail"], row["provider_id"]) == ("250", "queued", "4bGh7")
    assert (row["attempts"], row["failure_class"]) == (1, None)
    assert abs(row["sent_at"] - datetime.now(UTC)) < MINUTE
    assert await scene.events(ids[ADA]) == [("sending", "sent")]
    ((code, detail, attempt, intended, at),) = await scene.execute(
        "SELECT code, detail, attempt, intended_at, at FROM message_event"
    )
    assert (code, detail, attempt) == ("250", "queued", 1)
    assert intended <= at


async def test_a_claimed_message_carries_the_recipient(scene: Any, in_batches: Any) -> None:
    """What the snapshot put in comes out of the claim, whatever its values are."""
    run = await scene.run()
    data = {"name": "Zoë\0 😀 \ud83d", "n": 1.5, "nan": float("nan"), "day": datetime(2026, 1, 2)}
    message = NewMessage(
        channel=Channel.EMAIL,
        address=ADA,
        domain="example.com",
        locale="de-DE",
        timezone="Europe/Berlin",
        data=data,
    )
    await scene.ledger.snapshot(run, in_batches([message]))

    (claimed,) = (await scene.ledger.claim(run, limit=5, lease=MINUTE)).messages

    assert (claimed.address, claimed.domain, claimed.channel) == (ADA, "example.com", Channel.EMAIL)
    assert (claimed.locale, claimed.timezone, claimed.attempts) == ("de-DE", "Europe/Berlin", 0)
    assert claimed.data == {
        "name": "Zoë 😀 ?",
        "n": 1.5,
        "nan": None,
        "day": "2026-01-02 00:00:00",
    }


async def test_a_message_is_claimed_by_one(scene: Any) -> None:
    """What one lease holds, no other gets; the order is the snapshot's."""
    addresses = [f"u{number}@example.com" for number in range(10)]
    run = await scene.run(*addresses)

    _, first = await scene.claim(run, 4)
    _, second = await scene.claim(run, 100)
    empty = await scene.ledger.claim(run, limit=100, lease=MINUTE)

    assert list(first) + list(second) == addresses
    assert empty.messages == []
    assert empty.next_at is None
    assert empty.lapses_at is not None
    assert abs(empty.lapses_at - datetime.now(UTC) - MINUTE) < MINUTE / 2


async def test_only_the_holder_may_intend(scene: Any) -> None:
    """An intent of a stranger, of a lapsed lease, or repeated, is granted nothing."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run)

    assert await scene.ledger.intend(run, LeaseId(uuid4()), [ids[ADA]]) == frozenset()
    assert await scene.ledger.intend(run, lease, [ids[ADA]]) == {ids[ADA]}
    assert await scene.ledger.intend(run, lease, [ids[ADA]]) == frozenset()
    await scene.lapse(run)
    assert await scene.ledger.intend(run, lease, [ids[BOB]]) == frozenset()
    assert await scene.ledger.intend(run, lease, []) == frozenset()


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLED])
async def test_pause_and_cancel_reach_claim_intend_and_renew(scene: Any, state: RunState) -> None:
    """After the operator's word nothing new is claimed or put on the wire."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run, 1)

    await set_run_state(scene.database, run.id, state, reason="test", actor="test")

    refused = await scene.ledger.claim(run, limit=10, lease=MINUTE)
    assert (refused.messages, refused.run_state) == ([], state)
    assert await scene.ledger.intend(run, lease, list(ids.values())) == frozenset()
    assert await scene.ledger.renew(run, lease, MINUTE) is state


async def test_a_paused_run_goes_on_where_it_stood(scene: Any, accepted: Any) -> None:
    """Resuming makes the claimed intendable and the rest claimable again."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run, 1)
    for state in (RunState.PAUSED, RunState.OPEN):
        await set_run_state(scene.database, run.id, state, reason="test", actor="test")

    assert await scene.ledger.intend(run, lease, list(ids.values())) == set(ids.values())
    _, rest = await scene.claim(run)
    assert list(rest) == [BOB]


async def test_a_refusal_is_final(scene: Any, refused: Outcome) -> None:
    """A permanent refusal fails with the server's class."""
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    assert await scene.settle(run, lease, ids[ADA], refused) is MessageState.FAILED

    row = (await scene.rows(run))[ADA]
    assert (row["code"], row["enhanced"], row["failure_class"]) == ("550", "5.1.1", "address")
    assert await scene.ledger.failures(run) == {"address": 1}


async def test_a_deferred_message_waits_by_the_databases_clock(
    scene: Any, deferred: Outcome
) -> None:
    """It is not claimed before its time, and the empty claim says when that is."""
    scene.retry = StandardRetry(strategy="fixed", attempts=3, base=MINUTE)
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    assert await scene.settle(run, lease, ids[ADA], deferred) is MessageState.DEFERRED

    empty = await scene.ledger.claim(run, limit=10, lease=MINUTE)
    assert empty.messages == []
    assert abs(empty.next_at - datetime.now(UTC) - MINUTE) < MINUTE / 2
    assert await scene.ledger.failures(run) == {"system": 1}


async def test_an_absurd_wait_is_cut(scene: Any, deferred: Outcome) -> None:
    """A server may name any time: the message still falls due some day, and its batch is stored."""
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    state = await scene.settle(run, lease, ids[ADA], deferred._replace(retry_after=timedelta.max))

    assert state is MessageState.DEFERRED
    again = await scene.ledger.claim(run, limit=1, lease=timedelta(minutes=1))
    assert again.messages == []
    assert timedelta(days=1) < again.next_at - datetime.now(UTC) < timedelta(days=400)


async def test_many_suppressed_ones_are_passed_in_short_transactions(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many stand in front, the claim finds who may be written to."""
    monkeypatch.setattr(accounts, "CHUNK", 2)
    addresses = [f"u{number}@example.com" for number in range(9)]
    run = await scene.run(*addresses)
    for address in addresses[:8]:
        await scene.suppress(address)

    _, ids = await scene.claim(run, limit=1)

    assert list(ids) == addresses[8:]
    assert (await scene.ledger.counts(run))[MessageState.SUPPRESSED] == 8
    assert (await scene.claim(run, limit=1))[1] == {}


async def test_attempts_used_up_fail_with_the_last_words(scene: Any, deferred: Outcome) -> None:
    """The policy's attempts are all there are; code and words of the last stay."""
    run = await scene.run(ADA)
    for attempt in range(1, 4):
        lease, ids = await scene.sending(run)
        state = await scene.settle(run, lease, ids[ADA], deferred)
        assert state is (MessageState.DEFERRED if attempt < 3 else MessageState.FAILED)

    row = (await scene.rows(run))[ADA]
    assert (row["attempts"], row["code"], row["failure_class"]) == (3, "451", "attempts")
    assert row["detail"] == "try later"


async def test_a_throttled_message_is_not_charged(scene: Any) -> None:
    """A server that judges nothing uses up nothing."""
    throttled = Outcome(
        kind=OutcomeKind.DEFERRED,
        code="0x00000058",
        failure_class=FailureClass.THROTTLED,
        charges_attempt=False,
    )
    run = await scene.run(ADA)
    for _ in range(5):
        lease, ids = await scene.sending(run)
        assert await scene.settle(run, lease, ids[ADA], throttled) is MessageState.DEFERRED

    assert (await scene.rows(run))[ADA]["attempts"] == 0


async def test_a_message_that_cannot_be_rendered_fails_unsent(scene: Any) -> None:
    """claimed -> failed, without an attempt."""
    broken = Outcome(kind=OutcomeKind.REJECTED, text="no 'x'", failure_class=FailureClass.RENDER)
    run = await scene.run(ADA)
    lease, ids = await scene.claim(run)

    assert await scene.settle(run, lease, ids[ADA], broken) is MessageState.FAILED
    assert (await scene.rows(run))[ADA]["attempts"] == 0


async def test_an_unsent_message_is_pending_again(scene: Any) -> None:
    """Proved unsent: no attempt, and at once claimable."""
    unsent = Outcome(kind=OutcomeKind.UNSENT, text="link lost before the last byte")
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    assert await scene.settle(run, lease, ids[ADA], unsent) is MessageState.PENDING
    assert (await scene.rows(run))[ADA]["attempts"] == 0
    assert list((await scene.claim(run))[1]) == [ADA]


async def test_suppression_is_decided_at_the_claim(scene: Any, accepted: Any) -> None:
    """An address suppressed after the snapshot is not claimed, and leaves its room to others."""
    addresses = [f"u{number}@example.com" for number in range(6)]
    run = await scene.run(*addresses)
    for address in addresses[:4]:
        await scene.suppress(address)
    await scene.suppress(addresses[5], Channel.SMS)

    _, ids = await scene.claim(run, 2)

    assert list(ids) == addresses[4:]
    row = (await scene.rows(run))[addresses[0]]
    assert (row["state"], row["detail"]) == ("suppressed", "on the suppression list: opt_out")


async def test_release_returns_what_is_claimed_only(scene: Any) -> None:
    """A stopping sender gives back what it has not put on the wire."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.claim(run)
    await scene.ledger.intend(run, lease, [ids[ADA]])

    assert await scene.ledger.release(run, lease) == 1
    assert await scene.states(run) == {ADA: "sending", BOB: "pending"}
    assert await scene.ledger.release(run, lease) == 0


async def test_cancel_settles_what_is_open(scene: Any, accepted: Any) -> None:
    """Pending, claimed and deferred are cancelled; what is on the wire tells its own end."""
    run = await scene.run(ADA, BOB, "carl@example.com")
    lease, ids = await scene.claim(run, 2)
    await scene.ledger.intend(run, lease, [ids[ADA]])

    assert await scene.ledger.cancel_open(run, MessageState.CANCELLED) == 2
    assert await scene.ledger.cancel_open(run, MessageState.CANCELLED) == 0
    assert await scene.ledger.intend(run, lease, [ids[BOB]]) == frozenset()
    assert await scene.settle(run, lease, ids[ADA], accepted()) is MessageState.SENT
    with pytest.raises(ValueError, match="not sent"):
        await scene.ledger.cancel_open(run, MessageState.SENT)


async def test_a_run_past_its_deadline_expires(scene: Any) -> None:
    """The claim that finds the deadline passed yields nothing and expires what is open."""
    run = await scene.run(ADA, BOB, deadline=timedelta(milliseconds=-1))

    lease = await scene.ledger.claim(run, limit=10, lease=MINUTE)

    assert (lease.messages, lease.next_at) == ([], None)
    assert set((await scene.states(run)).values()) == {"expired"}


async def test_nothing_goes_out_past_the_deadline(scene: Any) -> None:
    """What was claimed in time is not put on the wire too late."""
    run = await scene.run(ADA, deadline=MINUTE)
    lease, ids = await scene.claim(run)
    await scene.execute("UPDATE campaign_run SET deadline = created_at")

    assert await scene.ledger.intend(run, lease, [ids[ADA]]) == frozenset()


async def test_a_turn_settles_and_intends(scene: Any, accepted: Any, refused: Outcome) -> None:
    """Usual and other results with the next intents, all in one call."""
    addresses = [f"u{number}@example.com" for number in range(6)]
    run = await scene.run(*addresses)
    lease, claimed = await scene.claim(run)
    ids = list(claimed.values())
    await scene.ledger.intend(run, lease, ids[:4])
    outcomes = [accepted("A"), refused, accepted("B")]
    deliveries = [
        Delivery(message_id=key, outcome=outcome)
        for key, outcome in zip(ids, outcomes, strict=False)
    ]

    states, granted = await scene.ledger.turn(run, lease, deliveries, [ids[4], ids[3]], scene.retry)

    assert states == {ids[0]: "sent", ids[1]: "failed", ids[2]: "sent"}
    assert granted == {ids[4]}
    rows = await scene.rows(run)
    assert [rows[address]["provider_id"] for address in addresses[:3]] == ["A", "", "B"]
    assert [rows[address]["state"] for address in addresses[3:]] == [
        "sending",
        "sending",
        "claimed",
    ]


async def test_a_turn_with_a_late_result_still_intends(scene: Any, accepted: Any) -> None:
    """One that is settled already does not keep the others from their ways."""
    run = await scene.run(ADA, BOB, "carl@example.com")
    lease, ids = await scene.claim(run)
    await scene.ledger.intend(run, lease, [ids[ADA], ids[BOB]])
    await scene.settle(run, lease, ids[ADA], accepted("first"))
    deliveries = [Delivery(message_id=ids[name], outcome=accepted(name)) for name in (ADA, BOB)]

    states, granted = await scene.ledger.turn(
        run, lease, deliveries, [ids["carl@example.com"]], scene.retry
    )

    assert set(states.values()) == {MessageState.SENT}
    assert granted == {ids["carl@example.com"]}
    rows = await scene.rows(run)
    assert [rows[name]["provider_id"] for name in (ADA, BOB)] == ["first", BOB]


@pytest.mark.parametrize(
    "words",
    [["a\x1fb", "c"], ["", "x"], ["\x1f", ""], ["é\0", "z" * 600], ["same", "same"]],
    ids=["separator", "empty", "only-separator", "odd-and-long", "same"],
)
async def test_words_of_a_batch_stay_with_their_message(scene: Any, words: list[str]) -> None:
    """However they look, none slips to another message."""
    run = await scene.run(ADA, BOB)
    lease, ids = await scene.sending(run)
    deliveries = [
        Delivery(
            message_id=ids[name],
            outcome=Outcome(kind=OutcomeKind.ACCEPTED, code=name[:3], text=text, provider_id=text),
        )
        for name, text in zip((ADA, BOB), words, strict=True)
    ]

    await scene.ledger.settle(run, lease, deliveries, scene.retry)

    rows = await scene.rows(run)
    for name, text in zip((ADA, BOB), words, strict=True):
        shown = text.replace("\0", "")
        allowed = {shown[:500], shown[:500].replace("\x1f", " ")}
        assert rows[name]["detail"] in allowed
        assert rows[name]["code"] == name[:3]


async def test_a_redrive_revives_what_failed(scene: Any, refused: Outcome, accepted: Any) -> None:
    """All or one class, from attempt 0, due at once, and audited."""
    run = await scene.run(ADA, BOB, "carl@example.com")
    lease, ids = await scene.sending(run)
    await scene.settle(run, lease, ids[ADA], refused)
    policy = refused._replace(failure_class=FailureClass.POLICY)
    await scene.settle(run, lease, ids[BOB], policy)
    await scene.settle(run, lease, ids["carl@example.com"], accepted())

    redrive = scene.ledger.redrive
    assert await redrive(run, failure_class=FailureClass.POLICY, actor="jane") == 1
    assert await scene.states(run) == {ADA: "failed", BOB: "pending", "carl@example.com": "sent"}
    assert await redrive(run, actor="jane") == 1
    assert await redrive(run, actor="jane") == 0

    assert (await scene.events(ids[ADA]))[-1] == ("failed", "pending")
    assert (await scene.rows(run))[ADA]["attempts"] == 0
    assert set((await scene.claim(run))[1]) == {ADA, BOB}
    audited = await scene.execute("SELECT actor FROM audit_log WHERE action = 'run.redriven'")
    assert [row[0] for row in audited] == ["jane"] * 2


async def test_a_run_is_open_while_something_waits_or_is_leased(scene: Any, accepted: Any) -> None:
    """Until the last lease is given back."""
    run = await scene.run(ADA)
    assert await scene.ledger.is_open(run)
    lease, ids = await scene.sending(run)
    await scene.settle(run, lease, ids[ADA], accepted())
    assert await scene.ledger.is_open(run)

    await scene.ledger.release(run, lease)

    assert not await scene.ledger.is_open(run)


async def test_settling_twice_changes_nothing(scene: Any, accepted: Any, refused: Outcome) -> None:
    """A result that comes again, or another one after the end, is not an event."""
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)
    for outcome in (accepted("1"), accepted("2"), refused):
        assert await scene.settle(run, lease, ids[ADA], outcome) is MessageState.SENT

    assert (await scene.rows(run))[ADA]["provider_id"] == "1"


async def test_a_servers_words_never_break_the_books(scene: Any) -> None:
    """NUL, lone surrogates and endless text are stored as far as columns go."""
    odd = Outcome(
        kind=OutcomeKind.REJECTED,
        code="5" * 99,
        enhanced="5" * 99,
        text="\0x\ud83d" * 999,
        provider_id="é" * 999,
    )
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)

    assert await scene.settle(run, lease, ids[ADA], odd) is MessageState.FAILED
    assert (await scene.rows(run))[ADA]["detail"] == ("x?" * 250)


async def test_a_delivery_stands_once_in_a_batch(scene: Any, accepted: Any) -> None:
    """Two results of one message in one batch are a mistake of the caller."""
    run = await scene.run(ADA)
    lease, ids = await scene.sending(run)
    delivery = Delivery(message_id=ids[ADA], outcome=accepted())

    with pytest.raises(ValueError, match="twice"):
        await scene.ledger.settle(run, lease, [delivery, delivery], scene.retry)
    assert await scene.ledger.settle(run, lease, [], scene.retry) == {}


async def test_an_unknown_run_is_named(scene: Any) -> None:
    """A claim in a run that does not exist says so."""
    ghost = RunRef(id=RunId(uuid4()), run_at=datetime.now(UTC), tenant_id=scene.tenant_id)

    with pytest.raises(NotFoundError, match=str(ghost.id)):
        await scene.ledger.claim(ghost, limit=1, lease=MINUTE)
    assert sum((await scene.ledger.counts(ghost)).values()) == 0


async def test_messages_are_listed_in_pages_and_by_state(scene: Any, refused: Outcome) -> None:
    """Every message once, in a stable order, also when pages are small."""
    addresses = [f"u{number}@example.com" for number in range(7)]
    run = await scene.run(*addresses)
    lease, ids = await scene.sending(run)
    await scene.settle(run, lease, ids[addresses[3]], refused)

    pages = [page async for page in scene.ledger.messages(run.id, batch=3)]
    failed = [
        page async for page in scene.ledger.messages(run.id, states=[MessageState.FAILED], batch=3)
    ]

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [row["address"] for page in pages for row in page] == addresses
    assert [row["address"] for page in failed for row in page] == [addresses[3]]
