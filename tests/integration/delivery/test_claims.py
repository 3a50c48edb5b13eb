from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.delivery.claims import Claims
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.values import Delivery, MessageState, Outcome, OutcomeKind


async def test_results_are_stored_before_intents_that_take_their_places(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they are of two leases: a kill in between leaves no more than the bound."""
    await stage.fill("ada@example.com", "bob@example.com")
    minute = timedelta(minutes=1)
    claims = Claims(
        stage.ledger, stage.run, StandardRetry(), bind="", most=2, portion=1, duration=minute
    )
    await claims.prepare()
    ada, bob = await claims.take(), await claims.take()
    await claims.intend([ada.id])
    turn, seen = stage.ledger.turn, []

    async def watched(*arguments: Any, **options: Any) -> Any:
        before = await stage.states()
        answer = await turn(*arguments, **options)
        seen.append((before, await stage.states()))
        return answer

    monkeypatch.setattr(stage.ledger, "turn", watched)
    accepted = Delivery(message_id=ada.id, outcome=Outcome(kind=OutcomeKind.ACCEPTED, code="250"))
    granted = await claims.turn([accepted], [bob.id])
    await claims.release()

    assert granted == {bob.id}
    assert len(seen) == 2
    on_the_wire = [list(states.values()).count("sending") for pair in seen for states in pair]
    assert max(on_the_wire) == 1
    assert set((await stage.states()).values()) == {MessageState.SENT, MessageState.SENDING}


async def test_a_message_that_is_claimed_again_is_not_handed_out_twice(stage: Any) -> None:
    """Its lease lapsed while it waited for a place: the copy that waits is the only one."""
    addresses = ["ada@example.com", "bob@example.com", "cyd@example.com"]
    await stage.fill(*addresses)
    claims = Claims(
        stage.ledger,
        stage.run,
        StandardRetry(),
        bind="",
        most=20,
        portion=2,
        duration=timedelta(seconds=0.5),
    )
    await claims.prepare()
    held = await claims.take()
    async with asyncio.timeout(30):
        while set((await stage.states()).values()) != {MessageState.PENDING}:
            await stage.ledger.recover(stage.run)
    taken = [held]
    while (message := await claims.take()) is not None:
        taken.append(message)
    ids = [message.id for message in taken]
    granted = await claims.intend(ids)
    await claims.release()

    assert sorted(message.address for message in taken) == addresses
    assert granted <= set(ids)
    assert claims.claimed == len(addresses)
