"""What recipients choose: channels, the one they like best, topics; for all their addresses."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.consent import Choices, Preferences, SuppressionReason
from ignition_ext.consent.preferences import read_preferences, set_preferences
from ignition_ext.errors import AudienceError, ConfigurationError
from ignition_ext.models import Audience, Preference, RecipientRow
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import Channel

ADA, PHONE = "ada@b.example", "+4915123456789"


async def people(office: Any, *rows: tuple[str, str], generation: int = 1) -> None:
    """An audience in force whose rows are an email address and a number."""
    async with office.database.write() as session:
        audience = Audience(tenant_id=office.tenant_id, name="customers", generation=1)
        session.add(audience)
        await session.flush()
        for email, phone in rows:
            session.add(
                RecipientRow(
                    tenant_id=office.tenant_id,
                    audience_id=audience.id,
                    generation=generation,
                    email=email,
                    phone=phone,
                )
            )


async def read(office: Any, address: str, channel: Channel = Channel.EMAIL) -> Preferences:
    async with office.database.read() as session:
        return await read_preferences(
            session, tenant_id=office.tenant_id, channel=channel, address=address
        )


async def choose(
    office: Any, address: str, channel: Channel = Channel.EMAIL, **choices: Any
) -> None:
    async with office.database.write() as session:
        await set_preferences(
            session,
            tenant_id=office.tenant_id,
            channel=channel,
            address=address,
            choices=Choices(**choices),
            actor="web",
        )


async def test_without_a_choice_everything_is_wanted(office: Any) -> None:
    """Also of somebody whom no audience knows; an address may be spelled in any way."""
    await set_tenant_setting(
        office.database, tenant="acme", key="preferences.topics", value=["news"], actor="test"
    )

    assert await read(office, "ADA@b.example") == Preferences(
        addresses={Channel.EMAIL: ADA}, allowed={Channel.EMAIL: True}, topics={"news": True}
    )


async def test_a_row_of_an_audience_makes_a_person(office: Any) -> None:
    """What the email's page says of SMS is stored for the number, and read at the number."""
    await people(office, (ADA, PHONE))
    await set_tenant_setting(
        office.database, tenant="acme", key="preferences.topics", value=["news"], actor="test"
    )

    await choose(
        office,
        ADA,
        allowed={Channel.SMS: False},
        preferred=Channel.EMAIL,
        topics={"news": False},
    )

    found = await read(office, "0151 23456789", Channel.SMS)
    assert found == Preferences(
        addresses={Channel.SMS: PHONE, Channel.EMAIL: ADA},
        allowed={Channel.SMS: False, Channel.EMAIL: True},
        preferred=Channel.EMAIL,
        topics={"news": False},
    )
    (row,) = await office.suppressed()
    assert (row.channel, row.address, row.reason, row.actor) == ("sms", PHONE, "opt_out", "web")
    (told,) = await office.audited("preference.changed")
    assert told.after == {"preferred": "email", "topics": {"news": False}}


async def test_a_telephone_that_several_use_is_nobodys_alone(office: Any) -> None:
    """Its page neither shows nor changes what one of them chose for email."""
    await people(office, (ADA, PHONE), ("bob@b.example", PHONE))

    assert (await read(office, PHONE, Channel.SMS)).addresses == {Channel.SMS: PHONE}
    assert (await read(office, ADA)).addresses == {Channel.EMAIL: ADA, Channel.SMS: PHONE}
    with pytest.raises(ConfigurationError, match="channel email cannot be chosen"):
        await choose(office, PHONE, Channel.SMS, allowed={Channel.EMAIL: False})


async def test_a_row_of_an_import_that_is_not_in_force_makes_nobody(office: Any) -> None:
    """Half an import says nothing of a person."""
    await people(office, (ADA, PHONE), generation=2)

    assert (await read(office, ADA)).addresses == {Channel.EMAIL: ADA}


async def test_switching_on_takes_back_an_opt_out_only(office: Any) -> None:
    """A mailbox that bounces stays suppressed, and the page can say that it is not the switch."""
    await office.suppress(ADA, reason=SuppressionReason.OPT_OUT)
    await choose(office, ADA, allowed={Channel.EMAIL: True})
    assert (await read(office, ADA)).allowed == {Channel.EMAIL: True}

    await office.suppress(ADA, reason=SuppressionReason.BOUNCE)
    await choose(office, ADA, allowed={Channel.EMAIL: True})

    found = await read(office, ADA)
    assert (found.allowed, found.barred) == ({Channel.EMAIL: False}, {Channel.EMAIL})


async def test_the_same_choice_again_changes_nothing(office: Any) -> None:
    """A page that is sent twice leaves one row and one entry in the audit log."""
    for _ in range(2):
        await choose(office, ADA, allowed={Channel.EMAIL: False}, preferred=Channel.EMAIL)

    assert len(await office.rows(select(Preference))) == 1
    assert len(await office.audited("preference.changed")) == 1
    assert len(await office.audited("suppression.added")) == 1


async def test_a_topic_that_is_not_offered_and_what_is_no_address_are_refused(office: Any) -> None:
    """Nothing is stored then."""
    with pytest.raises(ConfigurationError, match="topic gossip"):
        await choose(office, ADA, topics={"gossip": False})
    with pytest.raises(AudienceError, match="nobody"):
        await choose(office, "nobody", allowed={Channel.EMAIL: False})

    assert await office.rows(select(Preference)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("caps.email", {"messages": 0, "days": 7}),
        ("caps.email", {"messages": 3}),
        ("caps.sms", {"messages": 3, "days": 1.5}),
        ("caps.sms", {"messages": True, "days": 1}),
        ("caps.sms", []),
        ("caps.sms", 3),
        ("preferences.topics", "news"),
        ("preferences.topics", ["News"]),
        ("preferences.topics", ["news", "news"]),
    ],
)
async def test_a_setting_that_cannot_be_is_refused(office: Any, key: str, value: Any) -> None:
    """The message says what it should be."""
    with pytest.raises(ConfigurationError, match=key):
        await set_tenant_setting(office.database, tenant="acme", key=key, value=value, actor="test")
