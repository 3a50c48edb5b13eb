"""A campaign's workshop: what the campaign file says stands in its emails."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.campaigns.file import read_campaign
from ignition_ext.campaigns.store import StoredCampaign
from ignition_ext.delivery.plan import CampaignPlan, email_workshop
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.models import Campaign, Tenant
from ignition_ext.templates.attachments import Attachment
from ignition_ext.templates.rendering import TemplateSources
from ignition_ext.values import Channel, MessageId, new_id

_PNG = b"\x89PNG\r\n\x1a\n"
_MESSAGE = ClaimedMessage(
    id=MessageId(new_id()),
    channel=Channel.EMAIL,
    address="ada@example.com",
    domain="example.com",
    locale=None,
    timezone=None,
    attempts=0,
    data={"first_name": "Ada", "last_name": "Lovelace"},
)


def _built(html: str, attachments: list[Attachment], **campaign: Any) -> EmailMessage:
    said = {"name": "spring", "tenant": "acme", "channel": "email", "template": "letter"}
    said |= {"block": "mail", "from": "news@example.com", **campaign}
    lines = [f"{key}: {value!r}" for key, value in said.items()]
    definition = read_campaign("\n".join([*lines, "audience: {name: people}"]).encode(), "c.yaml")
    stored = StoredCampaign(
        campaign=Campaign(tenant_id=1, name="spring"),
        tenant=Tenant(name="acme"),
        definition=definition,
        base_path=Path(),
        version=1,
        digest="",
    )
    files = {"letter/subject.txt": "Hi {{ first_name }}", "letter/body.html": html}
    plan = CampaignPlan(
        stored=stored,
        template=TemplateSources(name="letter", version=1, files=files),
        template_version_id=1,
        environment="dev",
        attachments=attachments,
    )
    envelope = email_workshop(plan, run={"id": "1"}).build(_MESSAGE)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("Acme <news@acme.example>", "acme.example"),
        ('"Müller, Söhne" <news@bücher.example>', "xn--bcher-kva.example"),
        ("Acme (news) <news@acme.example>", "acme.example"),
    ],
)
def test_message_id_is_of_the_senders_domain(sender: str, domain: str) -> None:
    """Read from the sender as From is, with a comma in the name or without."""
    message = _built("<p>Hi</p>", [], **{"from": sender})

    assert message["message-id"] == f"<{_MESSAGE.id}@{domain}>"
    assert message["to"].addresses[0].display_name == "Ada Lovelace"


def test_a_file_that_the_page_shows_goes_inline() -> None:
    """By its name, with %20 for a blank; the others are attached."""
    files = [Attachment(name=name, content=_PNG) for name in ("my logo.png", "b.png", "c.png")]

    message = _built('<img src="cid:my%20logo.png"><img src="CID:b.png">', files)

    dispositions = {
        part.get_filename(): part.get_content_disposition()
        for part in message.walk()
        if part.get_filename()
    }
    assert dispositions == {"my logo.png": "inline", "b.png": "inline", "c.png": "attachment"}
