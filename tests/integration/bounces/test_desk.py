"""From a mail that came back to the message, the address and the next run, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.consent.suppressions import lift
from ignition_ext.ledger.contract import Evidence
from ignition_ext.models.mail_report import MailReport
from ignition_ext.models.outcome import OutboxEvent
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_rows import IncomingMail, list_unmatched
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import (
    Channel,
    FailureClass,
    MessageId,
    MessageState,
    Outcome,
    OutcomeKind,
    new_id,
)

JO, KIM, ANY = "jo@example.org", "kim@example.org", "bounces@mail.example.com"
FULL = {"status": "5.2.2", "reason": "552 5.2.2 mailbox full"}
SPAM = {"status": "5.7.1", "reason": "550 5.7.1 looks like spam"}


def mail(raw: bytes, *to: str) -> IncomingMail:
    return IncomingMail(raw=raw, source="test", envelope_to=to)


async def take(post: Any, *raws: bytes) -> Any:
    await post.desk.store([mail(raw) for raw in raws])
    return await post.desk.settle()


async def test_a_hard_bounce_suppresses_at_once(post: Any, make_dsn: Any) -> None:
    """State, codes and class are the report's; the next run passes the address over."""
    run, ids = await post.sent(JO, KIM)

    done = await take(post, make_dsn(to=post.envelope_from(ids[JO]), recipient=JO))

    assert (done.kinds, done.suppressed) == ({"bounce": 1}, 1)
    assert await post.states(run) == {JO: "bounced", KIM: "sent"}
    [row] = [row async for page in post.ledger.messages(run.id) for row in page][:1]
    assert (row["code"], row["enhanced"], row["failure_class"]) == ("550", "5.1.1", "address")
    assert await post.suppressed() == {JO: "bounce"}
    again, _, claimed = await post.sending(JO, KIM)
    assert set(claimed) == {KIM}
    assert (await post.states(again))[JO] == "suppressed"


async def test_the_same_mail_twice_is_one(post: Any, make_dsn: Any) -> None:
    """Also by another way, and after an operator has taken the address off the list again."""
    _, ids = await post.sent(JO)
    raw = make_dsn(to=post.envelope_from(ids[JO]), recipient=JO)
    await take(post, raw)
    async with post.database.write() as session:
        await lift(
            session,
            tenant_id=post.tenant_id,
            channel=Channel.EMAIL,
            addresses=[JO],
            actor="test",
            detail="mended",
        )

    assert await post.desk.store([mail(raw)]) == 0
    await take(post, b"X-Spam: no\r\n" + raw)

    assert await post.suppressed() == {}
    assert len(await post.reports()) == 2


@pytest.mark.parametrize("together", [True, False], ids=["at once", "one after the other"])
async def test_a_weaker_report_before_does_not_hide_a_hard_one(
    post: Any, make_dsn: Any, together: bool
) -> None:
    """The mailbox was full, and then there was none."""
    _, ids = await post.sent(JO)
    to = post.envelope_from(ids[JO])
    reports = [make_dsn(to=to, recipient=JO, **FULL), make_dsn(to=to, recipient=JO)]

    done = [await take(post, *reports)] if together else [await take(post, one) for one in reports]

    assert [one.suppressed for one in done] == ([1] if together else [0, 1])
    assert await post.suppressed() == {JO: "bounce"}


@pytest.mark.parametrize(
    "odd",
    [
        b"Content-Type: text/plain\r\n\r\nMessage-ID: <a\0bcd@example.com>\r\n",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\nMessage-ID: <a+2AA-bcd@example.com>\r\n",
    ],
    ids=["NUL", "lone surrogate"],
)
async def test_a_mail_that_no_database_takes_keeps_no_other_waiting(
    post: Any, make_dsn: Any, odd: bytes
) -> None:
    """Anyone can send one to the address in each Return-Path."""
    _, ids = await post.sent(JO, KIM)
    others = [make_dsn(to=post.envelope_from(ids[one]), recipient=one) for one in (JO, KIM)]
    group = [mail(others[0]), mail(odd, "x\udc80@example.com"), mail(others[1])]

    assert await post.desk.store(group) == 3
    await post.desk.settle()

    assert await post.suppressed() == {JO: "bounce", KIM: "bounce"}


