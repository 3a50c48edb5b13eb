"""What the pages work with: the database, the keys of links, and how often a link may be used."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from ignition_ext.database import Database
from ignition_ext.errors import IgnitionError
from ignition_ext.links.payload import CLICKS, OPENS, PEOPLE, Addressee
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer
from ignition_ext.web.limits import Limits
from ignition_ext.web.recording import Recorder

ACTOR = "web"
"""Who is named in the audit log for what recipients do themselves."""

PAGES_AT_ONCE, PAGES_PER_SECOND = 30, 0.5
"""Of one link: nobody reads a page more often, and a provider that tries again stays below it."""

NOTES_AT_ONCE, NOTES_PER_SECOND = 20, 0.01
"""Of one message's opens, and of its clicks: beyond that links lead on, and nothing is noted."""


class TooOften(IgnitionError):
    """A link is used more often than anybody would; the pages ask to come back later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One process's; made when it starts."""

    database: Database
    people: Signer
    clicks: Signer
    opens: Signer
    recorder: Recorder
    pages: Limits = field(
        default_factory=lambda: Limits(burst=PAGES_AT_ONCE, per_second=PAGES_PER_SECOND)
    )
    notes: Limits = field(
        default_factory=lambda: Limits(burst=NOTES_AT_ONCE, per_second=NOTES_PER_SECOND)
    )

    @classmethod
    def of(cls, database: Database, settings: Settings) -> Desk:
        """With this node's keys.

        Raises:
            ConfigurationError: there is no usable key.
        """
        return cls(
            database=database,
            people=Signer.of(PEOPLE, settings),
            clicks=Signer.of(CLICKS, settings),
            opens=Signer.of(OPENS, settings),
            recorder=Recorder(database),
        )

    def addressee(self, token: str) -> Addressee:
        """Whom a link is about.

        Raises:
            TokenError: it is not one of ours.
            TooOften: it is used too often.
        """
        about = Addressee.from_bytes(self.people.opened(token))
        if not self.pages.allows((about.message_id, about.channel)):
            raise TooOften("this link is used too often.")
        return about


def desk_of(request: Request) -> Desk:
    """The desk of the application that serves a request."""
    desk: Desk = request.app.state.desk
    return desk
