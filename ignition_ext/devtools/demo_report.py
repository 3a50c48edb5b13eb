"""Compares what the recording servers hold with what the ledger says, message by message."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from ignition_ext.devtools.capture_smtp import CapturedMessage, read_messages

ARRIVED = frozenset({"sent", "delivered", "bounced", "complained"})
"""States that say that a server took the message."""
UNSETTLED = frozenset({"pending", "claimed", "sending", "deferred", "uncertain"})
"""States that a finished demo must not leave: everything on loopback has an outcome."""
SHOWN_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison and whether it holds."""

    holds: bool
    text: str


def _accounts(name: str, status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Check:
    counts: dict[str, int] = dict(status["counts"])
    total = counts.pop("total")
    listed = Counter(row["state"] for row in rows)
    unsettled = sum(counts[state] for state in UNSETTLED)
    holds = (
        status["state"] == "completed"
        and total > 0
        and total == sum(counts.values()) == len(rows)
        and not unsettled
        and all(listed[state] == count for state, count in counts.items())
    )
    text = f"{name}: {total} messages, each in one state, {unsettled} unsettled"
    return Check(holds=holds, text=text if holds else f"{text} (run {status['state']})")


def _compare(name: str, server: str, here: Counter[Any], there: Counter[Any]) -> Check:
    twice = sum(1 for count in there.values() if count > 1)
    missing, foreign = (here - there).total(), (there - here).total()
    return Check(
        holds=here == there and not twice,
        text=(
            f"{name}: the ledger says {here.total()} arrived, {server} holds {there.total()};"
            f" {missing} missing, {foreign} not in the ledger, {twice} twice"
        ),
    )


def _parsed(message: CapturedMessage) -> EmailMessage:
    parsed = message_from_bytes(message.content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def check_mail(
    record: Path, status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """The mail server's record against the ledger: by recipient and by Message-ID."""
    captured = read_messages(record) if record.exists() else []
    there = Counter(
        (recipient, str(_parsed(message)["Message-ID"]).strip("<>").partition("@")[0])
        for message in captured
        for recipient in message.recipients
    )
    here = Counter((row["address"], row["message_id"]) for row in rows if row["state"] in ARRIVED)
    return [_accounts("Email", status, rows), _compare("Email", "the mail server", here, there)]


def _submits(record: Path) -> list[dict[str, Any]]:
    if not record.exists():
        return []
    with record.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def check_sms(
    record: Path, status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[Check]:
    """The SMSC's record against the ledger: by recipient and number of segments."""
    submits = _submits(record)
    there = Counter((f"+{one['destination']}", one["part"], one["parts"]) for one in submits)
    here = Counter(
        (row["address"], part, row["parts"])
        for row in rows
        if row["state"] in ARRIVED
        for part in range(1, row["parts"] + 1)
    )
    return [_accounts("SMS", status, rows), _compare("SMS segments", "the SMSC", here, there)]


def first_mail(record: Path) -> str:
    """The first email as an inbox shows it: sender, recipient, subject, text, attachments."""
    messages = read_messages(record) if record.exists() else []
    if not messages:
        return "none"
    parsed = _parsed(messages[0])
    body = parsed.get_body(("plain",))
    text = body.get_content() if body is not None else ""
    names = [part.get_filename() for part in parsed.iter_attachments()]
    lines = [f"{name}: {parsed[name]}" for name in ("From", "To", "Subject", "Message-ID")]
    lines += [f"Attached: {', '.join(filter(None, names)) or 'nothing'}", ""]
    return "\n".join(lines + text.strip().splitlines()[:SHOWN_LINES])


def first_text(record: Path) -> str:
    """The first SMS as a handset shows it."""
    submits = _submits(record)
    if not submits:
        return "none"
    first = submits[0]
    whole = {
        one["part"]: one["text"]
        for one in submits
        if (one["destination"], one["reference"]) == (first["destination"], first["reference"])
    }
    text = "".join(whole[part] for part in sorted(whole))
    return f"{first['source']} → +{first['destination']} ({first['parts']} segments)\n{text}"