async def test_a_report_that_was_forgotten_keeps_no_other_waiting(post: Any, make_dsn: Any) -> None:
    """Forgetting empties what is stored of a person, also what was not settled yet."""
    _, ids = await post.sent(JO, KIM)
    mails = [mail(make_dsn(to=post.envelope_from(ids[one]), recipient=one)) for one in (JO, KIM)]
    await post.desk.store(mails[:1])
    async with post.database.write() as session:
        [row] = (await session.exec(select(MailReport))).all()
        row.report = {}
        session.add(row)
    await post.desk.store(mails[1:])

    done = await post.desk.settle()

    assert done.unmatched == 1
    assert await post.suppressed() == {KIM: "bounce"}


async def test_policy_never_counts_against_an_address(post: Any, make_dsn: Any) -> None:
    """However often: the message bounced, and it is not the recipient's fault."""
    await set_tenant_setting(
        post.database, tenant="acme", key="bounces.soft_limit", value=2, actor="test"
    )
    for _ in range(3):
        run, ids = await post.sent(JO)
        await take(post, make_dsn(to=post.envelope_from(ids[JO]), recipient=JO, **SPAM))
        assert await post.states(run) == {JO: "bounced"}

    assert await post.suppressed() == {}


async def test_soft_bounces_are_counted_over_runs(post: Any, make_dsn: Any) -> None:
    """So many of different messages within the days suppress; reports of one message are one."""
    await set_tenant_setting(
        post.database, tenant="acme", key="bounces.soft_limit", value=3, actor="test"
    )
    for number in range(3):
        assert await post.suppressed() == {}
        _, ids = await post.sent(JO)
        to = post.envelope_from(ids[JO])
        await take(post, make_dsn(to=to, recipient=JO, **FULL))
        await take(post, b"X-Copy: 1\r\n" + make_dsn(to=to, recipient=JO, **FULL))
        assert (JO in await post.suppressed()) is (number == 2)


async def test_a_complaint_suppresses_and_is_announced(post: Any, make_complaint: Any) -> None:
    """By the token in what the provider quotes; the event names no address to Prefect."""
    run, ids = await post.sent(JO)

    done = await take(post, make_complaint(to=ANY, mail_from=post.envelope_from(ids[JO])))

    assert done.kinds == {"complaint": 1}
    assert await post.states(run) == {JO: "complained"}
    assert await post.suppressed() == {JO: "complaint"}
    async with post.database.read() as session:
        [event] = (await session.exec(select(OutboxEvent))).all()
    assert event.name == "ignition.recipient.complained"
    assert event.payload["message_id"] == str(ids[JO])
    assert JO not in str(event.payload)
    assert event.private == {"address": JO}


async def test_a_delay_changes_nothing(post: Any, make_dsn: Any) -> None:
    """The server goes on trying; the notice is kept."""
    run, ids = await post.sent(JO)

    done = await take(
        post,
        make_dsn(
            to=post.envelope_from(ids[JO]),
            recipient=JO,
            action="delayed",
            status="4.4.1",
            reason="connection timed out",
        ),
    )

    assert done.kinds == {"delayed": 1}
    assert await post.states(run) == {JO: "sent"}
    assert await post.suppressed() == {}


async def test_delivered_is_believed(post: Any, make_dsn: Any) -> None:
    """Only from the server that keeps the mailbox: relayed says nothing."""
    run, ids = await post.sent(JO, KIM)
    ok = {"status": "2.0.0", "reason": "250 ok"}

    await take(
        post,
        make_dsn(to=post.envelope_from(ids[JO]), recipient=JO, action="delivered", **ok),
        make_dsn(to=post.envelope_from(ids[KIM]), recipient=KIM, action="relayed", **ok),
    )

    assert await post.states(run) == {JO: "delivered", KIM: "sent"}


