"""The pages as HTML: one language each, no script, readable without a style sheet."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ignition_ext.web.languages import FALLBACK, Language, choose_language, languages

STYLES_KEPT = "public, max-age=86400"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ignition_ext.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _styles() -> str:
    return (files("ignition_ext.web") / "static" / "style.css").read_text(encoding="utf-8")


def language_of(request: Request, default: str = FALLBACK) -> Language:
    """The language that whoever sent a request reads, as far as can be told."""
    accepted = request.headers.get("accept-language", "")
    return choose_language(request.query_params.get("lang"), accepted, default)


def page(
    request: Request, template: str, *, locale: str = FALLBACK, status: int = 200, **values: Any
) -> Response:
    """A page in the reader's language.

    Args:
        request: what it answers.
        template: its file's name without ``.html``.
        locale: the tenant's, where the browser says nothing.
        status: of HTTP.
        values: what the template shows.
    """
    language = language_of(request, locale)
    html = (
        _environment()
        .get_template(f"{template}.html")
        .render(language=language, languages=languages().values(), root=_root(request), **values)
    )
    headers = {"content-language": language.tag, "vary": "accept-language"}
    return HTMLResponse(html, status_code=status, headers=headers)


def notice(request: Request, kind: str, status: int) -> Response:
    """A page that only says something: ``invalid`` or ``busy``."""
    return page(request, "notice", status=status, kind=kind)


async def style(request: Request) -> Response:
    """The pages' style sheet."""
    return Response(_styles(), media_type="text/css", headers={"cache-control": STYLES_KEPT})


def _root(request: Request) -> str:
    """The way back to where the pages begin, relative: right behind any proxy."""
    return "../" * (request.scope["path"].count("/") - 1) or "./"
