"""Mail servers that misbehave: what the ledger says is what the far side wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

pytestmark = pytest.mark.timeout(600)

MESSAGES = 120
LARGE_BODY = "A line of a letter that is too long for any socket's buffer.\n" * 10_000
STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "DOT"]


def _send(open_stage: Any, url: str, far: Any, messages: int = MESSAGES, **options: Any) -> Any:
    stage = open_stage(url, "email", **options.pop("spec", {}))
    stage.addresses = stage.fill(messages)
    stage.send_to(far.port, **options)
    return stage


def test_421_at_any_point_costs_nothing(database_url: str, open_stage: Any, far_smtp: Any) -> None:
    """The server closes with 421 now and then: all is sent in the end, nothing twice."""
    words = "421 4.3.2 too busy, come back later"
    far = far_smtp(*({"stage": stage, "do": words, "every": 5, "times": 3} for stage in STAGES))
    stage = _send(open_stage, database_url, far)

    stage.drain_with_retries()

    assert {one["stage"] for one in far.record.lines() if "fault" in one} == set(STAGES)
    assert set(stage.check(far, stage.addresses).values()) == {"sent"}


@pytest.mark.parametrize(
    ("do", "database_url"),
    [("hang-up", "sqlite"), ("reset", "postgresql")],
    indirect=["database_url"],
)
def test_a_link_lost_before_or_after_the_final_dot(
    do: str, database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """Before the dot all is sent again; after it, one for each lost link is uncertain."""
    stages = ["RCPT", "DATA", "BODY", "DOT"]
    far = far_smtp(*({"stage": one, "do": do, "every": 20, "times": 3} for one in stages))
    stage = _send(open_stage, database_url, far)

    stage.drain_with_retries()

    faults = [one["stage"] for one in far.record.lines() if "fault" in one]
    assert set(faults) == set(stages)
    lost = 2 * len(faults)  # a second message may be on its way behind the first
    states = stage.check(far, stage.addresses, uncertain=lost)
    assert set(states.values()) <= {"sent", "uncertain"}


def test_what_was_taken_and_never_told_is_uncertain(
    database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """The server has it and hangs up: nobody gets a second copy, and nobody is called sent."""
    far = far_smtp({"stage": "DOT", "do": "keep-and-hang-up", "every": 15, "times": 5})
    stage = _send(open_stage, database_url, far)

    stage.drain_with_retries()

    states = stage.check(far, stage.addresses, uncertain=10)
    untold = {one["to"] for one in far.record.lines() if one.get("told") is False}
    assert len(untold) == 5
    assert {states[address] for address in untold} == {"uncertain"}


def test_at_least_once_sends_again_what_was_never_told(
    database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """The second copy bears the same Message-ID, and only those come twice that were not told."""
    far = far_smtp({"stage": "DOT", "do": "keep-and-hang-up", "every": 15, "times": 5})
    stage = _send(open_stage, database_url, far, spec={"guarantee": "at-least-once"})

    stage.drain_with_retries()

    rows, taken = stage.rows(), far.taken()
    assert {row["state"] for row in rows.values()} == {"sent"}
    assert set(taken) == set(stage.addresses)
    untold = {one["to"] for one in far.record.lines() if one.get("told") is False}
    assert {address for address, times in taken.items() if times > 1} <= untold
    assert len(far.ids()) == len(taken)


def test_refusals_of_some_hit_only_them(database_url: str, open_stage: Any, far_smtp: Any) -> None:
    """4xx and 5xx at each stage, between good recipients of one pipelined group."""
    never = {"RCPT": "3", "DATA": "4", "DOT": "5"}
    later = {"RCPT": "7", "DATA": "8", "DOT": "9"}
    far = far_smtp(
        *({"stage": at, "do": "550 5.1.1 no", "to": f"{end}@"} for at, end in never.items()),
        *(
            {"stage": at, "do": "451 4.7.1 later", "to": f"{end}@", "times": 6}
            for at, end in later.items()
        ),
    )
    stage = _send(open_stage, database_url, far)

    stage.drain_with_retries()

    states = stage.check(far, stage.addresses)
    refused = {one for one in stage.addresses if one.partition("@")[0][-1] in never.values()}
    assert {address for address, state in states.items() if state == "failed"} == refused
    assert {state for address, state in states.items() if address not in refused} == {"sent"}
    assert not refused & set(far.taken())


def test_a_sender_that_is_refused_is_an_error_of_the_run(
    sqlite_database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """550 for MAIL is about us: it is told once, and every message stays sendable."""
    far = far_smtp({"stage": "MAIL", "do": "550 5.7.1 we do not take your mail"})
    stage = _send(open_stage, sqlite_database_url, far, messages=20)

    sender = stage.start()
    assert sender.ended() == 1

    assert "do not take your mail" in sender.said()["error"]
    states = stage.check(far, stage.addresses)
    assert set(states.values()) <= {"pending", "failed"}
    assert sum(state == "failed" for state in states.values()) <= 2 * stage.width


def test_a_server_that_stops_reading(
    sqlite_database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """In the middle of a large letter: the link is given up, the others go on and are sent."""
    far = far_smtp({"stage": "BODY", "do": "silent", "every": 5, "times": 2})
    stage = _send(
        open_stage,
        sqlite_database_url,
        far,
        16,
        command_timeout=1.5,
        final_reply_timeout=1.5,
        spec={"template": {"t/subject.txt": "Hello", "t/body.txt": LARGE_BODY}},
    )

    stage.drain_with_retries()

    # The kernel may have taken the whole letter: then nobody here knows that it was not read.
    states = stage.check(far, stage.addresses, uncertain=4)
    assert set(states.values()) <= {"sent", "uncertain"}


def test_a_server_that_trickles_a_byte_a_second(
    sqlite_database_url: str, open_stage: Any, far_smtp: Any
) -> None:
    """A reply that never ends is none: the timeout counts for all of it."""
    rule = {"do": "trickle", "every": 5, "times": 1}
    far = far_smtp(*({"stage": stage, **rule} for stage in ("EHLO", "RCPT", "DOT")))
    stage = _send(
        open_stage,
        sqlite_database_url,
        far,
        40,
        connect_timeout=2,
        command_timeout=2,
        final_reply_timeout=2,
    )

    stage.drain_with_retries()

    states = stage.check(far, stage.addresses, uncertain=2)
    assert set(states.values()) <= {"sent", "uncertain"}


def _certificate(folder: Path, *names: str) -> tuple[str, str]:
    """Files of an authority and of a server's key with its certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    key = folder / "server.pem"
    key.unlink(missing_ok=True)
    server = authority.issue_cert(*names)
    server.private_key_and_cert_chain_pem.write_to_path(key)
    return str(folder / "authority.pem"), str(key)


