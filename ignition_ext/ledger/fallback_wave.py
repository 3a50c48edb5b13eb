"""Values of a search for emails instead of which text messages go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from ignition_ext.values import FallbackCause, RunRef

FALLBACK_KEY = "fallback.sms"
"""Where an email's data keep the number that it may fall back to, with its country's code. No
template can name it, and no audience's column is called so."""
_START = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page ends: the time of a change, and its message."""

    at: datetime
    message_id: UUID = _START


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """What is looked for in one run.

    Attributes:
        lead: the run of the emails.
        companion: that of the text messages; None while there is none.
        causes: the ends of an email that fall back.
        until: changes of later times do not count; None: all do.
    """

    lead: RunRef
    companion: RunRef | None
    causes: Collection[FallbackCause]
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one page came to.

    Attributes:
        moved: emails instead of which a text message goes from now on, by their last failure's
            class, or their end where they have none.
        added: new text messages: fewer, where recipients share a number.
        end: where the next page begins; None where this one was the last.
        horizon: all changes of earlier times were visible as the page was read.
        wants_companion: some would fall back, and the run has no companion yet.
    """

    moved: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    added: int = 0
    end: Place | None = None
    horizon: datetime
    wants_companion: bool = False
