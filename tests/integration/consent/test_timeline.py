"""One recipient over both channels and all campaigns, in order of time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ignition_ext.consent.forgetting import forget
from ignition_ext.consent.timeline import read_timeline
from ignition_ext.errors import AudienceError
from ignition_ext.models import (
    Audience,
    Campaign,
    CampaignRun,
    InboundMessage,
    MailReport,
    Message,
    MessageEvent,
    Preference,
    Receipt,
    RecipientRow,
    Suppression,
    TrackedUrl,
    TrackingEvent,
)
from ignition_ext.values import Channel

ADA, PHONE = "ada@b.example", "+4915123456789"
START = datetime(2026, 11, 20, 8, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


@pytest.fixture
async def history(office: Any) -> Any:
    """A mail that bounced late and was read before, an SMS, a STOP; somebody else beside."""
    tenant_id = office.tenant_id
    async with office.database.write() as session:
        audience = Audience(tenant_id=tenant_id, name="all", generation=1)
        campaign = Campaign(tenant_id=tenant_id, name="welcome")
        url = TrackedUrl(tenant_id=tenant_id, digest="d", url="https://b.example/offer")
        session.add_all([audience, campaign, url])
        await session.flush()
        assert audience.id is not None
        assert campaign.id is not None
        run = CampaignRun(
            tenant_id=tenant_id, campaign_id=campaign.id, campaign_version=1, run_at=START
        )
        session.add(run)
        session.add(
            RecipientRow(
                tenant_id=tenant_id,
                audience_id=audience.id,
                generation=1,
                email=ADA,
                phone=PHONE,
            )
        )
        key = {"run_at": START, "tenant_id": tenant_id}
        email, sms, other = (
            Message(**key, run_id=run.id, channel=channel, address=address, created_at=at(0))
            for channel, address in (
                ("email", ADA),
                ("sms", PHONE),
                ("email", "bob@b.example"),
            )
        )
        session.add_all([email, sms, other])
        for seq, (minute, old, new, words) in enumerate(
            [(1, "sending", "sent", "queued"), (9, "sent", "bounced", "mailbox full")], 1
        ):
            session.add(
                MessageEvent(
                    **key,
                    message_id=email.id,
                    seq=seq,
                    at=at(minute),
                    old_state=old,
                    new_state=new,
                    code="250",
                    detail=words,
                )
            )
        session.add(
            TrackingEvent(
                tenant_id=tenant_id,
                message_id=email.id,
                kind="click",
                at=at(2),
                agent="phone",
                is_proxy=False,
                url_id=url.id,
            )
        )
        session.add(
            MailReport(
                digest="1",
                source="imap",
                received_at=at(8),
                kind="bounce",
                state="settled",
                tenant_id=tenant_id,
                message_id=email.id,
                address=ADA,
                detail="over quota",
            )
        )
        session.add(
            Receipt(
                received_at=at(3),
                tenant_id=tenant_id,
                channel="sms",
                address=PHONE[1:],
                status="DELIVRD",
                message_id=sms.id,
            )
        )
        session.add(
            InboundMessage(
                received_at=at(4),
                tenant_id=None,
                bind="b",
                source=PHONE,
                destination="12345",
                text="STOP",
                action="opted out",
            )
        )
        session.add(
            Suppression(
                tenant_id=tenant_id,
                channel="sms",
                address=PHONE,
                reason="opt_out",
                created_at=at(5),
            )
        )
        session.add(
            Preference(
                tenant_id=tenant_id,
                channel="email",
                address=ADA,
                preferred="email",
                topics={"news": False},
                updated_at=at(6),
            )
        )
    return office


async def test_a_persons_history_is_one(history: Any) -> None:
    """Asked for by either address; what is somebody else's is not in it."""
    by_mail = await read_timeline(history.database, tenant="acme", address="ADA@b.example")
    by_phone = await read_timeline(history.database, tenant="acme", address="0151 23456789")

    assert by_mail.addresses == {Channel.EMAIL: ADA, Channel.SMS: PHONE}
    assert [(one.at, one.kind) for one in by_mail.moments] == [
        (one.at, one.kind) for one in by_phone.moments
    ]
    told = [
        (int((one.at - START).seconds / 60), one.channel.value, one.kind, one.what, one.detail)
        for one in by_mail.moments
    ]
    assert set(told[:2]) == {
        (0, "email", "message", "pending", ""),
        (0, "sms", "message", "pending", ""),
    }
    assert told[2:] == [
        (1, "email", "message", "sent", "queued"),
        (2, "email", "click", "phone", "https://b.example/offer"),
        (3, "sms", "receipt", "DELIVRD", ""),
        (4, "sms", "text", "opted out", "STOP"),
        (5, "sms", "suppression", "opt_out", ""),
        (6, "email", "preference", "email", "news no"),
        (8, "email", "report", "bounce", "over quota"),
        (9, "email", "message", "bounced", "mailbox full"),
    ]
    assert {one.campaign for one in by_mail.moments if one.kind == "message"} == {"welcome"}


async def test_nobody_is_a_timeline_without_moments(history: Any) -> None:
    """What is no address is refused."""
    assert not (
        await read_timeline(history.database, tenant="acme", address="cleo@b.example")
    ).moments
    with pytest.raises(AudienceError, match="nobody"):
        await read_timeline(history.database, tenant="acme", address="nobody")


def test_the_command_prints_it(history: Any, ignition: Callable[..., Any]) -> None:
    """As a table, and as JSON with times in UTC."""
    shown = ignition("recipient", "timeline", ADA, "--tenant", "acme")
    done = ignition("recipient", "timeline", ADA, "--tenant", "acme", "--json")

    assert shown.returncode == 0, shown.stderr
    assert {"mailbox", "full"} <= set(shown.stdout.split())  # the table may wrap
    document = json.loads(done.stdout)
    assert document["addresses"] == {"email": ADA, "sms": PHONE}
    assert document["moments"][-1]["at"] == "2026-11-20T08:09:00Z"
    assert document["moments"][-1]["campaign"] == "welcome"


async def test_one_who_is_kept_out_by_a_hash_is_shown_as_such(office: Any) -> None:
    """An operator who asks why nothing is sent finds the reason."""
    await office.suppress(ADA)
    await forget(office.database, tenant="acme", address=ADA, actor="test")

    found = await read_timeline(office.database, tenant="acme", address=ADA)

    assert (found.kept_out, found.moments) == ({Channel.EMAIL: "manual"}, [])