async def test_a_forged_token_is_refused(post: Any, make_dsn: Any) -> None:
    """Nor is the rest of such a mail believed; it is listed with what is wrong."""
    run, ids = await post.sent(JO)
    to = post.envelope_from(ids[JO])
    local, _, domain = to.partition("@")
    forged = f"{local[:-1]}{'a' if local[-1] != 'a' else 'b'}@{domain}"

    done = await take(post, make_dsn(to=forged, recipient=JO, message_id=f"{ids[JO]}@example.com"))

    assert done.unmatched == 1
    assert await post.states(run) == {JO: "sent"}
    async with post.database.read() as session:
        [row] = await list_unmatched(session, limit=10)
    assert row["note"] == f"the token in {forged} is forged, or of another installation"


async def test_a_token_survives_capitals(post: Any, make_dsn: Any) -> None:
    """Some servers write the whole address in capitals."""
    run, ids = await post.sent(JO)

    await take(post, make_dsn(to=post.envelope_from(ids[JO]).upper(), recipient=JO))

    assert await post.states(run) == {JO: "bounced"}


async def test_without_a_token_the_message_id_tells(post: Any, make_dsn: Any) -> None:
    """It is our message's id, which only its recipient's side has seen."""
    run, ids = await post.sent(JO)

    await take(post, make_dsn(to=ANY, recipient=JO, message_id=f"{ids[JO]}@example.com"))

    assert await post.states(run) == {JO: "bounced"}
    assert await post.suppressed() == {JO: "bounce"}


async def test_the_recipient_alone_tells_where_there_is_one(post: Any, make_dsn: Any) -> None:
    """The message bounced; but anyone can write that, so one is not enough to suppress."""
    run, _ = await post.sent(JO)

    await take(post, make_dsn(to=ANY, recipient="JO@Example.org".replace("JO", "jo")))

    assert await post.states(run) == {JO: "bounced"}
    assert await post.suppressed() == {}


async def test_two_messages_to_one_address_are_ambiguous(post: Any, make_dsn: Any) -> None:
    """Then nothing is guessed."""
    first, _ = await post.sent(JO)
    second, _ = await post.sent(JO)

    done = await take(post, make_dsn(to=ANY, recipient=JO))

    assert done.unmatched == 1
    assert [await post.states(run) for run in (first, second)] == [{JO: "sent"}] * 2


async def test_a_bounce_may_be_quicker_than_the_answer(post: Any, make_dsn: Any) -> None:
    """It waits until the server's own answer is stored."""
    run, lease, ids = await post.sending(JO)

    early = await take(post, make_dsn(to=post.envelope_from(ids[JO]), recipient=JO))
    await post.settle(run, lease, list(ids.values()))
    late = await post.desk.settle()

    assert (early.waiting, early.suppressed) == (1, 0)
    assert (late.kinds, late.suppressed) == ({"bounce": 1}, 1)
    assert await post.states(run) == {JO: "bounced"}


async def test_settling_may_be_cut_off_anywhere(post: Any, make_dsn: Any) -> None:
    """The message is settled and its mail is not: the next look does the rest, once."""
    run, ids = await post.sent(JO)
    await post.desk.store([mail(make_dsn(to=post.envelope_from(ids[JO]), recipient=JO))])
    gone = Outcome(
        kind=OutcomeKind.REJECTED, code="550", text="no", failure_class=FailureClass.ADDRESS
    )
    await post.ledger.evidence(
        [Evidence(message_id=ids[JO], state=MessageState.BOUNCED, outcome=gone)]
    )

    first, again = await post.desk.settle(), await MailDesk(post.database).settle()

    assert (first.kinds, first.suppressed) == ({"bounce": 1}, 1)
    assert (again.kinds, again.suppressed) == ({}, 0)
    assert await post.states(run) == {JO: "bounced"}


