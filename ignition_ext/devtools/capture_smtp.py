"""An SMTP server that keeps what it is sent, for the demo and for tests.

Built on aiosmtpd, so that it shares no line with the client that it judges. A marker at the start
of a recipient's local part makes it misbehave::

    defer-451@…          RCPT is refused with this 4xx code     (also defer-451.anything@…)
    reject-550@…         RCPT is refused with this 5xx code
    content-defer-451@…  the final dot is answered with this 4xx code
    content-reject-554@… the final dot is answered with this 5xx code
    busy@…               RCPT is answered with 421, and the connection closed
    drop-at-rcpt@…       hangs up instead of answering RCPT
    drop-before-final@…  hangs up in the middle of the body
    drop-after-final@…   takes the message and hangs up without a reply
    slow@…               takes a second for the reply to the final dot

Run it with ``python -m ignition_ext.devtools.capture_smtp --port 2525 --output mails.jsonl``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import re
import signal
import ssl
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

_MARKER = re.compile(
    r"^(?P<kind>content-defer|content-reject|defer|reject)-(?P<code>[45]\d\d)(?=$|[.+@-])"
    r"|^(?P<act>busy|drop-at-rcpt|drop-before-final|drop-after-final|slow)(?=$|[.+@-])"
)
_ENHANCED = {
    "421": "4.3.2",
    "450": "4.2.1",
    "451": "4.7.1",
    "452": "4.2.2",
    "550": "5.1.1",
    "552": "5.2.2",
    "554": "5.7.1",
}
_SLOW_SECONDS = 1.0
# Bodies of 25 MB, the largest that the big mailbox providers take.
_SIZE_LIMIT = 26_214_400


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedMessage:
    """One message that arrived whole.

    Attributes:
        content: as sent, dots unstuffed.
        answered: False when the server hung up instead of answering (``drop-after-final``).
        accepted: whether the answer was 250.
    """

    envelope_from: str
    recipients: tuple[str, ...]
    content: bytes
    answered: bool = True
    accepted: bool = True
    tls: bool = False
    user: str = ""

    def as_json(self) -> str:
        """One line; content is text, with octets that are not UTF-8 as lone surrogates."""
        return json.dumps(
            {
                "envelope_from": self.envelope_from,
                "recipients": list(self.recipients),
                "answered": self.answered,
                "accepted": self.accepted,
                "tls": self.tls,
                "user": self.user,
                "content": self.content.decode("utf-8", "surrogateescape"),
            }
        )


def read_messages(path: Path) -> list[CapturedMessage]:
    """What a server wrote to its ``output``; a line that is being written is left out."""
    messages = []
    for line in path.read_text("ascii").splitlines(keepends=True):
        if line.endswith("\n"):
            row = json.loads(line)
            row["content"] = row["content"].encode("utf-8", "surrogateescape")
            messages.append(CapturedMessage(**{**row, "recipients": tuple(row["recipients"])}))
    return messages


def _marked(address: str) -> tuple[str, str]:
    """``("reject", "550")``, ``("busy", "")`` or ``("", "")``."""
    match = _MARKER.match(address)
    if match is None:
        return "", ""
    return match["kind"] or match["act"], match["code"] or ""


def _answer(code: str) -> str:
    enhanced = _ENHANCED.get(code, f"{code[0]}.0.0")
    return f"{code} {enhanced} refused, as the address asks"


class _Handler:
    """aiosmtpd's hooks; the names are its own."""

    def __init__(self, keep: Callable[[CapturedMessage], None]) -> None:
        self._keep = keep

    async def handle_RCPT(
        self, server: _Session, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        kind, code = _marked(address)
        match kind:
            case "defer" | "reject":
                return _answer(code)
            case "busy":
                await server.push("421 4.3.2 too busy")
                server.hang_up()
                return "421 closing"
            case "drop-at-rcpt":
                server.hang_up()
                return "421 closing"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: _Session, session: Any, envelope: Any) -> str:
        kinds = dict(_marked(address) for address in envelope.rcpt_tos)
        code = kinds.get("content-defer") or kinds.get("content-reject") or ""
        dropped = "drop-after-final" in kinds
        message = CapturedMessage(
            envelope_from=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            content=envelope.original_content,
            answered=not dropped,
            accepted=not code and not dropped,
            tls=session.ssl is not None or server.implicit_tls,
            user=(session.login_data or b"").decode("utf-8", "replace"),
        )
        self._keep(message)
        if dropped:
            server.hang_up()
        if "slow" in kinds:
            await asyncio.sleep(_SLOW_SECONDS)
        return _answer(code) if code else "250 2.0.0 Ok: queued as 4CAPTURE1"


