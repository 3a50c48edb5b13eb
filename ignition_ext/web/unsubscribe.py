"""``/u/TOKEN``: a page with a button, and the one-click POST of mailbox providers (RFC 8058).

GET and HEAD change nothing: scanners follow every link of a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from ignition_ext.delivery.report import shortened
from ignition_ext.links import Addressee
from ignition_ext.web.desk import desk_of
from ignition_ext.web.forms import is_one_click, read_form
from ignition_ext.web.pages import notice, page
from ignition_ext.web.wishes import look_up, opt_in, opt_out

router = APIRouter()


@router.api_route("/u/{token}", methods=["GET", "HEAD"])
async def show(request: Request, token: str) -> Response:
    """Ask whether it is meant, or say that it is done."""
    desk = desk_of(request)
    about = desk.addressee(token)
    standing = await look_up(desk.database, about)
    return page(
        request,
        "unsubscribe",
        locale=standing.locale,
        token=token,
        tenant=standing.title,
        address=shortened(about.address),
        is_done=not standing.preferences.allowed[about.channel],
        can_return=about.channel not in standing.preferences.barred,
    )


@router.post("/u/{token}")
async def change(request: Request, token: str) -> Response:
    """Unsubscribe at once; or take that back, from the page alone."""
    desk = desk_of(request)
    about = desk.addressee(token)
    form = read_form(request.headers.get("content-type", ""), await request.body())
    if is_one_click(form):
        await opt_out(desk.database, about, how="one click")
        return PlainTextResponse("Unsubscribed.\n")
    if not await _carried_out(request, about, form):
        return notice(request, "invalid", 400)
    return _back(request, token)


async def _carried_out(
    request: Request, about: Addressee, form: Mapping[str, Sequence[str]]
) -> bool:
    """What the page's own buttons ask for; False for anything else."""
    database = desk_of(request).database
    match form.get("action"):
        case ["unsubscribe"]:
            await opt_out(database, about, how="on the page")
        case ["return"]:
            await opt_in(database, about)
        case _:
            return False
    return True


def _back(request: Request, token: str) -> Response:
    """To the page, which says how things are now; reloading it sends nothing again."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{token}{query}", status_code=303)
