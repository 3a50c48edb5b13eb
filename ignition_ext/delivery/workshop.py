"""The two workshops: a claimed message becomes an email or an SMS."""

from __future__ import annotations

from dataclasses import dataclass

from ignition_ext.channels.smpp import SmsEnvelope
from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.links import LinkPlan
from ignition_ext.templates.email_maker import EmailMaker
from ignition_ext.templates.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class EmailWorkshop:
    """Makes emails in this process."""

    maker: EmailMaker

    def build(self, message: ClaimedMessage) -> EmailEnvelope:
        """One email, ready for the wire."""
        email = self.maker.make(
            message.id, message.address, message.locale, message.timezone, message.data
        )
        return EmailEnvelope(
            message_id=message.id,
            envelope_from=email.envelope_from,
            recipient=email.recipient,
            content=email.content,
            smtputf8=email.smtputf8,
        )


@dataclass(frozen=True, slots=True)
class SmsWorkshop:
    """Renders the text; the transport cuts it into segments."""

    renderer: Renderer
    source: str
    links: LinkPlan | None = None

    def build(self, message: ClaimedMessage) -> SmsEnvelope:
        """One SMS."""
        names = None
        if self.links is not None:
            token = self.links.token(message.id, message.channel, message.address)
            names = self.links.names(token)
        return SmsEnvelope(
            message_id=message.id,
            source=self.source,
            destination=message.address,
            text=self.renderer.sms(
                message.data, locale=message.locale, timezone=message.timezone, names=names
            ),
        )
