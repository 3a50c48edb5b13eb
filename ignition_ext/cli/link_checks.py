"""What ``ignition doctor`` says of links in messages: where they lead, and what signs them."""

from __future__ import annotations

from ignition_ext.database import async_url
from ignition_ext.errors import IgnitionError
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.links.options import checked_web_url
from ignition_ext.links.payload import PEOPLE
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer, key_path


def check_links(settings: Settings) -> Check:
    """The public address and the key; makes no key."""
    own = settings.signing_key is None
    try:
        url = checked_web_url(settings.web_url, "IGNITION_WEB_URL") if settings.web_url else ""
        if own and not key_path().exists():
            key = "no key yet, one is made on first use"
        else:
            Signer.of(PEOPLE, settings)
            key = f"signed with {key_path() if own else 'IGNITION_SIGNING_KEY'}"
        shares = async_url(settings.database_url).get_backend_name() != "sqlite"
    except IgnitionError as error:
        return failed("links", error.message, error.mend)
    said = f"{url or 'none, IGNITION_WEB_URL is not set'}; {key}"
    if own and url and shares:
        return hint(
            "links",
            said,
            "Where there are more nodes, set IGNITION_SIGNING_KEY to the same secret on each:"
            " no other node can read a link that this one signed.",
        )
    return passed("links", said)
