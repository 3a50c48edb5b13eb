"""STOP, START and HELP: what they change, what is answered, and whose they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from ignition_ext.consent.forgotten import keep_out, make_key
from ignition_ext.consent.suppressions import SuppressionReason, suppress
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.returns.sms_inbox import REPEAT, SmsInbox
from ignition_ext.returns.sms_replies import ONCE_IN
from ignition_ext.returns.sms_routes import note_route
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel

BIND, PHONE, SENDER = "127.0.0.1:2775/acme", "+4917012345678", "+4915799912345"
OTHER = "+4917087654321"


async def test_stop_suppresses_and_tells_at_once(office: Any, sms: Any) -> None:
    """When the SMSC is answered the number is on the list; twice is once."""
    await office.get(sms.fragment("Stop!"), sms.fragment("STOPP", source=OTHER))
    await office.get(sms.fragment("Stop!"), sms.fragment("abmelden"))

    assert await office.stopped() == {PHONE: "opt_out", OTHER: "opt_out"}
    rows = await office.texts()
    assert [(row.keyword, row.action) for row in rows] == [
        ("stop", "opted out"),
        ("stop", "opted out"),
        ("stop", "was opted out"),
    ]
    assert rows[2].language == "de"
    events = await office.events()
    assert [event.name for event in events] == ["ignition.recipient.opted_out"] * 2
    assert {event.private["address"] for event in events} == {PHONE, OTHER}
    assert await office.replies() == []


async def test_start_lifts_an_opt_out_and_nothing_else(office: Any, sms: Any) -> None:
    """Who was taken off the list by an operator stays off it."""
    async with office.database.write() as session:
        await suppress(
            session,
            tenant_id=office.tenant_id,
            channel=Channel.SMS,
            addresses=[OTHER],
            reason=SuppressionReason.MANUAL,
            detail="asked by letter",
            actor="test",
        )
    await office.get(sms.fragment("STOP"))
    await office.get(sms.fragment("START"), sms.fragment("START", source=OTHER))

    assert await office.stopped() == {OTHER: "manual"}
    assert [row.action for row in await office.texts()] == [
        "opted out",
        "opted in",
        "was not opted out",
    ]
    assert [event.name for event in await office.events()] == [
        "ignition.recipient.opted_out",
        "ignition.recipient.opted_in",
    ]


async def test_answers_are_written_down_once_a_day_and_keyword(office: Any, sms: Any) -> None:
    """In the word's language, else the tenant's; never to who must not be written to."""
    await office.setting("sms.replies", True)
    await office.setting("sms.help_text", "Acme hilft: 0800 1234")
    await office.setting("sms.stop_text.fr", "Acme: c'est fini.")
    await office.get(sms.fragment("STOP"), sms.fragment("HELP", source=OTHER))
    await office.get(sms.fragment("arret"), sms.fragment("HELP"))
    await office.get(sms.fragment("désabonner", source="+4917011111111"))

    replies = await office.replies()
    assert [(one.destination, one.keyword, one.language) for one in replies] == [
        (PHONE, "stop", "de"),
        (OTHER, "help", "de"),
        ("+4917011111111", "stop", "fr"),
    ]
    assert replies[0].text.startswith("Acme: Sie erhalten keine SMS mehr")
    assert [one.text for one in replies[1:]] == ["Acme hilft: 0800 1234", "Acme: c'est fini."]
    assert {(one.source, one.bind, one.state) for one in replies} == {
        (SENDER.lstrip("+"), BIND, "pending")
    }

    await office.age("sms_reply", "created_at", ONCE_IN + timedelta(seconds=1))
    await office.age("inbound_message", "received_at", REPEAT + timedelta(seconds=1))
    await office.get(sms.fragment("HELP", source=OTHER))
    assert len(await office.replies()) == 4


async def test_answers_are_off_unless_switched_on(office: Any, sms: Any) -> None:
    """And one of them can be switched off alone."""
    await office.get(sms.fragment("HELP"))
    await office.setting("sms.replies", True)
    await office.setting("sms.start_text", False)
    await office.get(sms.fragment("START", source=OTHER))

    assert await office.replies() == []


async def test_nobody_is_answered_who_must_not_be_written_to(office: Any, sms: Any) -> None:
    """Suppressed by an operator, or forgotten and kept out by a hash; a new STOP is confirmed."""
    await office.setting("sms.replies", True)
    async with office.database.write() as session:
        await suppress(
            session,
            tenant_id=office.tenant_id,
            channel=Channel.SMS,
            addresses=[PHONE],
            reason=SuppressionReason.MANUAL,
            detail="asked by letter",
            actor="test",
        )
        await make_key(session, office.tenant_id)
        await keep_out(session, office.tenant_id, Channel.SMS, OTHER, reason="bounce")
    for source in (PHONE, OTHER):
        await office.get(*(sms.fragment(word, source=source) for word in ("HELP", "START")))
    assert await office.replies() == []

    await office.get(sms.fragment("STOP", source="+4917011111111"))
    assert [one.keyword for one in await office.replies()] == ["stop"]


async def test_own_words_of_a_tenant(office: Any, sms: Any) -> None:
    """As a list, or separated by commas."""
    await office.setting("sms.stop_words", "Raus, nie wieder")
    await office.setting("sms.help_words", ["Wer da"])
    await office.get(sms.fragment("NIE WIEDER!"), sms.fragment("wer da?", source=OTHER))

    assert [row.keyword for row in await office.texts()] == ["stop", "help"]
    assert await office.stopped() == {PHONE: "opt_out"}


@pytest.fixture
async def shared(office: Any) -> int:
    """A second tenant that sends by the same bind under the same number."""
    tenant = await create_tenant(office.database, name="zeta", region="DE", actor="test")
    assert tenant.id is not None
    await note_route(office.database, bind=BIND, sender=SENDER, tenant_id=tenant.id)
    return int(tenant.id)


async def wrote_to(office: Any, tenant_id: int, address: str) -> None:
    """A run of the tenant's with a message for this number."""
    async with office.database.write() as session:
        campaign = Campaign(tenant_id=tenant_id, name=f"c{tenant_id}", version=1)
        session.add(campaign)
        await session.flush()
        campaign_id = campaign.id
    assert campaign_id is not None
    request = RunRequest(tenant_id=tenant_id, campaign_id=campaign_id, campaign_version=1)
    opened = await open_run(office.database, request, actor="test")

    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        yield [NewMessage(channel=Channel.SMS, address=address, domain="49")]

    await open_ledger(office.database).snapshot(opened.ref, batches())


