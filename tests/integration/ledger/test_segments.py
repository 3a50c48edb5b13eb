"""Segments of SMS and their receipts: partly accepted, early, late, double, in any spelling."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from ignition_ext.ledger.contract import SmsReceipt
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    Guarantee,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
)

BIND = "127.0.0.1:2775/acme"
PHONE = "+4917012345678"
THROTTLED = Outcome(
    kind=OutcomeKind.DEFERRED, code="0x00000058", failure_class=FailureClass.THROTTLED
)
REFUSED = Outcome(
    kind=OutcomeKind.REJECTED, code="0x0000000B", text="bad", failure_class=FailureClass.ADDRESS
)
UNSENT = Outcome(kind=OutcomeKind.UNSENT)
UNKNOWN = Outcome(kind=OutcomeKind.UNCERTAIN, text="no response")


def receipt(
    provider_id: str,
    state: MessageState | None = MessageState.DELIVERED,
    *,
    destination: str = "4917012345678",
    bind: str = BIND,
    id_format: str = "auto",
) -> SmsReceipt:
    names = {MessageState.DELIVERED: "DELIVRD", MessageState.FAILED: "UNDELIV", None: "ENROUTE"}
    status = names.get(state, "EXPIRED")
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


async def sent(scene: Any, *ids: str, guarantee: Guarantee = Guarantee.AT_MOST_ONCE) -> Any:
    """A run with one SMS, accepted in as many parts as ids are given."""
    run, lease, message = await sending(scene, guarantee)
    parts = [Outcome(kind=OutcomeKind.ACCEPTED, code="0x00000000", provider_id=key) for key in ids]
    assert await scene.settle(run, lease, message, parts[0], *parts) is not None
    return run


async def sending(scene: Any, guarantee: Guarantee = Guarantee.AT_MOST_ONCE) -> Any:
    run = await scene.run(PHONE, channel=Channel.SMS, guarantee=guarantee)
    lease, ids = await scene.sending(run)
    return run, lease, ids[PHONE]


async def state(scene: Any, run: Any) -> str:
    row: dict[str, Any] = (await scene.rows(run))[PHONE]
    return str(row["state"])


async def test_a_message_is_delivered_when_all_parts_are(scene: Any) -> None:
    """Receipts are counted part by part; the first part's id stands with the message."""
    run = await sent(scene, "a1", "a2", "a3")

    for key, expected in (("a3", "sent"), ("a1", "sent"), ("a2", "delivered")):
        assert await scene.ledger.receive([receipt(key)]) == 1
        assert await state(scene, run) == expected

    row = (await scene.rows(run))[PHONE]
    assert (row["provider_id"], row["parts"], row["attempts"]) == ("a1", 3, 1)


@pytest.mark.parametrize(
    ("told", "expected"),
    [(MessageState.FAILED, "failed"), (MessageState.EXPIRED, "expired")],
)
async def test_one_part_that_finally_fails_decides(
    scene: Any, told: MessageState, expected: str
) -> None:
    """The rest's receipts come later and change the parts only."""
    run = await sent(scene, "a1", "a2")

    await scene.ledger.receive([receipt("a2", told), receipt("a1")])

    assert await state(scene, run) == expected
    row = (await scene.rows(run))[PHONE]
    assert row["failure_class"] == "mailbox"
    assert "part 2 of 2" in row["detail"]
    parts = await scene.execute("SELECT state FROM message_part ORDER BY part")
    assert [part[0] for part in parts] == ["delivered", expected]


async def test_receipts_may_come_twice_and_out_of_order(scene: Any) -> None:
    """A final word stays, an intermediate one after it changes nothing, all are kept."""
    run = await sent(scene, "a1")
    news = [None, MessageState.DELIVERED, MessageState.DELIVERED, None, MessageState.FAILED]

    for told in news:
        assert await scene.ledger.receive([receipt("a1", told)]) == 1

    assert await state(scene, run) == "delivered"
    stored = await scene.execute("SELECT count(*) FROM receipt WHERE message_id IS NOT NULL")
    assert stored[0][0] == len(news)


async def test_contrary_receipts_in_one_batch_are_taken_in_their_order(scene: Any) -> None:
    """Of two final words the first one counts, in one batch too."""
    run = await sent(scene, "a1")

    assert await scene.ledger.receive([receipt("a1"), receipt("a1", MessageState.FAILED)]) == 2

    assert await state(scene, run) == "delivered"


