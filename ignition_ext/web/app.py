"""The application: its routes, what it needs while it serves, and what it says of its health."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from ignition_ext.database import Database
from ignition_ext.errors import (
    AudienceError,
    DatabaseError,
    IgnitionError,
    NotFoundError,
    TokenError,
)
from ignition_ext.schema import database_errors, require_current
from ignition_ext.settings import Settings
from ignition_ext.web import preferences, tracking, unsubscribe
from ignition_ext.web.desk import Desk, TooOften, desk_of
from ignition_ext.web.guard import Guard
from ignition_ext.web.pages import notice, style

_log = logging.getLogger(__name__)


def create_app() -> ASGIApp:
    """The pages, for any ASGI server: ``uvicorn --factory ignition_ext.web:create_app``.

    Settings are read when it is made; the database is opened when it starts to serve.
    """
    settings = Settings()
    app = FastAPI(
        title="Ignition",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_serving,
    )
    app.state.settings = settings
    # Plain routes, and first: what FastAPI does for each would be most of the work.
    app.add_route("/c/{token}", tracking.click)
    app.add_route("/o/{token}.gif", tracking.opened)
    app.include_router(unsubscribe.router)
    app.include_router(preferences.router)
    app.add_route("/static/style.css", style)
    app.add_route("/robots.txt", _robots)
    app.add_route("/health/live", _live)
    app.add_route("/health/ready", _ready)
    app.add_exception_handler(TokenError, _invalid)
    app.add_exception_handler(NotFoundError, _invalid)
    app.add_exception_handler(AudienceError, _invalid)
    app.add_exception_handler(TooOften, _too_often)
    app.add_exception_handler(DatabaseError, _busy)
    app.add_exception_handler(SQLAlchemyError, _busy)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    return Guard(app, _path_of(settings.web_url))


def _path_of(web_url: str) -> str:
    """The path that a public address brings along: ``/mail`` of ``https://example.com/mail``."""
    return urlsplit(web_url).path.rstrip("/")


@asynccontextmanager
async def _serving(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    database = Database(settings.database_url)
    try:
        database.require_one_host()
        with database_errors(database):
            await require_current(database)
        desk = app.state.desk = Desk.of(database, settings)
        desk.recorder.start()
        try:
            yield
        finally:
            await desk.recorder.close()
    finally:
        await database.close()


async def _robots(request: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


async def _live(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    """Whether the database answers; a load balancer asks."""
    desk = desk_of(request)
    database = desk.database
    try:
        with database_errors(database):
            await require_current(database)
    except IgnitionError as error:
        _log.warning("not ready: %s", error)
        return JSONResponse({"status": "unavailable"}, status_code=503)
    notes = {"waiting": desk.recorder.waiting, "lost": desk.recorder.lost}
    return JSONResponse({"status": "ok", **notes})


async def _invalid(request: Request, error: Exception) -> Response:
    return notice(request, "invalid", 404)


async def _too_often(request: Request, error: Exception) -> Response:
    answer = notice(request, "busy", 429)
    answer.headers["retry-after"] = str(desk_of(request).pages.retry_after)
    return answer


async def _busy(request: Request, error: Exception) -> Response:
    _log.error("the database cannot be used: %s", error)
    answer = notice(request, "busy", 503)
    answer.headers["retry-after"] = "60"
    return answer


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = notice(request, "invalid", error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _failed(request: Request, error: Exception) -> Response:
    return notice(request, "busy", 500)
