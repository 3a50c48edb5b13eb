"""``/p/TOKEN``: the channels and topics that a recipient wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from ignition_ext.consent.preferences import Choices, Preferences
from ignition_ext.delivery.report import shortened
from ignition_ext.values import Channel
from ignition_ext.web.desk import desk_of
from ignition_ext.web.forms import read_form
from ignition_ext.web.languages import languages
from ignition_ext.web.pages import notice, page
from ignition_ext.web.wishes import choose, look_up

router = APIRouter()
SAVED = "saved"


@router.api_route("/p/{token}", methods=["GET", "HEAD"])
async def show(request: Request, token: str) -> Response:
    """What is chosen now."""
    desk = desk_of(request)
    about = desk.addressee(token)
    standing = await look_up(desk.database, about)
    chosen = standing.preferences
    return page(
        request,
        "preferences",
        locale=standing.locale,
        tenant=standing.title,
        channels=[
            {
                "name": channel.value,
                "address": shortened(address),
                "is_on": chosen.allowed[channel],
                "is_barred": channel in chosen.barred,
            }
            for channel, address in sorted(chosen.addresses.items())
        ],
        preferred=chosen.preferred.value if chosen.preferred else "",
        topics=chosen.topics,
        is_saved=SAVED in request.query_params,
    )


@router.post("/p/{token}")
async def change(request: Request, token: str) -> Response:
    """Store what was chosen, and show it."""
    desk = desk_of(request)
    about = desk.addressee(token)
    form = read_form(request.headers.get("content-type", ""), await request.body())
    if form.get("action") != ["save"]:
        return notice(request, "invalid", 400)
    standing = await look_up(desk.database, about)
    await choose(desk.database, about, choices_of(form, standing.preferences))
    tag = request.query_params.get("lang")
    language = f"&lang={tag}" if tag in languages() else ""
    return RedirectResponse(f"{token}?{SAVED}=1{language}", status_code=303)


def choices_of(form: Mapping[str, Sequence[str]], known: Preferences) -> Choices:
    """What a form says, as far as it is about something that can be chosen."""
    on, topics = form.get("on", ()), form.get("topic", ())
    liked = [one for one in known.addresses if [one.value] == list(form.get("preferred", ()))]
    return Choices(
        allowed={
            channel: channel.value in on
            for channel in known.addresses
            if channel not in known.barred
        },
        preferred=Channel(liked[0]) if liked else None,
        topics={topic: topic in topics for topic in known.topics},
    )
