"""What ``ignition doctor`` says of mails and receipts that fit nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ignition_ext.cli.return_checks import check_returns
from ignition_ext.health.check import Check, Verdict
from ignition_ext.models import Receipt
from ignition_ext.returns.mail_rows import REPORTS, IncomingMail
from ignition_ext.settings import Settings

JO = "jo@example.org"


async def checks(url: str) -> dict[str, Check]:
    found = await check_returns(Settings(database_url=url))
    assert all(check.mend for check in found if check.verdict is not Verdict.OK)
    return {check.name: check for check in found}


async def moved(post: Any, **columns: Any) -> None:
    async with post.database.write() as session:
        await (await session.connection()).execute(update(REPORTS).values(**columns))


def note(subject: str) -> IncomingMail:
    raw = f"From: {JO}\r\nTo: stop@acme.example\r\nSubject: {subject}\r\n\r\nx\r\n".encode()
    return IncomingMail(raw=raw, source="test")


async def test_all_is_well_where_everything_fits(
    post: Any, make_dsn: Any, database_url: str
) -> None:
    """Mails that were settled, and automatic replies, are nobody's business."""
    _, ids = await post.sent(JO)
    raw = make_dsn(to=post.envelope_from(ids[JO]), recipient=JO)
    await post.desk.store([IncomingMail(raw=raw, source="test"), note("Out of office")])
    await post.desk.settle()

    found = await checks(database_url)

    assert {name: check.verdict for name, check in found.items()} == {
        "mails that came back": Verdict.OK,
        "receipts": Verdict.OK,
    }


async def test_what_fits_nothing_is_counted_by_kind_with_the_likely_cause(
    post: Any, make_dsn: Any, database_url: str
) -> None:
    """A key that differs, a mail without a token; what is older than a day is not told again."""
    wrong = f"bounces+{'a' * 42}@mail.example.com"
    bounce = IncomingMail(raw=make_dsn(to=wrong, recipient=JO), source="test")
    await post.desk.store([bounce, note("hello"), note("question"), note("unsubscribe")])
    await post.desk.settle()

    check = (await checks(database_url))["mails that came back"]
    await moved(post, received_at=datetime.now(UTC) - timedelta(hours=25))
    later = (await checks(database_url))["mails that came back"]

    assert check.verdict is Verdict.HINT
    assert "1 bounce, 2 of another kind, 1 unsubscribe" in check.detail
    assert "ignition bounces unmatched. 1 bear a token that is not ours" in check.mend
    assert "ignition suppression add" in check.mend
    assert later.verdict is Verdict.OK


async def test_mails_that_nobody_settles_are_a_failure(
    post: Any, make_dsn: Any, database_url: str
) -> None:
    """They are stored, and neither the flow nor a listener carries them out."""
    raw = make_dsn(to="bounces@mail.example.com", recipient=JO)
    await post.desk.store([IncomingMail(raw=raw, source="test")])

    fresh = (await checks(database_url))["mails that came back"]
    await moved(post, received_at=datetime.now(UTC) - timedelta(minutes=20))
    stale = (await checks(database_url))["mails that came back"]

    assert (fresh.verdict, stale.verdict) == (Verdict.OK, Verdict.FAILED)
    assert "ignition bounces listen" in stale.mend


@pytest.mark.parametrize(("age", "verdict"), [(5, "ok"), (60, "hint"), (1500, "ok")])
async def test_receipts_that_fit_nothing_are_told_with_their_bind(
    post: Any, database_url: str, age: int, verdict: str
) -> None:
    """Not those that may only be early, and not those of long ago."""
    async with post.database.write() as session:
        at = datetime.now(UTC) - timedelta(minutes=age)
        session.add(Receipt(received_at=at, channel="sms", bind="smsc:2775/acme", raw="id:1"))

    check = (await checks(database_url))["receipts"]

    assert check.verdict == verdict
    assert ("1 of the last day" in check.detail) is (verdict == "hint")
    assert ("smsc:2775/acme" in check.detail) is (verdict == "hint")
