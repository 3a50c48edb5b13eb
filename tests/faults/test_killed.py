"""kill -9 of the sender at random moments; counted by smtp-sink and by npm's ``smpp``."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

CHAOS = bool(os.environ.get("CHAOS"))
PAIRS = [("email", "sqlite"), ("sms", "postgresql")]
if CHAOS:
    PAIRS += [("email", "postgresql"), ("sms", "sqlite")]
each_way = pytest.mark.parametrize(("channel", "database_url"), PAIRS, indirect=["database_url"])
"""Each channel and each database; every pair of them in the long form."""


def _kill_at_random(
    stage: Any, far: Any, total: int, kills: int, dice: random.Random, wait: Callable[..., Any]
) -> None:
    """Kill the sender each time the far side has got to a moment that was drawn before."""
    moments = sorted(dice.randrange(total // 20, total * 9 // 10) for _ in range(kills))
    for kill, moment in enumerate(moments, 1):
        target = max(moment, far.count() + dice.randrange(1, 50))
        sender = stage.start()
        wait(lambda sender=sender, target=target: far.count() >= target or not sender.running)
        assert sender.running, f"it ended before {target}: {sender.story()}"
        sender.kill()
        unknown = sum(state in {"sending", "uncertain"} for state in stage.states().values())
        assert unknown <= kill * stage.width, f"kill {kill} of {kills}"
    stage.drain()


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_nobody_gets_two_and_few_are_uncertain(
    channel: str,
    database_url: str,
    open_stage: Callable[..., Any],
    counter: Callable[[str], Any],
    dice: random.Random,
    wait: Callable[..., Any],
    chaos: bool,
) -> None:
    """at-most-once: what is not uncertain arrived exactly once; nothing is lost."""
    total, kills = (20_000, 5) if chaos else (1_500, 2)
    far = counter(channel)
    stage = open_stage(database_url, channel)
    addresses = stage.fill(total)
    stage.send_to(far.port)

    _kill_at_random(stage, far, total, kills, dice, wait)

    states = stage.check(far, addresses, uncertain=kills * stage.width)
    assert set(states.values()) <= {"sent", "delivered", "uncertain"}


@each_way
def test_nothing_is_missed_and_copies_are_recognisable(
    channel: str,
    database_url: str,
    open_stage: Callable[..., Any],
    counter: Callable[[str], Any],
    dice: random.Random,
    wait: Callable[..., Any],
    chaos: bool,
) -> None:
    """at-least-once: everybody gets it; a second copy bears the first one's Message-ID."""
    total, kills = (20_000, 5) if chaos else (1_500, 2)
    far = counter(channel)
    stage = open_stage(database_url, channel, "at-least-once")
    addresses = stage.fill(total)
    stage.send_to(far.port)

    _kill_at_random(stage, far, total, kills, dice, wait)

    taken, rows = far.taken(), stage.rows()
    assert set(taken) == set(rows) == set(addresses)
    assert {row["state"] for row in rows.values()} <= {"sent", "delivered"}
    assert taken.total() - total <= kills * stage.width
    if channel == "email":
        assert far.ids() == {
            (address, f"<{row['message_id']}@acme.example>") for address, row in rows.items()
        }


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_part_of_a_long_text_comes_twice(
    database_url: str,
    open_stage: Callable[..., Any],
    counter: Callable[[str], Any],
    dice: random.Random,
    wait: Callable[..., Any],
    chaos: bool,
) -> None:
    """A text of two parts is one message: whoever has half of it gets no second copy of that."""
    total, kills = (10_000, 5) if chaos else (400, 2)
    far = counter("sms")
    stage = open_stage(database_url, "sms", long=True)
    addresses = stage.fill(total)
    stage.send_to(far.port)

    _kill_at_random(stage, far, 2 * total, kills, dice, wait)

    segments = far.segments()
    assert set(segments.values()) == {1}
    states = stage.states()
    assert set(states) == set(addresses)
    told = {address for address, state in states.items() if state in {"sent", "delivered"}}
    assert {(address.lstrip("+"), part) for address in told for part in (1, 2)} <= set(segments)
    uncertain = [address for address, state in states.items() if state == "uncertain"]
    assert len(told) + len(uncertain) == total
    assert len(uncertain) <= kills * stage.width
