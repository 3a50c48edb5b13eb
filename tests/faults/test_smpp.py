"""Message centres that misbehave: what the ledger says is what the far side wrote down."""

from __future__ import annotations

import os
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)

MESSAGES = 150
SOME = {"first": 41, "last": 60}
"""A window of two binds: messages that arrive in the middle of the run."""
OVERSIZE = "ffffffff" + "00" * 12
"""A header that says that 4 GiB follow."""
WRONG_PASSWORD, THROTTLED, QUEUE_FULL = 0x0E, 0x58, 0x14
IMPATIENT = {"response_timeout": 2, "enquire_link": 1, "reconnect_timeout": 30}


def _send(open_stage: Any, url: str, far: Any, **options: Any) -> Any:
    stage = open_stage(url, "sms", **options.pop("spec", {}))
    stage.addresses = stage.fill(MESSAGES)
    stage.send_to(far.port, **IMPATIENT, **options)
    return stage


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    # rule, attributes of the far side, how many may be uncertain
    "link lost with a full window": (
        {**SOME, "behaviour": {"respond": False}, "then": "drop"},
        {},
        20,
    ),
    "no response ever": ({"first": 51, "last": 53, "behaviour": {"respond": False}}, {}, 20),
    "half a response and a pause": (
        {"first": 51, "last": 51, "behaviour": {"split_response": 0.5}},
        {},
        0,
    ),
    "a length of 4 GiB": (
        {**SOME, "behaviour": {"response_delay": 0.2}, "then": OVERSIZE},
        {},
        20,
    ),
    "unbind by the server": ({"first": 50, "last": 50, "then": "unbind"}, {}, 20),
    "throttled for a while": ({**SOME, "behaviour": {"status": THROTTLED}}, {}, 0),
    "queue full for a while": ({**SOME, "behaviour": {"status": QUEUE_FULL}}, {}, 0),
    "responses in another order": ({"first": 0, "last": 0}, {"reorder": 7}, 0),
    "receipts before responses": (
        {
            "first": 1,
            "last": MESSAGES,
            "behaviour": {"receipt_first": True, "response_delay": 0.02},
        },
        {},
        0,
    ),
    "hang-up before it is stored": (
        {"first": 50, "last": 50, "behaviour": {"drop": "before"}},
        {},
        20,
    ),
    "hang-up after it is stored": (
        {"first": 50, "last": 50, "behaviour": {"drop": "after"}},
        {},
        20,
    ),
}


# Each on one of the databases, on both in the long form.
WHERE = [(case, ("sqlite", "postgresql")[number % 2]) for number, case in enumerate(CASES)]
if os.environ.get("CHAOS"):
    WHERE = [(case, database) for case in CASES for database in ("sqlite", "postgresql")]


@pytest.mark.parametrize(("case", "database_url"), WHERE, indirect=["database_url"])
def test_the_ledger_agrees_with_a_message_centre_that_misbehaves(
    case: str, database_url: str, open_stage: Any, far_smsc: Any
) -> None:
    """Nothing twice, nothing lost, and uncertain only what was in a window that broke."""
    rule, attributes, uncertain = CASES[case]
    far = far_smsc(rule, **attributes)
    stage = _send(open_stage, database_url, far)

    stage.drain_with_retries()

    states = stage.check(far, stage.addresses, uncertain=uncertain)
    assert set(states.values()) <= {"sent", "delivered", "uncertain"}


def test_receipts_that_came_first_still_count(
    database_url: str, open_stage: Any, far_smsc: Any
) -> None:
    """Each receipt overtakes its response, and each message ends as delivered."""
    late = {"receipt_first": True, "response_delay": 0.02}
    far = far_smsc({"first": 1, "last": MESSAGES, "behaviour": late})
    stage = _send(open_stage, database_url, far)

    stage.drain()

    assert set(stage.check(far, stage.addresses).values()) == {"delivered"}


def test_a_bad_password_is_tried_once(database_url: str, open_stage: Any, far_smsc: Any) -> None:
    """Accounts get locked: one bind a bind, no second round, and every message stays sendable."""
    far = far_smsc()
    stage = _send(open_stage, database_url, far, password="wrong")

    sender = stage.start()
    assert sender.ended() == 1

    assert "password" in sender.said()["error"].lower()
    assert 1 <= far.binds() <= stage.spec["server"]["binds"]
    assert set(stage.check(far, stage.addresses).values()) == {"pending"}


def test_at_least_once_sends_again_what_a_lost_window_held(
    database_url: str, open_stage: Any, far_smsc: Any
) -> None:
    """Everybody has it, and only what was not answered came twice."""
    far = far_smsc({**SOME, "behaviour": {"respond": False}, "then": "drop"})
    stage = _send(open_stage, database_url, far, spec={"guarantee": "at-least-once"})

    stage.drain_with_retries()

    taken = far.taken()
    assert set(taken) == set(stage.addresses)
    assert set(stage.states().values()) <= {"sent", "delivered"}
    assert taken.total() - MESSAGES <= stage.width
