"""Mails that came back, handed in by a mail server over LMTP (RFC 2033).

250 only when a mail is stored; 451 while the database is away, so that the server keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiosmtpd.lmtp import LMTP

from ignition_ext.errors import ConfigurationError, DatabaseError
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_imap import Taken
from ignition_ext.returns.mail_rows import IncomingMail

MAX_OCTETS = 32 * 1024 * 1024
"""Announced as SIZE: servers return originals of any size, and give up on bounces that are
refused. Only the beginning of a mail is looked at."""
_log = logging.getLogger(__name__)


class _Handler:
    """aiosmtpd's hooks; the names are its own."""

    def __init__(self, desk: MailDesk, source: str, taken: Taken) -> None:
        self._desk, self._source, self._taken = desk, source, taken

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if envelope.rcpt_tos:
            # One answer after DATA for each recipient is wanted, and aiosmtpd gives one in all.
            # Servers come again at once with the others.
            return "452 4.5.3 one recipient at a time"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = IncomingMail(
            raw=envelope.original_content,
            source=self._source,
            envelope_to=tuple(envelope.rcpt_tos),
        )
        try:
            await self._desk.store([mail])
        except DatabaseError as error:
            _log.warning("a mail was sent back to its server for now: %s", error)
            return "451 4.3.0 cannot be stored now, try again later"
        self._taken(1)
        return "250 2.0.0 stored"

    async def handle_exception(self, error: Exception) -> str:
        _log.error("a mail was sent back to its server for now", exc_info=error)
        return "451 4.3.0 internal error"


def checked_place(place: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``.

    Raises:
        ConfigurationError: it is not that.
    """
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(
            f"{place!r} is no place to listen at.", mend="Write HOST:PORT, such as 127.0.0.1:2424."
        )
    return host.strip("[]"), int(port)


async def listen_lmtp(
    desk: MailDesk,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    taken: Taken,
    listening: Taken,
) -> None:
    """Take in mails as a server hands them in, until ``stop`` is set.

    Args:
        listening: told the port when connections are taken; of use where ``port`` is 0.

    Raises:
        ConfigurationError: nobody can listen there.
    """
    loop = asyncio.get_running_loop()
    handler = _Handler(desk, f"lmtp {host}:{port}", taken)

    def session() -> LMTP:
        return LMTP(
            handler, data_size_limit=MAX_OCTETS, enable_SMTPUTF8=True, ident="Ignition", loop=loop
        )

    with _told(host, port):
        server = await loop.create_server(session, host, port)
    async with server:
        listening(server.sockets[0].getsockname()[1])
        await stop.wait()


@contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"nobody can listen at {host}:{port}: {error.strerror or error}.",
            mend="Choose an address of this machine and a free port; below 1024 only root may.",
        ) from error