def test_a_certificate_that_does_not_fit(
    sqlite_database_url: str, open_stage: Any, far_smtp: Any, tmp_path: Path
) -> None:
    """Made out for another host: nothing is sent, the error says why, and a good one mends it."""
    authority, key = _certificate(tmp_path, "elsewhere.example.com")
    far = far_smtp(certificate=key)
    stage = _send(
        open_stage, sqlite_database_url, far, 20, security="starttls", authority=authority
    )

    sender = stage.start()
    assert sender.ended() == 1

    assert "certificate" in sender.said()["error"]
    assert set(stage.check(far, stage.addresses).values()) == {"pending"}
    assert not far.taken()

    authority, key = _certificate(tmp_path, "127.0.0.1")
    mended = far_smtp(certificate=key)
    stage.send_to(mended.port, security="starttls", authority=authority)
    stage.drain()

    assert set(stage.check(mended, stage.addresses).values()) == {"sent"}


def test_pipelining_withdrawn_after_starttls(
    sqlite_database_url: str, open_stage: Any, far_smtp: Any, tmp_path: Path
) -> None:
    """What was offered in the clear counts no more: not a byte ahead of a reply."""
    authority, key = _certificate(tmp_path, "127.0.0.1")
    far = far_smtp(certificate=key, withdraws=True)
    stage = _send(
        open_stage, sqlite_database_url, far, 60, security="starttls", authority=authority
    )

    stage.drain()

    assert set(stage.check(far, stage.addresses).values()) == {"sent"}
    assert [one for one in far.record.lines() if "wrong" in one] == []
