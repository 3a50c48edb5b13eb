"""``ignition web``: the pages that recipients reach."""

from __future__ import annotations

import socket
from typing import Annotated

import uvicorn
from cyclopts import Parameter
from cyclopts.validators import Number
from uvicorn.supervisors import Multiprocess

from ignition_ext.cli.output import note
from ignition_ext.links.options import checked_web_url
from ignition_ext.settings import Settings

FACTORY = "ignition_ext.web:create_app"
AT_ONCE = 1000
"""Requests under way in one process; beyond that it answers 503, which a proxy may try again."""
GRACE_SECONDS = 15
"""For requests under way when it stops: a supervisor usually waits for 30 seconds."""


def web(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8080,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=64))] = 1,
    proxies: str = "127.0.0.1",
) -> int:
    """Serve the pages that links in messages lead to: unsubscribing, preferences, opens, clicks.

    Put a proxy before it that ends TLS, see docs/web.md. SIGTERM or Ctrl-C stops it gently.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        workers: Processes that serve side by side.
        proxies: Addresses of proxies whose X-Forwarded headers are believed, with commas.
    """
    settings = Settings()
    if settings.web_url:
        checked_web_url(settings.web_url, "IGNITION_WEB_URL")
    else:
        note("IGNITION_WEB_URL is not set: messages carry no links to these pages.")
    config = uvicorn.Config(
        FACTORY,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        forwarded_allow_ips=proxies,
        # A request's line holds the link, which is all that it takes to act for a recipient.
        access_log=False,
        server_header=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return _serve(config)


def _serve(config: uvicorn.Config) -> int:
    """What ``uvicorn.run`` does, on a socket that sends the end of an answer at once."""
    listening = config.bind_socket()
    # Connections inherit it. Of a socket that uvicorn binds for several processes asyncio does not
    # know that it is TCP, and each answer in two pieces waits 40 ms for a delayed ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.listen(config.backlog)  # it has said already where it listens
    server = uvicorn.Server(config)
    if config.workers > 1:
        Multiprocess(config, sockets=[listening]).run()
        return 0
    server.run(sockets=[listening])
    return 0 if server.started else 1
