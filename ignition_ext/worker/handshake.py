"""What the worker has learned of its server, so that no child has to ask again.

Prefect's clients ask each server for its version and for a token against forged requests, in every
process anew: two requests of the eight that come one after the other before a flow's first line.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectException, PrefectHTTPStatusError
from prefect.logging import get_logger
from prefect.settings import get_current_settings

VERSION_CHECK = "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"
FORGERY_TOKENS = "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"
API_URL = "PREFECT_API_URL"
NO_TOKENS = "CSRF protection is disabled."
"""How a server says, with status 422, that it wants no tokens; older ones have no such page."""
logger = get_logger("ignition.worker")


async def settings_of_server() -> Mapping[str, str]:
    """Prefect's settings for children that talk to the same server; none where it cannot be asked.

    A setting that is made anywhere else goes before these.
    """
    url = get_current_settings().api.url
    if not url:
        return {}
    try:
        async with get_client() as client:  # asks for the version by itself
            known = {API_URL: str(url), VERSION_CHECK: "false"}
            if not await _wants_tokens(client):
                known[FORGERY_TOKENS] = "false"
    except (httpx.HTTPError, PrefectException, RuntimeError, OSError) as error:
        logger.debug("The server could not be asked, so children will: %r", error)
        return {}
    return known


def settings_of_child(known: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """What is known of the server that a child will talk to; nothing where that is another one.

    Args:
        known: from :func:`settings_of_server`.
        wanted: the child's environment otherwise.
    """
    if wanted.get(API_URL) != known.get(API_URL):
        return {}
    return dict(known)


async def _wants_tokens(client: PrefectClient) -> bool:
    try:
        await client.request("GET", "/csrf-token", params={"client": str(uuid4())})
    except PrefectHTTPStatusError as error:
        status, text = error.response.status_code, error.response.text
        return not (status == httpx.codes.NOT_FOUND or NO_TOKENS in text)
    return True
