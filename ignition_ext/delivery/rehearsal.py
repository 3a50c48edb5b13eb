"""The two channels' rehearsals: everything that sending does with a message, but for the wire."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass, field
from typing import Any

from ignition_ext.channels.smpp import Segmented, SmppOptions, SmsEnvelope, segment
from ignition_ext.channels.smpp.prepare import References, prepare
from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.channels.smtp.options import ServerOffer
from ignition_ext.delivery.envelopes import Workshop
from ignition_ext.delivery.examine import Examined, RefusedContent
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import FailureClass, Outcome

SAMPLE_TEXT = 2000
"""Characters of a sample's text that are shown: a screen."""


@dataclass(frozen=True, slots=True)
class EmailRehearsal:
    """Renders and composes; ``offer`` is what the server said of itself, if it was asked."""

    workshop: Workshop[EmailEnvelope]
    offer: ServerOffer | None = None

    def make(self, message: ClaimedMessage, found: Examined) -> EmailEnvelope:
        """One email as it would go out."""
        made = self.workshop.build(message)
        size = len(made.content)
        if self.offer is not None:
            limit = self.offer.size_limit
            if 0 < limit < size:
                raise RefusedContent(f"{size} octets; the server takes {limit} (SIZE)")
            if made.smtputf8 and not self.offer.offers("SMTPUTF8"):
                raise ValueError("the address needs SMTPUTF8, which the server does not offer")
        found.octets += size
        found.largest = max(found.largest, size)
        return made

    def sample(self, made: EmailEnvelope) -> dict[str, Any]:
        """Subject, text and HTML, read out of the octets as a mail program would."""
        parsed = email.message_from_bytes(made.content, policy=email.policy.default)
        parts = {kind: parsed.get_body((kind,)) for kind in ("plain", "html")}
        shown = {kind: None if part is None else part.get_content() for kind, part in parts.items()}
        return {
            "subject": str(parsed["subject"]),
            "text": None if shown["plain"] is None else shown["plain"][:SAMPLE_TEXT],
            "html": shown["html"],
            "octets": len(made.content),
        }


@dataclass(frozen=True, slots=True)
class SmsRehearsal:
    """Renders, encodes and cuts into segments, with the gateway's own options."""

    workshop: Workshop[SmsEnvelope]
    options: SmppOptions
    references: References = field(default_factory=lambda: References(wide=False))

    def make(self, message: ClaimedMessage, found: Examined) -> SmsEnvelope:
        """One text message as it would go out."""
        made = self.workshop.build(message)
        prepared = prepare(made, self.options, self.references)
        if isinstance(prepared, Outcome):
            if prepared.failure_class is FailureClass.CONTENT:
                raise RefusedContent(prepared.text)
            raise ValueError(prepared.text)
        cut = self._cut(made.text)
        found.encodings[cut.encoding] += 1
        found.units = len(cut.parts)
        found.segments[found.units] += 1
        return made

    def sample(self, made: SmsEnvelope) -> dict[str, Any]:
        """The text, and how it is cut."""
        cut = self._cut(made.text)
        return {
            "from": made.source,
            "text": made.text,
            "encoding": cut.encoding,
            "units": cut.units,
            "segments": list(cut.texts),
        }

    def _cut(self, text: str) -> Segmented:
        return segment(
            text,
            alphabet=self.options.default_alphabet,
            wide_reference=self.options.wide_reference,
            max_parts=self.options.max_parts,
            replace_typography=self.options.replace_typography,
        )
