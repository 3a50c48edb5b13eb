"""Mails to the unsubscribe address: the same opt-out as a click's, whichever way they come."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.consent.suppressions import lift
from ignition_ext.links import Addressee, LinkPlan
from ignition_ext.links.payload import OPENS, PEOPLE
from ignition_ext.models import AuditLog, OutboxEvent
from ignition_ext.returns.mail_lmtp import listen_lmtp
from ignition_ext.returns.mail_maildir import empty_maildir
from ignition_ext.returns.mail_rows import IncomingMail, list_unmatched
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer, lowered
from ignition_ext.values import Channel, MessageId, new_id
from ignition_ext.web.wishes import opt_out

JO, KIM = "jo@example.org", "kim@example.org"
STOP = "stop@acme.example"
PATIENCE = 90.0


def token(post: Any, key: MessageId, address: str = JO, *, purpose: str = PEOPLE) -> str:
    people = Signer.of(purpose, Settings())
    plan = LinkPlan(base="https://mail.acme.example", tenant_id=post.tenant_id, people=people)
    return lowered(plan.token(key, Channel.EMAIL, address))


def asking(subject: str, *fields: str, to: str = STOP, sender: str = JO) -> bytes:
    more = "".join(f"{line}\r\n" for line in fields)
    head = f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}"
    return f"{head}\r\nThis message was generated.\r\n".encode()


async def take(post: Any, *raws: bytes) -> Any:
    await post.desk.store([IncomingMail(raw=raw, source="test") for raw in raws])
    return await post.desk.settle()


async def told(post: Any) -> list[tuple[str, Mapping[str, Any]]]:
    async with post.database.read() as session:
        rows = (await session.exec(select(OutboxEvent).order_by(OutboxEvent.at))).all()  # type: ignore[arg-type]
    return [(row.name, row.payload | row.private) for row in rows if "recipient" in row.name]


async def audited(post: Any, actor: str) -> list[tuple[str, Any]]:
    async with post.database.read() as session:
        rows = (await session.exec(select(AuditLog).order_by(AuditLog.id))).all()  # type: ignore[arg-type]
    return [(row.action, row.after) for row in rows if row.actor == actor]


async def test_it_does_what_a_click_does(post: Any) -> None:
    """List, reason, event and audit are those of the one-click POST, but for who is named."""
    run, ids = await post.sent(JO, KIM)

    done = await take(post, asking(f"unsubscribe {token(post, ids[JO])}"))
    about = Addressee(
        tenant_id=post.tenant_id, message_id=ids[KIM], channel=Channel.EMAIL, address=KIM
    )
    await opt_out(post.database, about, how="one click")

    assert (done.kinds, done.suppressed, done.unmatched) == ({"unsubscribe": 1}, 1, 0)
    assert await post.states(run) == {JO: "sent", KIM: "sent"}
    assert await post.suppressed() == {JO: "opt_out", KIM: "opt_out"}
    [(mail_name, by_mail), (click_name, by_click)] = await told(post)
    assert mail_name == click_name == "ignition.recipient.opted_out"
    assert by_mail == by_click | {"by": "mail", "message_id": str(ids[JO]), "address": JO}
    [(mail_action, mail_after)] = await audited(post, "mail")
    [(click_action, click_after)] = await audited(post, "web")
    assert mail_action == click_action == "suppression.added"
    assert mail_after.keys() == click_after.keys()
    assert JO not in str(mail_after)
    _, _, claimed = await post.sending(JO, KIM)
    assert claimed == {}


async def test_two_mails_do_it_once(post: Any) -> None:
    """And one that was taken in before an operator took the address off again stays done."""
    _, ids = await post.sent(JO)
    subject = f"unsubscribe {token(post, ids[JO])}"
    await take(post, asking(subject), asking(f"Re: {subject.upper()}"))
    async with post.database.write() as session:
        await lift(
            session,
            tenant_id=post.tenant_id,
            channel=Channel.EMAIL,
            addresses=[JO],
            actor="test",
            detail="a mistake",
        )

    done = await take(post, asking(subject))

    assert done.kinds == {}
    assert await post.suppressed() == {}
    assert len(await told(post)) == 1
    assert [action for action, _ in await audited(post, "mail")] == ["suppression.added"]


async def test_the_token_of_the_return_address_does_as_well(post: Any) -> None:
    """A provider that writes to the envelope sender; the mail is no bounce."""
    run, ids = await post.sent(JO)

    done = await take(post, asking("Unsubscribe", to=post.envelope_from(ids[JO])))

    assert done.kinds == {"unsubscribe": 1}
    assert await post.suppressed() == {JO: "opt_out"}
    assert await post.states(run) == {JO: "sent"}


async def test_what_is_not_ours_changes_nothing(post: Any) -> None:
    """Changed, cut, of another key or purpose, no token: listed with the reason, and for people."""
    _, ids = await post.sent(JO)
    own = token(post, ids[JO])
    other = Signer.of(PEOPLE, Settings(signing_key="x" * 32))
    about = Addressee(
        tenant_id=post.tenant_id, message_id=ids[JO], channel=Channel.EMAIL, address=JO
    )
    changed = own[:9] + ("a" if own[9] != "a" else "b") + own[10:]
    forged = [
        changed,
        own[:-3],
        own[3:],
        token(post, ids[JO], purpose=OPENS),
        lowered(other.sealed(about.to_bytes())),
        "a" * 80,
    ]
    quoted = f"In-Reply-To: <{ids[JO]}@example.com>"
    wrong_return = f"bounces+{'a' * 42}@mail.example.com"

    done = await take(
        post,
        *[asking(f"unsubscribe {one}") for one in forged],
        asking("unsubscribe", quoted),
        asking("unsubscribe", to=wrong_return),
    )

    assert (done.kinds, done.suppressed, done.unmatched) == ({}, 0, len(forged) + 2)
    assert await post.suppressed() == {}
    assert await told(post) == []
    async with post.database.read() as session:
        rows = await list_unmatched(session, limit=100)
    assert {row["kind"] for row in rows} == {"unsubscribe"}
    assert {row["address"] for row in rows} == {JO}
    assert sorted("forged" in row["note"] for row in rows) == [False] * 2 + [True] * len(forged)


async def test_a_tenant_that_is_gone_holds_up_nobody(post: Any) -> None:
    """A link of another database with the same key; the mail beside it is carried out."""
    _, ids = await post.sent(JO, KIM)
    good = asking(f"unsubscribe {token(post, ids[KIM], KIM)}")
    post.tenant_id += 1
    gone = asking(f"unsubscribe {token(post, ids[JO])}")

    done = await take(post, gone, good)

    assert (done.kinds, done.unmatched) == ({"unsubscribe": 1}, 1)
    assert await post.suppressed() == {KIM: "opt_out"}


async def test_an_automatic_reply_is_ignored(post: Any) -> None:
    """Nothing is opted out, nothing is kept of it."""
    _, ids = await post.sent(JO)
    subject = f"unsubscribe {token(post, ids[JO])}"

    done = await take(post, asking(f"Re: {subject}", "Auto-Submitted: auto-replied"))

    assert (done.kinds, done.unmatched) == ({}, 0)
    assert await post.suppressed() == {}
    [row] = await post.reports()
    assert (row.state, row.raw, row.report) == ("ignored", None, {})


async def test_it_works_when_the_run_is_gone(post: Any) -> None:
    """The subject says itself whom it is about."""
    done = await take(post, asking(f"unsubscribe {token(post, MessageId(new_id()))}"))

    assert done.kinds == {"unsubscribe": 1}
    assert await post.suppressed() == {JO: "opt_out"}
    [row] = await post.reports()
    assert (row.state, row.address, row.raw, row.report) == ("settled", JO, None, {})


@pytest.mark.parametrize("way", ["maildir", "lmtp"])
async def test_either_way_in_leads_to_it(post: Any, way: str, tmp_path: Path) -> None:
    """What a mail server delivers, beside the bounces of the same mailbox."""
    _, ids = await post.sent(JO)
    raw = asking(f"unsubscribe {token(post, ids[JO])}")

    if way == "maildir":
        for name in ("new", "cur", "tmp"):
            (tmp_path / "mail" / name).mkdir(parents=True)
        (tmp_path / "mail" / "new" / "1.mx").write_bytes(raw)
        assert await empty_maildir(post.desk, tmp_path / "mail") == 1
    else:
        assert await _over_lmtp(post, raw) == {}
    await post.desk.settle()

    assert await post.suppressed() == {JO: "opt_out"}


async def _over_lmtp(post: Any, raw: bytes) -> Any:
    stop, port = asyncio.Event(), asyncio.Future[int]()
    work = asyncio.create_task(
        listen_lmtp(
            post.desk, "127.0.0.1", 0, stop, taken=lambda _: None, listening=port.set_result
        )
    )
    try:
        place = await asyncio.wait_for(port, PATIENCE)
        return await asyncio.to_thread(_hand_in, place, raw)
    finally:
        stop.set()
        await work


def _hand_in(port: int, raw: bytes) -> Any:
    with smtplib.LMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        return client.sendmail(JO, [STOP], raw)
