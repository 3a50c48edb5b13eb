"""What the outcomes of parts make of a message, and references that never collide."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.channels.smpp.message import SmsEnvelope, SmsInFlight, whole
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.prepare import References, prepare
from ignition_ext.devtools import smsc_wire as wire
from ignition_ext.values import FailureClass, MessageId, Outcome, OutcomeKind, new_id

KINDS = {
    "a": OutcomeKind.ACCEPTED,
    "d": OutcomeKind.DEFERRED,
    "r": OutcomeKind.REJECTED,
    "u": OutcomeKind.UNCERTAIN,
    "n": OutcomeKind.UNSENT,
}


def outcomes(letters: str) -> list[Outcome]:
    """One outcome a letter."""
    return [Outcome(kind=KINDS[one], provider_id=one, text=one) for one in letters]


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ("a", "a"), ("d", "d"), ("r", "r"), ("u", "u"), ("n", "n"),
        ("aaa", "a"),
        ("ara", "r"), ("ran", "r"), ("rn", "r"), ("ur", "r"),
        ("aua", "u"), ("un", "u"), ("ud", "u"),
        ("ad", "u"), ("an", "u"), ("and", "u"),
        ("dn", "d"), ("ndd", "d"), ("dd", "d"),
        ("nn", "n"),
    ],
)  # fmt: skip
def test_the_whole_from_its_parts(parts: str, kind: str) -> None:
    """The table in the module's docstring."""
    assert whole(outcomes(parts)).kind is KINDS[kind]


@given(st.text(st.sampled_from("adrun"), min_size=1, max_size=6))
def test_nothing_that_may_have_arrived_is_ever_sendable_again(parts: str) -> None:
    """With one part accepted or unanswered, the message is neither deferred nor unsent."""
    kind = whole(outcomes(parts)).kind

    if "a" in parts or "u" in parts:
        assert kind not in {OutcomeKind.DEFERRED, OutcomeKind.UNSENT}
    if set(parts) <= {"d", "n"}:
        assert kind in {OutcomeKind.DEFERRED, OutcomeKind.UNSENT}


def test_a_partial_message_says_which_part_and_how_many() -> None:
    """What support needs to read."""
    assert "2 of 3 parts were accepted. Part 2" in whole(outcomes("ara")).text


@given(st.text(st.sampled_from("adrun"), min_size=1, max_size=6), st.randoms())
def test_parts_may_be_told_in_any_order(letters: str, chance: Random) -> None:
    """The message is complete with the last of them, its parts stand in order."""
    message = SmsInFlight(MessageId(new_id()), [b"body"] * len(letters), 1)
    told = list(zip(message.parts(), outcomes(letters), strict=True))
    chance.shuffle(told)
    for part, outcome in told:
        assert not message.complete
        message.record(part, outcome)

    assert message.complete
    assert message.accepted == ("a" in letters)
    assert message.refused == ("r" in letters)
    delivery = message.delivery()
    assert [one.outcome.text for one in delivery.parts] == list(letters)
    assert [(one.part, one.parts) for one in delivery.parts] == [
        (number, len(letters)) for number in range(1, len(letters) + 1)
    ]
    assert delivery.outcome == whole(outcomes(letters))


def test_a_message_that_cannot_be_sent_has_no_parts() -> None:
    """It is complete from the start, with the reason."""
    refusal = Outcome(kind=OutcomeKind.REJECTED, text="no number")
    message = SmsInFlight(MessageId(new_id()), refusal)

    assert message.complete
    assert message.parts() == []
    assert (message.delivery().outcome, message.delivery().parts) == (refusal, ())


def test_references_never_repeat_within_a_round() -> None:
    """256 long messages to one handset bear 256 references; random ones would collide at once."""
    references = References(wide=False)

    assert len({references.take("49151") for _ in range(256)}) == 256
    assert len({References(wide=True).take("49151") for _ in range(200)}) > 150


def test_long_messages_to_one_number_differ_in_their_reference() -> None:
    """The counter reaches the header."""
    options, references = SmppOptions(host="h", system_id="s"), References(wide=False)
    seen = set()
    for _ in range(20):
        bodies = prepare(envelope("x" * 200), options, references)
        assert not isinstance(bodies, Outcome)
        submits = [
            wire.read_submit(wire.pack(wire.SUBMIT_SM, 0, 1, body), message_id="", session=1)
            for body in bodies
        ]
        assert [one.octets[5] for one in submits] == [1, 2]
        assert all(one.registered_delivery == 1 for one in submits)
        assert all(one.esm_class == 0x40 for one in submits)
        seen.add(submits[0].octets[3])
    assert len(seen) == 20


@pytest.mark.parametrize(
    ("changes", "failure_class"),
    [
        ({"source": "much too long a name"}, FailureClass.SENDER),
        ({"source": "Ac\nme"}, FailureClass.SENDER),
        ({"destination": "+49151abc"}, FailureClass.ADDRESS),
        ({"destination": "4" * 21}, FailureClass.ADDRESS),
        ({"text": ""}, FailureClass.CONTENT),
        ({"text": "a\x1be"}, FailureClass.CONTENT),
        ({"text": "a" * 2000}, FailureClass.CONTENT),
    ],
)
def test_what_cannot_be_sent_is_an_outcome(
    changes: dict[str, str], failure_class: FailureClass
) -> None:
    """One bad recipient is a value; the others go on."""
    outcome = prepare(
        envelope(**changes),
        SmppOptions(host="h", system_id="s"),
        References(wide=False),
    )

    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.failure_class) == (OutcomeKind.REJECTED, failure_class)


def envelope(text: str = "Hello", **changes: str) -> SmsEnvelope:
    """An envelope to one number."""
    values = {"source": "Acme", "destination": "+4915112345678", "text": text} | changes
    return SmsEnvelope(message_id=MessageId(new_id()), **values)
