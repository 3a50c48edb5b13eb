"""A campaign's links: which of them its messages carry, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ignition_ext.errors import ConfigurationError
from ignition_ext.links.options import (
    MAILTO,
    ONE_CLICK,
    TRACK_CLICKS,
    TRACK_OPENS,
    WEB_URL,
    checked_web_url,
)
from ignition_ext.links.payload import (
    CLICKS,
    OPENS,
    PEOPLE,
    Addressee,
    TrackedMessage,
    TrackedTarget,
)
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer, lowered
from ignition_ext.values import Channel, MessageId

UNSUBSCRIBE_NAME, PREFERENCES_NAME = "unsubscribe_url", "preferences_url"
"""As templates name them."""

MAILED_WORD = "unsubscribe"
"""With which the subject begins of a mail that asks for it."""

ONE_CLICK_POST = "List-Unsubscribe=One-Click"
"""RFC 8058 section 3.1: the only value that the field may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPlan:
    """The links of one campaign's messages; can be sent to another process.

    Attributes:
        base: public address of the pages, without a slash at its end.
        has_header: emails bear List-Unsubscribe and List-Unsubscribe-Post.
        mailto: mailbox named in List-Unsubscribe besides.
        are_named: the template shows links, so that it needs their names.
        people, clicks, opens: sign each kind; None where there are no such links.
    """

    base: str
    tenant_id: int
    people: Signer
    has_header: bool = False
    mailto: str | None = None
    are_named: bool = False
    clicks: Signer | None = None
    opens: Signer | None = None

    @property
    def is_tracking(self) -> bool:
        """Whether pages are changed so that they tell what becomes of them."""
        return self.clicks is not None or self.opens is not None

    def token(self, message_id: MessageId, channel: Channel, address: str) -> str:
        """Whom a message's links are about."""
        about = Addressee(
            tenant_id=self.tenant_id, message_id=message_id, channel=channel, address=address
        )
        return self.people.sealed(about.to_bytes())

    def names(self, token: str) -> dict[str, str]:
        """What the template may show."""
        return {
            UNSUBSCRIBE_NAME: f"{self.base}/u/{token}",
            PREFERENCES_NAME: f"{self.base}/p/{token}",
        }

    def list_unsubscribe(self, token: str) -> str:
        """The value of List-Unsubscribe (RFC 2369, RFC 8058): the https URI, then the mailbox.

        The subject of the mail to come holds the token in letters of which the case does not
        matter: programs that write such mails, and those on their way, change it.
        """
        uri = f"<{self.base}/u/{token}>"
        if self.mailto is None:
            return uri
        return f"{uri}, <mailto:{self.mailto}?subject={MAILED_WORD}%20{lowered(token)}>"

    def click_url(self, message_id: MessageId, url: str, *, is_personal: bool) -> str:
        """A link that leads to the target and says that it was followed."""
        assert self.clicks is not None
        target = TrackedTarget(
            tenant_id=self.tenant_id, message_id=message_id, url=url, is_personal=is_personal
        )
        return f"{self.base}/c/{self.clicks.sealed(target.to_bytes())}"

    def pixel_url(self, message_id: MessageId) -> str:
        """An image that says that the message was opened."""
        assert self.opens is not None
        about = TrackedMessage(tenant_id=self.tenant_id, message_id=message_id)
        return f"{self.base}/o/{self.opens.sealed(about.to_bytes())}.gif"


def link_plan(
    *,
    tenant_id: int,
    channel: Channel,
    own: Mapping[str, Any],
    files: Mapping[str, str],
    wants_header: bool | None,
    settings: Settings,
) -> LinkPlan | None:
    """What links a campaign's messages carry; None where none, and then nothing is spent on them.

    Args:
        own: the tenant's settings.
        files: the template's sources.
        wants_header: what the campaign says of List-Unsubscribe; None leaves it to the tenant.

    Raises:
        ConfigurationError: links are wanted and there is no public address, or no key.
    """
    is_email = channel is Channel.EMAIL
    has_header = is_email and (own.get(ONE_CLICK, False) if wants_header is None else wants_header)
    opens = is_email and bool(own.get(TRACK_OPENS, False))
    clicks = is_email and bool(own.get(TRACK_CLICKS, False))
    named = [name for name in (UNSUBSCRIBE_NAME, PREFERENCES_NAME) if _shows(files, name)]
    base = web_url(own, settings)
    if not base:
        if has_header or opens or clicks:
            raise ConfigurationError(
                "links for unsubscribing or tracking are wanted, and nothing says where"
                " recipients reach us.",
                mend="Set IGNITION_WEB_URL (or web.url of the tenant) to the public address of"
                f" `ignition web`, or take {ONE_CLICK}, {TRACK_OPENS} and {TRACK_CLICKS} back.",
            )
        return None
    if not (has_header or named or opens or clicks):
        return None
    return LinkPlan(
        base=base,
        tenant_id=tenant_id,
        people=Signer.of(PEOPLE, settings),
        has_header=has_header,
        mailto=own.get(MAILTO),
        are_named=bool(named),
        clicks=Signer.of(CLICKS, settings) if clicks else None,
        opens=Signer.of(OPENS, settings) if opens else None,
    )


def web_url(own: Mapping[str, Any], settings: Settings) -> str:
    """The public address: the tenant's, else the installation's; empty without one.

    Raises:
        ConfigurationError: it cannot be one.
    """
    if own.get(WEB_URL):
        return checked_web_url(own[WEB_URL])
    return checked_web_url(settings.web_url, "IGNITION_WEB_URL") if settings.web_url else ""


def _shows(files: Mapping[str, str], name: str) -> bool:
    return any(name in source for source in files.values())