async def test_a_receipt_before_the_response_waits_for_it(scene: Any) -> None:
    """It is kept unmatched, and settling the segment finds it."""
    run, lease, message = await sending(scene)
    assert await scene.ledger.receive([receipt("77"), receipt("4E")]) == 0
    parts = [Outcome(kind=OutcomeKind.ACCEPTED, provider_id=key) for key in ("77", "78")]

    assert await scene.settle(run, lease, message, parts[0], *parts) is MessageState.DELIVERED

    unmatched = await scene.execute("SELECT count(*) FROM receipt WHERE message_id IS NULL")
    assert unmatched[0][0] == 0


@pytest.mark.parametrize(
    ("response", "told", "id_format", "matches"),
    [
        ("1A2B", "1A2B", "same", True),
        ("1A2B", "1a2b", "same", False),
        ("1A2B", "6699", "hex_to_dec", True),
        ("6699", "1A2B", "hex_to_dec", False),
        ("6699", "00001a2b", "dec_to_hex", True),
        ("1A2B", "1a2b", "auto", True),
        ("0000012345", "12345", "auto", True),
        ("12345", "0000012345", "auto", True),
        ("1A2B", "6699", "auto", True),
        ("6699", "1A2B", "auto", True),
        ("1101C1-C9D03D-F000", "1101c1-c9d03d-f000", "auto", True),
        ("12345", "12346", "auto", False),
        ("12345", "", "auto", False),
    ],
)
@pytest.mark.parametrize("early", [False, True], ids=["late", "early"])
async def test_ids_are_found_in_the_spellings_of_their_bind(
    scene: Any, response: str, told: str, id_format: str, matches: bool, early: bool
) -> None:
    """The same rule holds whichever of response and receipt is first."""
    if early:
        await scene.ledger.receive([receipt(told, id_format=id_format)])
        run = await sent(scene, response)
    else:
        run = await sent(scene, response)
        await scene.ledger.receive([receipt(told, id_format=id_format)])

    assert await state(scene, run) == ("delivered" if matches else "sent")


async def test_a_guess_is_bound_to_the_bind_and_the_number(scene: Any) -> None:
    """Another bind's receipt, or one for another number, is not ours."""
    run = await sent(scene, "1A2B")
    strange = [
        receipt("6699", bind="127.0.0.1:2775/other"),
        receipt("6699", destination="4917099999999"),
        receipt("6699", destination=""),
    ]

    assert await scene.ledger.receive(strange) == 0
    assert await state(scene, run) == "sent"
    assert await scene.ledger.receive([receipt("6699", destination="017012345678")]) == 1


async def test_an_id_used_again_means_the_newer_message(scene: Any) -> None:
    """SMSCs count from the start again; the newest segment is meant."""
    old = await sent(scene, "1")
    new = await sent(scene, "1")
    await scene.execute(
        "UPDATE message_part SET updated_at = '2020-01-01 00:00:00.000000' WHERE message_id ="
        " (SELECT id FROM message WHERE run_id = :run)",
        run=scene.key(old.id),
    )

    await scene.ledger.receive([receipt("1")])

    assert (await state(scene, old), await state(scene, new)) == ("sent", "delivered")


@pytest.mark.parametrize(
    ("parts", "guarantee", "expected"),
    [
        (["x", REFUSED], Guarantee.AT_LEAST_ONCE, "failed"),
        (["x", THROTTLED], Guarantee.AT_LEAST_ONCE, "uncertain"),
        (["x", UNSENT], Guarantee.AT_LEAST_ONCE, "uncertain"),
        (["x", UNKNOWN], Guarantee.AT_LEAST_ONCE, "uncertain"),
        ([UNKNOWN, REFUSED], Guarantee.AT_LEAST_ONCE, "failed"),
        ([UNKNOWN, UNSENT], Guarantee.AT_LEAST_ONCE, "pending"),
        ([UNKNOWN, UNSENT], Guarantee.AT_MOST_ONCE, "uncertain"),
        ([THROTTLED, UNSENT], Guarantee.AT_MOST_ONCE, "deferred"),
        ([REFUSED, UNSENT], Guarantee.AT_MOST_ONCE, "failed"),
        ([UNSENT, UNSENT], Guarantee.AT_MOST_ONCE, "pending"),
    ],
)
async def test_a_partly_accepted_message_is_never_sent_again(
    scene: Any, parts: list[Any], guarantee: Guarantee, expected: str
) -> None:
    """What was accepted is on a handset; only a message of which nothing went out goes again."""
    run, lease, message = await sending(scene, guarantee)
    outcomes = [
        Outcome(kind=OutcomeKind.ACCEPTED, provider_id=part) if isinstance(part, str) else part
        for part in parts
    ]

    assert await scene.settle(run, lease, message, outcomes[0], *outcomes) == expected

    accepted = sum(isinstance(part, str) for part in parts)
    stored = await scene.execute("SELECT provider_id FROM message_part WHERE provider_id <> ''")
    assert [row[0] for row in stored] == ["x"] * accepted


