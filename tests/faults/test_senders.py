"""Senders that are asked to stop, that stand still, and that work side by side."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)

CHAOS = bool(os.environ.get("CHAOS"))
PAIRS = [("email", "sqlite"), ("sms", "postgresql")]
if CHAOS:
    PAIRS += [("email", "postgresql"), ("sms", "sqlite")]
each_way = pytest.mark.parametrize(("channel", "database_url"), PAIRS, indirect=["database_url"])
"""Each channel and each database; every pair of them in the long form."""


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_two_senders_share_a_run(
    channel: str, database_url: str, open_stage: Any, counter: Any, chaos: bool
) -> None:
    """Two processes on one database, one SQLite file too: each message goes once, none waits."""
    total = 20_000 if chaos else 1_000
    far = counter(channel)
    stage = open_stage(database_url, channel, portion=50)
    addresses = stage.fill(total)
    stage.send_to(far.port)

    senders = [stage.start(), stage.start()]
    assert [sender.ended() for sender in senders] == [0, 0], [one.story() for one in senders]

    assert set(stage.check(far, addresses).values()) <= {"sent", "delivered"}


@each_way
def test_a_stop_finishes_what_is_on_the_wire(
    channel: str, database_url: str, open_stage: Any, far_smtp: Any, far_smsc: Any, wait: Any
) -> None:
    """SIGTERM: answered within the drain time is settled, the rest is pending at once."""
    far = far_smtp(delay=0.02) if channel == "email" else far_smsc(response_delay=0.1)
    stage = open_stage(database_url, channel, lease=600)
    addresses = stage.fill(300)
    stage.send_to(far.port)

    sender = stage.start()
    wait(lambda: far.count() >= 40 or not sender.running)
    sender.terminate()
    assert sender.ended() == 3, sender.story()

    states = stage.check(far, addresses)
    assert set(states.values()) <= {"sent", "delivered", "pending"}
    assert 0 < len(far.taken()) < len(addresses)
    # Nothing waits for the lease of ten minutes: the successor has it all.
    stage.drain()
    assert set(stage.check(far, addresses).values()) <= {"sent", "delivered"}


@each_way
def test_a_stop_leaves_uncertain_only_what_is_unanswered(
    channel: str, database_url: str, open_stage: Any, far_smtp: Any, far_smsc: Any, wait: Any
) -> None:
    """A server that never answers is waited for as long as the drain time says, and no longer."""
    if channel == "email":
        far = far_smtp({"stage": "DOT", "do": "silent", "every": 3})
    else:
        far = far_smsc({"first": 31, "last": 10_000, "behaviour": {"respond": False}})
    stage = open_stage(database_url, channel, lease=600)
    addresses = stage.fill(300)
    stage.send_to(far.port, drain_timeout=1)

    sender = stage.start()
    wait(lambda: far.count() >= (6 if channel == "email" else 40) or not sender.running)
    sender.terminate()
    assert sender.ended() == 3, sender.story()

    states = stage.check(far, addresses, uncertain=stage.width)
    assert {"pending", "uncertain"} < set(states.values())
    assert set(states.values()) <= {"sent", "delivered", "pending", "uncertain"}


@each_way
def test_a_sender_that_stood_still_sends_nothing_it_lost(
    channel: str, database_url: str, open_stage: Any, counter: Any, wait: Any
) -> None:
    """Stopped for longer than its lease (a sleeping laptop), its work is another one's."""
    far = counter(channel)
    stage = open_stage(database_url, channel, batch=500, portion=500)
    addresses = stage.fill(800)
    stage.send_to(far.port)

    sleeper = stage.start()
    wait(lambda: far.count() >= 100 or not sleeper.running)
    sleeper.process.send_signal(signal.SIGSTOP)
    other, end = stage.start(), time.monotonic() + 2 * stage.spec["lease"]
    wait(lambda: time.monotonic() > end)
    sleeper.process.send_signal(signal.SIGCONT)
    assert [sleeper.ended(), other.ended()] == [0, 0], sleeper.story() + other.story()

    states = stage.check(far, addresses, uncertain=stage.width)
    assert set(states.values()) <= {"sent", "delivered", "uncertain"}
