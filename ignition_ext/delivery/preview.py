"""A dry run: every recipient is rendered and composed, nothing is sent or stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ignition_ext.delivery.envelopes import Workshop
from ignition_ext.delivery.page import environment
from ignition_ext.delivery.recipients import Intake, messages_of
from ignition_ext.delivery.report import shortened
from ignition_ext.errors import TemplateError
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Channel, MessageId, Recipient, new_id

FIRST_PROBLEMS = 10
"""Recipients that the report names: a template's mistake shows in each of them."""


@dataclass(slots=True, kw_only=True)
class Preview:
    """What a run would send.

    Attributes:
        messages: recipients whose message could be made.
        unfit: recipients whose message could not.
        duplicates: recipients whose address another one has.
        skipped: recipients without an address for the channel.
        problems: shortened address and reason of the first unfit ones.
        size: octets of all emails, or segments of all text messages.
    """

    channel: Channel
    messages: int = 0
    unfit: int = 0
    duplicates: int = 0
    skipped: int = 0
    rejected: int = 0
    size: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """``would send 998 (2 cannot be rendered)``."""
        unfit = f", {self.unfit} cannot be rendered" if self.unfit else ""
        return f"dry run: would send {self.messages}{unfit}"

    def refuse(self, address: str, reason: str) -> None:
        """Count a recipient whose message cannot be made."""
        self.unfit += 1
        if len(self.problems) < FIRST_PROBLEMS:
            self.problems.append((shortened(address), reason))


async def preview_messages(
    batches: AsyncIterator[Sequence[Recipient]],
    channel: Channel,
    workshop: Workshop[Any],
    measure: Callable[[Any], int],
    *,
    limit: int | None = None,
) -> Preview:
    """Make each message and forget it; ``measure`` gives its octets or segments."""
    preview, intake = Preview(channel=channel), Intake()
    seen: set[int] = set()  # hashes only: a million addresses stay under 64 MB
    async for batch in messages_of(batches, channel, intake):
        for new in batch:
            if limit is not None and preview.messages + preview.unfit >= limit:
                return preview
            key = hash(new.address)
            if key in seen:
                preview.duplicates += 1
                continue
            seen.add(key)
            message = ClaimedMessage(
                id=MessageId(new_id()),
                channel=channel,
                address=new.address,
                domain=new.domain,
                locale=new.locale,
                timezone=new.timezone,
                attempts=0,
                data=new.data,
            )
            try:
                preview.size += measure(workshop.build(message))
            except (TemplateError, ValueError) as error:
                preview.refuse(new.address, str(error))
            else:
                preview.messages += 1
        preview.skipped = intake.skipped
    preview.skipped = intake.skipped
    return preview


def preview_markdown(reference: str, preview: Preview) -> str:
    """The preview as the artifact shows it."""
    page = environment().get_template("preview.md.j2")
    return page.render(reference=reference, preview=preview)
