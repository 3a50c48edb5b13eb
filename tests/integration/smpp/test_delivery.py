"""Whole deliveries to the simulator: what arrives, what is reported, what comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from ignition_ext.channels.smpp import BindType, SmppReceipt, SmppTransport, SmsEnvelope
from ignition_ext.devtools.smsc_behaviour import Behaviour
from ignition_ext.errors import ConfigurationError
from ignition_ext.values import FailureClass, MessageId, MessageState, OutcomeKind, new_id

Until = Callable[..., Awaitable[None]]

TEXTS = [
    "Hello",
    "a" * 152 + "€" + "b" * 20,
    "ş" * 66 + "😀" + "b" * 10,
    "Merhaba Şule, yarın saat 9'da 😀 " * 6,
    "{[~|^]}\\ € \f end",
    "Привет, Анна! Ждём вас завтра. " * 5,
]


def numbers(count: int) -> list[str]:
    """Recipients."""
    return [f"+4915100{index:06d}" for index in range(count)]


async def test_texts_arrive_as_they_were_rendered(bench: Any) -> None:
    """Decoded by the simulator's own tables and joined by its own header reader."""
    sent = list(zip(numbers(60), TEXTS * 10, strict=True))
    journal = await bench.deliver(sent)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 60}
    assert Counter(bench.smsc.messages) == Counter((to[1:], text) for to, text in sent)


async def test_each_part_has_its_provider_id(bench: Any) -> None:
    """And each asks for a receipt."""
    journal = await bench.deliver([("+4915112345678", "ş" * 200)])
    (delivery,) = journal.deliveries.values()

    assert [(one.part, one.parts) for one in delivery.parts] == [(1, 3), (2, 3), (3, 3)]
    assert [one.outcome.provider_id for one in delivery.parts] == [
        one.message_id for one in bench.smsc.submits
    ]
    assert {one.registered_delivery for one in bench.smsc.submits} == {1}
    assert {one.esm_class for one in bench.smsc.submits} == {0x40}


async def test_addresses_go_out_by_the_rules(bench: Any) -> None:
    """An alphanumeric sender, an international recipient."""
    await bench.deliver([("+4915112345678", "Hi")])
    (submit,) = bench.smsc.submits

    assert (submit.source, submit.source_ton, submit.source_npi) == ("Acme", 5, 0)
    assert (submit.destination, submit.destination_ton) == ("4915112345678", 1)
    assert submit.destination_npi == 1


async def test_bad_envelopes_are_refused_alone(bench: Any) -> None:
    """Nothing of them reaches the wire, the others arrive."""
    sent = [("+4915100000001", "ok"), ("no number", "x"), ("+4915100000002", "a\x1be"),
            ("+4915100000003", "")]  # fmt: skip
    journal = await bench.deliver(sent)

    assert [one.kind for one in journal.outcomes] == [OutcomeKind.ACCEPTED] + [
        OutcomeKind.REJECTED
    ] * 3
    assert [one.failure_class for one in journal.outcomes[1:]] == [
        FailureClass.ADDRESS,
        FailureClass.CONTENT,
        FailureClass.CONTENT,
    ]
    assert bench.smsc.messages == [("4915100000001", "ok")]


async def test_messages_that_may_not_go_stay(bench: Any) -> None:
    """What the journal leaves out of its answer is not written."""
    ids = [MessageId(new_id()) for _ in range(20)]
    bench.journal.forbidden = set(ids[::2])

    async def envelopes() -> AsyncIterator[SmsEnvelope]:
        for index, one in enumerate(ids):
            yield SmsEnvelope(
                message_id=one, source="Acme", destination=f"+49151000{index:05d}", text="Hi"
            )

    await SmppTransport(bench.options()).deliver(envelopes(), bench.journal, bench.stop)

    assert {one.destination for one in bench.smsc.submits} == {
        f"49151000{index:05d}" for index in range(1, 20, 2)
    }


