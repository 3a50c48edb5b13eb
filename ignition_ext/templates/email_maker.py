"""From one recipient's data to the octets of an email; knows neither the ledger nor a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ignition_ext.links import LinkPlan
from ignition_ext.links.personal import ONE_CLICK_POST
from ignition_ext.links.tracking import Tracker
from ignition_ext.templates.attachments import Attachment
from ignition_ext.templates.bounce_address import BounceAddress
from ignition_ext.templates.mime import ComposedEmail, EmailComposer
from ignition_ext.templates.mime_headers import token_field
from ignition_ext.templates.rendering.renderer import Renderer
from ignition_ext.templates.rendering.sources import TemplateSources
from ignition_ext.values import Channel, MessageId

_POST_FIELD = token_field("List-Unsubscribe-Post", ONE_CLICK_POST)


@dataclass(frozen=True, slots=True)
class EmailMaker:
    """Renders subject, HTML and text, and composes the MIME message."""

    renderer: Renderer
    composer: EmailComposer
    links: LinkPlan | None = None
    bounces: BounceAddress | None = None
    tracker: Tracker | None = None

    def make(
        self,
        key: MessageId,
        address: str,
        locale: str | None,
        timezone: str | None,
        data: Mapping[str, Any],
    ) -> ComposedEmail:
        """One email, ready for the wire.

        Raises:
            TemplateError: it cannot be rendered for this recipient.
            ValueError: its address or a header cannot be put on the wire.
        """
        names, fields = None, b""
        if self.links is not None and (self.links.are_named or self.links.has_header):
            token = self.links.token(key, Channel.EMAIL, address)
            names = self.links.names(token) if self.links.are_named else None
            fields = list_fields(self.links, token) if self.links.has_header else b""
        links = None if self.tracker is None else self.tracker.of(key)
        rendered = self.renderer.email(
            data, locale=locale, timezone=timezone, names=names, links=links
        )
        email = self.composer.compose(
            key, address, rendered, name=display_name(data), date=datetime.now(UTC), fields=fields
        )
        if self.bounces is None:
            return email
        return replace(email, envelope_from=self.bounces.sender(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailRecipe:
    """Everything that a maker is made of; can be sent to another process.

    Attributes:
        sources: the template.
        locale, timezone: the tenant's, for recipients without one of their own.
        globals: what every template may name.
        sender: of the ``From`` header.
        headers: the campaign's own.
        envelope_from: of ``MAIL FROM``; None takes the sender's address.
        links: that the messages carry; None for none.
        bounces: makes ``MAIL FROM`` of each message, in the place of ``envelope_from``.
    """

    sources: TemplateSources
    locale: str
    timezone: str
    globals: Mapping[str, Any]
    sender: str
    headers: Mapping[str, str]
    attachments: Sequence[Attachment]
    inline: Sequence[Attachment]
    envelope_from: str | None
    links: LinkPlan | None = None
    bounces: BounceAddress | None = None

    def maker(self) -> EmailMaker:
        """A maker of its own.

        Raises:
            TemplateError: the template does not compile.
            ConfigurationError: a header, the sender or an attachment cannot be used.
        """
        renderer = Renderer(
            self.sources, locale=self.locale, timezone=self.timezone, globals=dict(self.globals)
        )
        composer = EmailComposer(
            sender=self.sender,
            headers=self.headers,
            attachments=self.attachments,
            inline=self.inline,
            envelope_from=self.envelope_from,
        )
        links = self.links
        tracker = None
        if links is not None and links.is_tracking:
            tracker = Tracker(links, self.sources.files.values())
        return EmailMaker(renderer, composer, links, self.bounces, tracker)


def list_fields(links: LinkPlan, token: str) -> bytes:
    """List-Unsubscribe and List-Unsubscribe-Post (RFC 8058 section 3.1), as header lines."""
    return token_field("List-Unsubscribe", links.list_unsubscribe(token)) + _POST_FIELD


def display_name(data: Mapping[str, Any]) -> str:
    """The recipient's name for the ``To`` header: the column ``name``, else first and last."""
    name = data.get("name") or " ".join(
        str(data[key]) for key in ("first_name", "last_name") if data.get(key)
    )
    return str(name).strip()