async def test_a_receipt_settles_what_is_uncertain(scene: Any) -> None:
    """The first part was accepted, the second unknown: its failure is the message's."""
    run, lease, message = await sending(scene)
    known = Outcome(kind=OutcomeKind.ACCEPTED, provider_id="a1")
    await scene.settle(run, lease, message, known, known, UNKNOWN)

    await scene.ledger.receive([receipt("a1", MessageState.EXPIRED)])

    assert await state(scene, run) == "failed"


async def test_response_and_receipt_at_the_same_moment_never_miss(scene: Any) -> None:
    """Whichever transaction is first, the other one finds its row."""
    phones = [f"+49170000{number:04}" for number in range(60)]
    run = await scene.run(*phones, channel=Channel.SMS)
    lease, ids = await scene.sending(run)

    async def settle(phone: str) -> None:
        known = Outcome(kind=OutcomeKind.ACCEPTED, provider_id=phone[-4:])
        part = PartOutcome(part=1, parts=1, outcome=known)
        delivery = Delivery(message_id=ids[phone], outcome=known, parts=(part,))
        await scene.ledger.settle(run, lease, [delivery], scene.retry, bind=BIND)

    async def tell(phone: str) -> None:
        await scene.ledger.receive([receipt(phone[-4:], destination=phone)])

    await asyncio.gather(*(job(phone) for phone in phones for job in (settle, tell)))

    assert set((await scene.states(run)).values()) == {"delivered"}


async def test_receipts_are_looked_at_again_with_another_format(scene: Any) -> None:
    """Those that came while the block named a wrong one; each is matched once."""
    run = await sent(scene, "1A2B")
    wrong = [receipt("6699", id_format="same"), receipt("777", id_format="same")]
    assert await scene.ledger.receive(wrong) == 0
    assert await scene.ledger.match_waiting(BIND) == 0
    assert await scene.ledger.match_waiting("another", id_format="hex_to_dec") == 0
    assert await state(scene, run) == "sent"

    assert await scene.ledger.match_waiting(BIND, id_format="hex_to_dec") == 1
    assert await state(scene, run) == "delivered"
    assert await scene.ledger.match_waiting(BIND, id_format="hex_to_dec") == 0


async def test_a_message_says_how_many_of_its_parts_did_what(scene: Any) -> None:
    """Whichever receipt decided."""
    run = await sent(scene, "a1", "a2", "a3")
    for key, told in (("a1", MessageState.DELIVERED), ("a3", MessageState.FAILED)):
        await scene.ledger.receive([receipt(key, told)])

    row = (await scene.rows(run))[PHONE]
    assert row["detail"] == "receipt UNDELIV, part 3 of 3; 1 delivered, 1 failed, 1 sent"

    await scene.ledger.receive([receipt("a2")])
    assert (await scene.rows(run))[PHONE]["state"] == "failed"


async def test_texts_that_arrays_are_written_with_are_kept(scene: Any) -> None:
    """Quotes, backslashes, braces, commas, line ends and NULL come back as they were."""
    odd = 'id:"9\\9" {a,b},\n\tNULL \\N ’'
    one = receipt('"9\\9"{,}')
    await scene.ledger.receive([replace(one, raw=odd, code='"', status="\\"), receipt("NULL")])

    rows = await scene.execute("SELECT raw, provider_id, code, status FROM receipt ORDER BY id")
    assert sorted(map(tuple, rows)) == sorted(
        [
            (odd, '"9\\9"{,}', '"', "\\"),
            ("id:NULL stat:DELIVRD err:000", "NULL", "000", "DELIVRD"),
        ]
    )
