"""Evidence of mails that came back: what it makes of messages, once, and when it is too early."""

from __future__ import annotations

from typing import Any

import pytest

from ignition_ext.ledger.contract import Effect, Evidence
from ignition_ext.values import (
    FailureClass,
    Guarantee,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    new_id,
)

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, code="250", provider_id="4C1")
UNKNOWN = Outcome(kind=OutcomeKind.UNCERTAIN, text="no reply")
REFUSED = Outcome(kind=OutcomeKind.REJECTED, code="550", failure_class=FailureClass.POLICY)
GONE = Outcome(
    kind=OutcomeKind.REJECTED,
    code="550",
    enhanced="5.1.1",
    text="no such user",
    failure_class=FailureClass.ADDRESS,
)
TOLD = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
    MessageState.FAILED,
)


def told(key: MessageId, state: MessageState) -> Evidence:
    return Evidence(message_id=key, state=state, outcome=GONE)


async def settled(scene: Any, outcome: Outcome, **request: Any) -> Any:
    """A run with one message of that outcome, and the message's key."""
    run = await scene.run("jo@example.com", **request)
    lease, ids = await scene.sending(run)
    [key] = ids.values()
    await scene.settle(run, lease, key, outcome)
    return run, key


@pytest.mark.parametrize(
    ("outcome", "ways"),
    [
        (ACCEPTED, {"delivered": 1, "bounced": 1, "complained": 1, "failed": 1}),
        (UNKNOWN, {"sent": 1, "delivered": 1, "bounced": 1, "complained": 2, "failed": 1}),
        (REFUSED, {}),
    ],
    ids=["sent", "uncertain", "failed"],
)
async def test_each_state_takes_what_the_table_says(
    scene: Any, outcome: Outcome, ways: dict[str, int]
) -> None:
    """The message becomes it, with one event a step; twice is once; what is over stays."""
    for state in TOLD:
        run, key = await settled(scene, outcome)
        before = len(await scene.events(key))

        first = await scene.ledger.evidence([told(key, state)])
        again = await scene.ledger.evidence([told(key, state)])

        steps = ways.get(state.value, 0)
        assert first == [Effect.CHANGED if steps else Effect.KNOWN]
        assert again == [Effect.KNOWN]
        assert len(await scene.events(key)) == before + steps
        if steps:
            row = (await scene.rows(run))["jo@example.com"]
            assert (row["state"], row["code"], row["enhanced"]) == (state.value, "550", "5.1.1")
            assert (row["failure_class"], row["detail"]) == ("address", "no such user")
    await scene.check()


async def test_a_delivered_message_still_bounces_and_is_complained_about(scene: Any) -> None:
    """One batch may speak of a message several times; each piece is heard in its order."""
    run, key = await settled(scene, ACCEPTED)

    effects = await scene.ledger.evidence(
        [
            told(key, MessageState.DELIVERED),
            told(MessageId(new_id()), MessageState.BOUNCED),
            told(key, MessageState.COMPLAINED),
            told(key, MessageState.BOUNCED),
        ]
    )

    assert effects == [Effect.CHANGED, Effect.MISSING, Effect.CHANGED, Effect.KNOWN]
    assert await scene.states(run) == {"jo@example.com": "complained"}
    await scene.check()


async def test_what_is_on_its_way_is_told_to_be_early(scene: Any) -> None:
    """A bounce can be quicker than the server's own answer; afterwards it counts."""
    run = await scene.run("jo@example.com", guarantee=Guarantee.AT_LEAST_ONCE)
    lease, ids = await scene.claim(run)
    [key] = ids.values()
    bounced = [told(key, MessageState.BOUNCED)]

    assert await scene.ledger.evidence(bounced) == [Effect.EARLY]
    await scene.ledger.intend(run, lease, [key])
    assert await scene.ledger.evidence(bounced) == [Effect.EARLY]
    await scene.settle(run, lease, key, ACCEPTED)
    assert await scene.ledger.evidence(bounced) == [Effect.CHANGED]

    assert await scene.events(key) == [("sending", "sent"), ("sent", "bounced")]
    await scene.check()


async def test_nothing_told_is_nothing_done(scene: Any) -> None:
    """An empty batch opens no transaction."""
    assert await scene.ledger.evidence([]) == []
