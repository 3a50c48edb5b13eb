"""The preferences page: what is shown, what is stored, for one person's addresses."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from ignition_ext.consent import SuppressionReason, suppress
from ignition_ext.models import Audience, Preference, RecipientRow
from ignition_ext.outcomes.outbox import EventName
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import Channel

NUMBER = "+4915123456001"


@pytest.fixture
async def known(site: Any) -> Any:
    """Ada's row in an audience, which holds her number besides; and two topics."""
    async with site.database.write() as session:
        audience = Audience(tenant_id=site.tenant_id, name="people", generation=1)
        session.add(audience)
        await session.flush()
        session.add(
            RecipientRow(
                tenant_id=site.tenant_id,
                audience_id=audience.id,
                generation=1,
                email="ada@example.com",
                phone=NUMBER,
            )
        )
    await set_tenant_setting(
        site.database,
        tenant="acme",
        key="preferences.topics",
        value=["news", "new-shops"],
        actor="t",
    )
    return site


async def test_what_is_chosen_is_stored_and_shown(known: Any) -> None:
    """Channels become suppressions, with their events; the rest is kept beside them."""
    path = f"/p/{known.token()}"
    shown = await known.get(path)
    saved = await known.client.post(
        path,
        data={"action": "save", "on": "email", "preferred": "email", "topic": "news"},
        follow_redirects=True,
    )

    assert shown.text.count(" checked") == 5  # both channels, no preference, both topics
    assert "New shops" in shown.text
    assert "Your preferences are saved." in saved.text
    assert saved.text.count(" checked") == 3
    assert await known.suppressed() == [("sms", NUMBER, "opt_out")]
    ((name, payload),) = await known.announced()
    assert name == EventName.RECIPIENT_OPTED_OUT
    assert payload["channel"] == "sms"
    rows = await known.rows(select(Preference))
    assert {(row.channel, row.preferred) for row in rows} == {("email", "email"), ("sms", "email")}
    assert rows[0].topics == {"news": True, "new-shops": False}


async def test_saving_twice_changes_nothing_more(known: Any) -> None:
    """Nor is it announced again."""
    path = f"/p/{known.token()}"
    for _ in range(2):
        await known.post(path, action="save", on="sms", preferred="", topic="news")

    assert await known.suppressed() == [("email", "ada@example.com", "opt_out")]
    assert len(await known.announced()) == 1


async def test_switching_on_takes_back_the_own_opt_out_alone(known: Any) -> None:
    """A complaint stays; the page says that it cannot be switched on."""
    async with known.database.write() as session:
        await suppress(
            session,
            tenant_id=known.tenant_id,
            channel=Channel.SMS,
            addresses=[NUMBER],
            reason=SuppressionReason.COMPLAINT,
            detail="",
            actor="test",
        )
    path = f"/p/{known.token()}"
    await known.post(path, action="save", preferred="sms")
    await known.post(path, action="save", on=["email", "sms"], preferred="sms")
    shown = await known.get(path)

    assert "This cannot be switched on here." in shown.text
    assert await known.suppressed() == [("sms", NUMBER, "complaint")]
    assert [name for name, _ in await known.announced()] == [
        EventName.RECIPIENT_OPTED_OUT,
        EventName.RECIPIENT_OPTED_IN,
    ]


async def test_nobody_else_is_decided_for(known: Any) -> None:
    """What is not the person's, not the tenant's or not there is passed over."""
    path = f"/p/{known.token('bob@example.com')}"
    answer = await known.post(
        path, action="save", on=["email", "sms", "x"], preferred="pigeon", topic=["news", "gossip"]
    )

    assert answer.status_code == 303
    assert await known.suppressed() == []
    assert await known.announced() == []
    (row,) = await known.rows(select(Preference))
    assert (row.address, row.preferred) == ("bob@example.com", None)
    assert row.topics == {"news": True, "new-shops": False}


async def test_the_page_stays_in_its_language(known: Any) -> None:
    """Also behind the redirect; what is no language of ours is left out."""
    path, form = f"/p/{known.token()}", {"action": "save", "on": ["email", "sms"]}
    for asked, tag in (("pt-BR", "pt-BR"), ("x%0d%0aSet-Cookie:a", "en")):
        saved = await known.client.post(f"{path}?lang={asked}", data=form, follow_redirects=True)
        assert saved.headers["content-language"] == tag
        assert 'class="saved"' in saved.text
        assert "set-cookie" not in saved.headers


async def test_a_post_without_the_button_is_refused(known: Any) -> None:
    """A one-click belongs to the other page."""
    answer = await known.client.post(f"/p/{known.token()}", data={"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 400
    assert await known.suppressed() == []