class _Session(SMTP):
    """One connection, which its server can end."""

    def __init__(self, *args: Any, owner: CaptureSmtpServer, **options: Any) -> None:
        super().__init__(*args, **options)
        self._owner = owner
        self.implicit_tls = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.implicit_tls = transport.get_extra_info("sslcontext") is not None
        self._owner.sessions.add(self)
        self._owner.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.sessions.discard(self)
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Close without another word."""
        if self.transport is not None:
            self.transport.close()

    async def end(self) -> None:
        """Abort, also in the middle of a TLS handshake, which aiosmtpd does not hear the end of."""
        for transport in (self.transport, self._original_transport):
            if transport is not None:
                cast(asyncio.Transport, transport).abort()
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
            await asyncio.wait([self._handler_coroutine])

    async def smtp_DATA(self, arg: str) -> None:
        recipients = self.envelope.rcpt_tos if self.envelope is not None else []
        if any(_marked(address)[0] == "drop-before-final" for address in recipients):
            await self.push("354 go on")
            await self._reader.readline()
            self.hang_up()
            return
        await super().smtp_DATA(arg)


class CaptureSmtpServer:
    """Listens on loopback while the ``async with`` lasts.

    Args:
        port: 0 takes a free one.
        output: JSON lines, one a message, readable by others while the server runs.
        eml_folder: where each message is written as a file too.
        starttls: the certificate to offer STARTTLS with; ``tls`` speaks TLS from the first byte.
        users: with it, AUTH is required, over TLS or not.

    Attributes:
        messages: everything that arrived whole, in order; not filled when ``output`` is given.
        received: how many arrived whole.
        connections: how many were opened so far (twice for STARTTLS).
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        output: Path | None = None,
        eml_folder: Path | None = None,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
        smtputf8: bool = True,
    ) -> None:
        self.host, self.port = host, port
        self.messages: list[CapturedMessage] = []
        self.received = 0
        self.connections = 0
        self.logins = 0
        self.sessions: set[_Session] = set()
        self._output, self._eml_folder = output, eml_folder
        self._starttls, self._tls = starttls, tls
        self._users, self._smtputf8 = users, smtputf8
        self._file: IO[str] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        # aiosmtpd logs each command; what it makes of sessions that end is no news here.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        if self._output is not None:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._output.open("a", encoding="ascii")
        if self._eml_folder is not None:
            self._eml_folder.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        ends = [session.end() for session in list(self.sessions)]
        await asyncio.gather(*ends, return_exceptions=True)
        self.sessions.clear()
        await self._server.wait_closed()
        if self._file is not None:
            self._file.close()

    @property
    def accepted(self) -> list[CapturedMessage]:
        """The messages that were answered with 250."""
        return [message for message in self.messages if message.accepted]

    def _session(self) -> _Session:
        with warnings.catch_warnings():
            # That passwords travel in the clear over loopback is the caller's wish.
            warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
            return self._new_session()

    def _new_session(self) -> _Session:
        return _Session(
            _Handler(self._keep),
            owner=self,
            hostname="capture.example.com",
            ident="Ignition capture",
            data_size_limit=_SIZE_LIMIT,
            enable_SMTPUTF8=self._smtputf8,
            tls_context=self._starttls,
            auth_required=self._users is not None,
            auth_require_tls=False,
            authenticator=self._authenticate if self._users is not None else None,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins += 1
        assert isinstance(data, LoginPassword)
        login, password = data.login.decode(), data.password.decode()
        known = (self._users or {}).get(login) == password
        session.login_data = data.login if known else None
        return AuthResult(success=known, handled=False, auth_data=data)

    def _keep(self, message: CapturedMessage) -> None:
        self.received += 1
        if self._file is None:
            self.messages.append(message)
        else:
            self._file.write(message.as_json() + "\n")
            self._file.flush()
        if self._eml_folder is not None:
            (self._eml_folder / f"{self.received:06}.eml").write_bytes(message.content)


async def serve(port: int, output: Path, eml_folder: Path | None) -> None:
    """Run until SIGINT or SIGTERM; says on stdout where it listens."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, ended.set)
    async with CaptureSmtpServer(port=port, output=output, eml_folder=eml_folder) as server:
        sys.stdout.write(f"listening on {server.host}:{server.port}\n")
        sys.stdout.flush()
        await ended.wait()
    sys.stdout.write(f"received {server.received} messages\n")


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description="Keep every email that arrives.")
    parser.add_argument("--port", type=int, default=2525, help="0 takes a free one")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, one a message")
    parser.add_argument("--eml", type=Path, default=None, help="folder for .eml files")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.output, arguments.eml))


if __name__ == "__main__":
    main()
