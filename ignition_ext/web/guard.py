"""Stands before the pages: what every answer says to browsers, and how much a request may hold."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_OCTETS = 16_384
"""Of a request's body: a form with a hundred topics has a quarter of it."""

_SECURITY = (
    (
        b"content-security-policy",
        # Nothing but our own style sheet; no script runs, and no site puts the page into a frame.
        b"default-src 'none'; style-src 'self'; img-src data:; form-action 'self';"
        b" base-uri 'none'; frame-ancestors 'none'",
    ),
    # The link is all that it takes to unsubscribe someone: no other site is to hear of it.
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-robots-tag", b"noindex, nofollow"),
)
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """ASGI middleware around the whole application, its error pages too.

    Args:
        app: the application.
        prefix: path that a proxy may leave in front of the pages' own; taken away where it is.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        room = MOST_OCTETS

        async def counted() -> Message:
            nonlocal room
            message = await receive()
            room -= len(message.get("body", b""))
            if room < 0:
                raise HTTPException(413)
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_SECURITY]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                message = {**message, "headers": headers}
            await send(message)

        if _declared(scope) > MOST_OCTETS:
            await _refuse(guarded)
            return
        await self._app(self._without_prefix(scope), counted, guarded)

    def _without_prefix(self, scope: Scope) -> Scope:
        # Not ASGI's root_path, which is right for proxies that take the prefix away and wrong for
        # those that do not. The pages' links are relative, so that they need neither.
        path: str = scope["path"]
        if self._prefix and path.startswith(f"{self._prefix}/"):
            return {**scope, "path": path.removeprefix(self._prefix)}
        return scope


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else MOST_OCTETS + 1
    return 0


async def _refuse(send: Send) -> None:
    text = b"The request is too large.\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(text)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})