@pytest.mark.parametrize("binds", [1, 3])
async def test_the_window_bounds_what_is_open(bench: Any, binds: int) -> None:
    """Neither the SMSC nor the journal ever sees more than binds times window."""
    bench.smsc.response_delay = 0.01
    journal = await bench.deliver(
        [(number, "Hi") for number in numbers(150)], window=7, binds=binds
    )

    assert journal.kinds == {OutcomeKind.ACCEPTED: 150}
    assert bench.smsc.widest_window <= 7
    assert journal.most_open <= 7 * binds
    assert bench.smsc.binds == binds
    assert len({one.session for one in bench.smsc.submits}) == binds
    assert max(Counter(bench.smsc.messages).values()) == 1


async def test_the_window_is_used(bench: Any) -> None:
    """100 messages at 50 ms each in a window of 50 take a fraction of 5 s."""
    bench.smsc.response_delay = 0.05
    await bench.deliver([(number, "Hi") for number in numbers(100)], window=50)

    assert bench.smsc.widest_window == 50


async def test_answers_in_another_order_find_their_messages(bench: Any) -> None:
    """Each message gets the id that the SMSC gave to it."""
    bench.smsc.reorder = 10
    bench.smsc.behaviour = lambda to: Behaviour(status=0x0B if to.endswith("7") else 0)
    journal = await bench.deliver([(number, "Hi") for number in numbers(50)])

    kinds = [one.kind for one in journal.outcomes]
    assert [index for index, kind in enumerate(kinds) if kind is OutcomeKind.REJECTED] == [
        7, 17, 27, 37, 47,
    ]  # fmt: skip
    ids = {one.destination[-2:]: one.message_id for one in bench.smsc.submits}
    for index, outcome in enumerate(journal.outcomes):
        if index % 10 != 7:
            assert outcome.provider_id == ids[f"{index:02d}"]


@pytest.mark.parametrize(
    ("marker", "kind", "failure_class"),
    [
        ("201", OutcomeKind.REJECTED, FailureClass.ADDRESS),
        ("202", OutcomeKind.DEFERRED, FailureClass.SYSTEM),
        ("203", OutcomeKind.REJECTED, FailureClass.SENDER),
    ],
)
async def test_refusals_are_classified(
    bench: Any, marker: str, kind: OutcomeKind, failure_class: FailureClass
) -> None:
    """By the SMSC's command_status."""
    journal = await bench.deliver([(f"+999{marker}0001", "Hi")])

    assert [(one.kind, one.failure_class) for one in journal.outcomes] == [(kind, failure_class)]


async def test_a_refused_part_spares_the_parts_behind_it(bench: Any) -> None:
    """They are paid for each; what was written is reported as it ended."""
    bench.smsc.behaviour = lambda _: Behaviour(status=0x0B)
    journal = await bench.deliver([("+4915112345678", "a" * 1500)], window=1)
    (delivery,) = journal.deliveries.values()

    assert delivery.outcome.kind is OutcomeKind.REJECTED
    assert [one.outcome.kind for one in delivery.parts] == [OutcomeKind.REJECTED] + [
        OutcomeKind.UNSENT
    ] * 9
    assert len([one for one in bench.smsc.heard if one[0] == 4]) == 1


async def test_a_part_refused_for_now_is_tried_again_in_place(bench: Any) -> None:
    """The parts before it were accepted, so the message cannot be sent afresh."""
    calls = iter([0, 0x08, 0, 0])
    bench.smsc.behaviour = lambda _: Behaviour(status=next(calls))
    journal = await bench.deliver([("+4915112345678", "a" * 400)], window=1)

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert bench.smsc.messages == [("4915112345678", "a" * 400)]


# ------------------------------------------------------------------ receipts

RECEIPTS = [
    ("101", [MessageState.FAILED], "UNDELIV"),
    ("102", [MessageState.EXPIRED], "EXPIRED"),
    ("103", [MessageState.FAILED], "REJECTD"),
    ("105", [MessageState.DELIVERED], "DELIVRD"),
    ("106", [MessageState.DELIVERED] * 2, "DELIVRD"),
    ("107", [MessageState.DELIVERED], "DELIVRD"),
    ("108", [MessageState.DELIVERED], "DELIVRD"),
    ("109", [MessageState.DELIVERED], "DELIVRD"),
    ("110", [MessageState.DELIVERED], "DELIVRD"),
    ("111", [None, MessageState.DELIVERED], "DELIVRD"),
]


