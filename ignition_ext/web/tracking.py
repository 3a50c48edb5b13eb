"""``/c/TOKEN`` leads on to where a link of a message leads; ``/o/TOKEN.gif`` is one pixel.

Where a link leads is sealed in it, so nobody makes it lead elsewhere. HEAD notes nothing.
"""

from __future__ import annotations

import base64

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ignition_ext.errors import TokenError
from ignition_ext.links.payload import TrackedMessage, TrackedTarget
from ignition_ext.models.tracking import TrackingKind
from ignition_ext.models.types import utc_now
from ignition_ext.web.agents import classify
from ignition_ext.web.desk import desk_of
from ignition_ext.web.recording import Note, kept_url

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of 1×1."""


async def click(request: Request) -> Response:
    """Lead on, and note it."""
    desk = desk_of(request)
    about = TrackedTarget.from_bytes(desk.clicks.opened(request.path_params["token"]))
    url = kept_url(about.url, is_personal=about.is_personal)
    _note(request, about, TrackingKind.CLICK, url)
    return RedirectResponse(about.url, status_code=302)


async def opened(request: Request) -> Response:
    """The pixel, whatever the link is worth: a broken image would show in the message."""
    desk = desk_of(request)
    try:
        about = TrackedMessage.from_bytes(desk.opens.opened(request.path_params["token"]))
    except TokenError:
        return Response(PIXEL, status_code=404, media_type="image/gif")
    _note(request, about, TrackingKind.OPEN, "")
    return Response(PIXEL, media_type="image/gif")


def _note(
    request: Request, about: TrackedMessage | TrackedTarget, kind: TrackingKind, url: str
) -> None:
    desk = desk_of(request)
    if request.method == "HEAD" or not desk.notes.allows((about.message_id, kind)):
        return
    desk.recorder.note(
        Note(
            tenant_id=about.tenant_id,
            message_id=about.message_id,
            kind=kind,
            at=utc_now(),
            agent=classify(request.headers),
            url=url,
        )
    )