async def test_two_may_settle_at_once(post: Any, make_complaint: Any) -> None:
    """Each mail is settled by one of them; what is announced is announced once."""
    _, ids = await post.sent(*(f"{number}@example.org" for number in range(20)))
    await post.desk.store(
        [mail(make_complaint(to=ANY, mail_from=post.envelope_from(key))) for key in ids.values()]
    )

    both = await asyncio.gather(post.desk.settle(), MailDesk(post.database).settle())

    assert sum(done.kinds["complaint"] for done in both) == 20
    async with post.database.read() as session:
        assert len((await session.exec(select(OutboxEvent))).all()) == 20


async def test_what_is_no_report_is_kept_or_passed_over(post: Any) -> None:
    """An out-of-office reply leaves no words here; what nobody understands is listed."""
    away = b"From: jo@example.org\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n"
    letter = b"From: jo@example.org\r\nSubject: your newsletter\r\n\r\nWhere is my order?\r\n"

    await take(post, away + b"\r\nI am away.\r\n", letter, b"\xff\x00\r\n")

    states = {row.kind: row.state for row in await post.reports()}
    assert states == {"auto_reply": "ignored", "unknown": "unmatched"}
    assert all(row.raw is None for row in await post.reports() if row.state == "ignored")


async def test_a_token_of_no_message_is_listed(post: Any, make_dsn: Any) -> None:
    """The signature is ours, and the message is gone."""
    to = post.envelope_from(MessageId(new_id()))

    done = await take(post, make_dsn(to=to, recipient=JO))

    assert done.unmatched == 1
    [row] = await post.reports()
    assert row.note == "no message is known by its token"


REFUSALS = {
    "gone@example.org": ("550", "5.1.1", "no", FailureClass.ADDRESS),
    "old@example.org": ("550", "", "no such user here", FailureClass.ADDRESS),
    "bare@example.org": ("550", "", "no", FailureClass.ADDRESS),
    "utf8@example.org": ("550", "5.6.7", "no", FailureClass.ADDRESS),
    "unsent@example.org": ("", "", "no such user", FailureClass.ADDRESS),
    "policy@example.org": ("550", "5.7.1", "no such user", FailureClass.POLICY),
    "sender@example.org": ("550", "5.1.8", "no", FailureClass.SENDER),
    "full@example.org": ("550", "5.2.2", "no", FailureClass.MAILBOX),
}
"""Code, enhanced code, words and class; the first two say for good that there is nobody."""


async def test_addresses_refused_during_a_run_count_too(post: Any) -> None:
    """The sending looks at nothing of it; once, also when an operator lifts it."""
    run, lease, ids = await post.sending(*REFUSALS)
    for address, (code, enhanced, text, failure) in REFUSALS.items():
        outcome = Outcome(
            kind=OutcomeKind.REJECTED,
            code=code,
            enhanced=enhanced,
            text=text,
            failure_class=failure,
        )
        await post.settle(run, lease, [ids[address]], outcome)

    done = await post.desk.settle()

    assert (done.refused, done.suppressed) == (5, 2)
    assert await post.suppressed() == dict.fromkeys(list(REFUSALS)[:2], "bounce")
    async with post.database.write() as session:
        await lift(
            session,
            tenant_id=post.tenant_id,
            channel=Channel.EMAIL,
            addresses=list(REFUSALS),
            actor="test",
            detail="",
        )
    assert (await post.desk.settle()).refused == 0
    assert await post.suppressed() == {}
    assert set((await post.states(run)).values()) == {"failed"}


async def test_what_an_earlier_release_stored_is_settled(post: Any, make_dsn: Any) -> None:
    """Its reports say less: they knew nothing of mails that ask to unsubscribe."""
    run, ids = await post.sent(JO)
    await post.desk.store([mail(make_dsn(to=post.envelope_from(ids[JO]), recipient=JO))])
    [row] = await post.reports()
    row.report = {name: value for name, value in row.report.items() if name != "tokens"}
    async with post.database.write() as session:
        await session.merge(row)

    await post.desk.settle()

    assert await post.states(run) == {JO: "bounced"}