@pytest.mark.parametrize(("marker", "states", "status"), RECEIPTS)
async def test_receipts_come_back(
    bench: Any, wait_until: Until, marker: str, states: list[MessageState | None], status: str
) -> None:
    """By deliver_sm and data_sm, in text and TLVs, twice, early, in hex; each is acknowledged."""
    journal = await bench.deliver([(f"+999{marker}0001", "Hi")], linger=3)
    await wait_until(lambda: len(bench.smsc.receipt_answers) == len(states))

    assert journal.kinds == {OutcomeKind.ACCEPTED: 1}
    assert [one.state for one in bench.receipts] == states
    assert bench.receipts[-1].status == status
    assert {one.destination for one in bench.receipts} == {f"+999{marker}0001"}
    assert {one.bind for one in bench.receipts} == {bench.options().bind_name}
    assert bench.smsc.receipt_answers == [0] * len(states)


async def test_receipts_of_all_parts_are_awaited(bench: Any) -> None:
    """Ten messages of three parts: thirty receipts, then unbind without further waiting."""
    bench.smsc.receipt_delay = 0.1
    async with asyncio.timeout(40):
        await bench.deliver([(number, "ş" * 200) for number in numbers(10)], linger=60)

    assert Counter(one.state for one in bench.receipts) == {MessageState.DELIVERED: 30}
    assert {one.provider_id for one in bench.receipts} == {
        one.message_id for one in bench.smsc.submits
    }


async def test_lingering_ends_when_no_receipt_comes(bench: Any) -> None:
    """A message without a receipt does not hold the bind for ever."""
    async with asyncio.timeout(40):
        await bench.deliver([("+9991040001", "Hi"), ("+4915112345678", "Hi")], linger=0.3)

    assert len(bench.receipts) == 1


async def test_lingering_ends_at_a_stop(bench: Any) -> None:
    """A stop does not wait for receipts."""
    task = asyncio.create_task(bench.deliver([("+9991040001", "Hi")], linger=60))
    async with asyncio.timeout(40):
        await bench.journal.changed.wait()
        bench.stop.set()
        await task


async def test_a_lost_link_is_made_anew_while_receipts_are_awaited(
    bench: Any, wait_until: Until
) -> None:
    """The receipts come over the next bind."""
    bench.smsc.receipt_delay = 60
    task = asyncio.create_task(bench.deliver([("+4915112345678", "Hi")], linger=20))
    await bench.journal.changed.wait()
    bench.smsc.drop()
    await wait_until(lambda: bench.smsc.binds == 2)
    bench.stop.set()
    await task


async def test_a_receipt_is_acknowledged_only_when_it_is_stored(
    bench: Any, wait_until: Until
) -> None:
    """0x64 makes the SMSC keep it; the second try is stored and acknowledged."""
    tries: list[Sequence[SmppReceipt]] = []

    async def store(receipts: Sequence[SmppReceipt]) -> None:
        tries.append(receipts)
        if len(tries) == 1:
            raise OSError("the database is away")
        assert not [answer for answer in bench.smsc.receipt_answers if answer == 0]

    bench.smsc.receipt_retry = 0.05
    transport = SmppTransport(bench.options(), store, 5)
    await transport.deliver(one_envelope(), bench.journal, bench.stop)
    await wait_until(lambda: len(bench.smsc.receipt_answers) == 2)

    assert bench.smsc.receipt_answers == [0x64, 0]


async def test_without_a_store_the_smsc_keeps_its_receipts(bench: Any, wait_until: Until) -> None:
    """They are never acknowledged into nothing."""
    bench.smsc.behaviour = lambda to: Behaviour(receipt_first=to.endswith("8"))
    await bench.deliver([("+4915112345678", "Hi")])
    await wait_until(lambda: bool(bench.smsc.receipt_answers))

    assert set(bench.smsc.receipt_answers) == {0x64}


async def test_a_transmitter_sends_and_hears_nothing(bench: Any) -> None:
    """And does not wait for what cannot come."""
    async with asyncio.timeout(30):
        await bench.deliver([("+4915112345678", "Hi")], linger=60, bind=BindType.TRANSMITTER)

    assert bench.smsc.messages == [("4915112345678", "Hi")]
    assert bench.receipts == []