async def test_a_text_belongs_to_whoever_wrote_last(office: Any, sms: Any, shared: int) -> None:
    """Where two tenants share a number, their messages decide."""
    await wrote_to(office, office.tenant_id, PHONE)
    await wrote_to(office, shared, OTHER)
    await office.get(sms.fragment("STOP"), sms.fragment("STOP", source=OTHER))

    assert [row.tenant_id for row in await office.texts()] == [office.tenant_id, shared]


async def test_a_stop_that_could_be_meant_for_two_counts_for_both(
    office: Any, sms: Any, shared: int
) -> None:
    """Other words belong to nobody then."""
    await office.get(sms.fragment("STOP"), sms.fragment("Hallo"))

    assert [(row.tenant_id, row.action) for row in await office.texts()] == [
        (None, "opted out"),
        (None, "stored"),
    ]
    events = await office.events()
    assert {event.tenant_id for event in events} == {office.tenant_id, shared}


async def test_the_sender_that_was_written_to_decides_first(office: Any, sms: Any) -> None:
    """Each tenant has a number of its own on one bind."""
    tenant = await create_tenant(office.database, name="zeta", region="DE", actor="test")
    assert tenant.id is not None
    await note_route(office.database, bind=BIND, sender="72345", tenant_id=tenant.id)
    await office.get(sms.fragment("STOP", to="72345"), sms.fragment("hm", to="999"))

    assert [row.tenant_id for row in await office.texts()] == [tenant.id, None]


async def test_a_listener_may_be_told_whose_texts_are(office: Any, sms: Any) -> None:
    """Then no route is asked; without any, and without a message, a text is nobody's."""
    nobody = sms.fragment("STOP", bind="elsewhere")
    await office.get(nobody)
    told = SmsInbox(office.database, tenant_id=office.tenant_id)
    await told.store([sms.fragment("STOP", source=OTHER, bind="elsewhere")])

    assert [(row.tenant_id, row.action) for row in await office.texts()] == [
        (None, "belongs to no tenant"),
        (office.tenant_id, "opted out"),
    ]
    assert await office.stopped() == {OTHER: "opt_out"}
