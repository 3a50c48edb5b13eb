"""The two workshops: a claimed message becomes an email or an SMS."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ignition_ext.channels.smpp import SmsEnvelope
from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.templates.mime import EmailComposer
from ignition_ext.templates.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class EmailWorkshop:
    """Renders subject, HTML and text, and composes the MIME message."""

    renderer: Renderer
    composer: EmailComposer

    def build(self, message: ClaimedMessage) -> EmailEnvelope:
        """One email, ready for the wire."""
        rendered = self.renderer.email(
            message.data, locale=message.locale, timezone=message.timezone
        )
        composed = self.composer.compose(
            message.id,
            message.address,
            rendered,
            name=display_name(message),
            date=datetime.now(UTC),
        )
        return EmailEnvelope(
            message_id=message.id,
            envelope_from=composed.envelope_from,
            recipient=composed.recipient,
            content=composed.content,
            smtputf8=composed.smtputf8,
        )


@dataclass(frozen=True, slots=True)
class SmsWorkshop:
    """Renders the text; the transport cuts it into segments."""

    renderer: Renderer
    source: str

    def build(self, message: ClaimedMessage) -> SmsEnvelope:
        """One SMS."""
        return SmsEnvelope(
            message_id=message.id,
            source=self.source,
            destination=message.address,
            text=self.renderer.sms(message.data, locale=message.locale, timezone=message.timezone),
        )


def display_name(message: ClaimedMessage) -> str:
    """The recipient's name for the ``To`` header: the column ``name``, else first and last."""
    data = message.data
    name = data.get("name") or " ".join(
        str(data[key]) for key in ("first_name", "last_name") if data.get(key)
    )
    return str(name).strip()