async def test_a_receiver_cannot_send(bench: Any) -> None:
    """Said before anything is connected."""
    with pytest.raises(ConfigurationError, match="receiver"):
        await bench.deliver([("+4915112345678", "Hi")], bind=BindType.RECEIVER)
    assert bench.smsc.bind_attempts == 0


# ------------------------------------------------------------------ stop and cancel


async def endless(bench: Any) -> AsyncIterator[SmsEnvelope]:
    """Messages without end."""
    index = 0
    while True:
        index += 1
        yield SmsEnvelope(
            message_id=MessageId(new_id()),
            source="Acme",
            destination=f"+49151{index:08d}",
            text="Hi",
        )


async def one_envelope() -> AsyncIterator[SmsEnvelope]:
    """One message."""
    yield SmsEnvelope(
        message_id=MessageId(new_id()), source="Acme", destination="+4915112345678", text="Hi"
    )


async def test_a_stop_awaits_the_answers(bench: Any, wait_until: Until) -> None:
    """What is on the wire is settled by its answer, nothing new is begun."""
    bench.smsc.response_delay = 0.1
    task = asyncio.create_task(
        SmppTransport(bench.options(window=5)).deliver(endless(bench), bench.journal, bench.stop)
    )
    await wait_until(lambda: len(bench.smsc.submits) >= 10)
    bench.stop.set()
    await task

    bench.journal.check_complete()
    assert bench.journal.kinds[OutcomeKind.ACCEPTED] == len(bench.smsc.submits)
    assert set(bench.journal.kinds) <= {OutcomeKind.ACCEPTED, OutcomeKind.UNSENT}


async def test_a_stop_does_not_wait_longer_than_the_drain_time(
    bench: Any, wait_until: Until
) -> None:
    """What is unanswered then is uncertain."""
    bench.smsc.behaviour = lambda _: Behaviour(respond=False)
    options = bench.options(window=5, drain_timeout=0.2, response_timeout=60)
    task = asyncio.create_task(
        SmppTransport(options).deliver(endless(bench), bench.journal, bench.stop)
    )
    await wait_until(lambda: len(bench.smsc.submits) == 5)
    bench.stop.set()
    async with asyncio.timeout(30):
        await task

    bench.journal.check_complete()
    assert bench.journal.kinds == {OutcomeKind.UNCERTAIN: 5}


async def test_a_cancelled_delivery_settles_first(bench: Any, wait_until: Until) -> None:
    """Unanswered is uncertain, unwritten is unsent; then it ends as cancelled."""
    bench.smsc.behaviour = lambda _: Behaviour(respond=False)
    options = bench.options(window=5, response_timeout=60)
    task = asyncio.create_task(
        SmppTransport(options).deliver(endless(bench), bench.journal, bench.stop)
    )
    await wait_until(lambda: len(bench.smsc.submits) == 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    bench.journal.check_complete()
    assert bench.journal.kinds == {OutcomeKind.UNCERTAIN: 5}


async def test_a_stop_before_the_start_sends_nothing(bench: Any) -> None:
    """Nothing is intended."""
    bench.stop.set()
    await bench.deliver([("+4915112345678", "Hi")])

    assert bench.journal.intended == []
    assert bench.smsc.submits == []


async def test_a_failing_source_ends_the_delivery(bench: Any) -> None:
    """What was sent is settled, then the source's error comes out."""

    async def broken() -> AsyncIterator[SmsEnvelope]:
        async for envelope in one_envelope():
            yield envelope
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await SmppTransport(bench.options()).deliver(broken(), bench.journal, bench.stop)
    bench.journal.check_complete()


async def test_a_failing_journal_ends_the_delivery(bench: Any) -> None:
    """When nothing can be written down, nothing more is sent."""

    async def settle(deliveries: object) -> None:
        raise OSError("the database is away")

    bench.journal.settle = settle
    with pytest.raises(OSError, match="the database is away"):
        await SmppTransport(bench.options(window=5)).deliver(
            endless(bench), bench.journal, bench.stop
        )
    assert len(bench.smsc.submits) <= 10


async def test_rate_is_kept(bench: Any) -> None:
    """Thirty parts at 100 a second take a quarter of a second at least."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await bench.deliver([(number, "Hi") for number in numbers(30)], rate=100.0)

    assert loop.time() - begin >= (30 - 10 - 1) / 100
    assert max(bench.journal.groups) <= 25
