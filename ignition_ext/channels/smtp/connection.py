"""From nothing to a connection that takes mail: TCP, TLS, EHLO, AUTH, all by aiosmtplib.

Every way in which that fails becomes one :class:`ChannelError` with the server and the mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from ignition_ext.channels.smtp.conversation import Conversation
from ignition_ext.channels.smtp.exchange import Exchange
from ignition_ext.channels.smtp.letter import make_letter
from ignition_ext.channels.smtp.login import log_in
from ignition_ext.channels.smtp.options import EmailEnvelope, ServerOffer, SmtpOptions
from ignition_ext.channels.smtp.order import Order
from ignition_ext.channels.smtp.replies import make_reply
from ignition_ext.channels.smtp.wire import Wire
from ignition_ext.errors import ChannelError, ConnectFailed, ProtocolViolation, Throttled
from ignition_ext.values import Outcome


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """An open connection and what the server offers on it.

    Attributes:
        pipelined: two messages may be under way on it at once.
        counted: its end was counted as a setback.
    """

    wire: Wire
    offer: ServerOffer
    pipelined: bool
    counted: bool = False

    @property
    def usable(self) -> bool:
        """Whether another message can be tried."""
        return self.wire.usable

    async def send(self, envelope: EmailEnvelope) -> Exchange:
        """Hand one message over; see :meth:`Wire.send`."""
        letter = make_letter(envelope, self.offer)
        if isinstance(letter, Outcome):
            return Exchange(outcome=letter, judged=False)
        return await self.wire.send(letter)


def tls_context(options: SmtpOptions) -> ssl.SSLContext:
    """The system's authorities and the host's name, unless the options say otherwise."""
    if options.tls_context is not None:
        return options.tls_context
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(
    options: SmtpOptions, login_gate: asyncio.Lock, order: Order | None = None
) -> Session:
    """Open one connection.

    Args:
        login_gate: held while logging in, so that a wrong password is tried by one connection
            and not by all of them at once.
        order: what is known of the order in which the server answers.

    Raises:
        ConnectFailed: not reachable, TLS not offered or not trusted, greeting refused.
        AuthenticationFailed: user or password refused; nothing was tried twice.
        Throttled: 421, or another temporary refusal of the session.
        ProtocolViolation: what answers is not SMTP.
    """
    client = aiosmtplib.SMTP(
        hostname=options.host,
        port=options.port,
        use_tls=options.security == "tls",
        start_tls=False,
        tls_context=tls_context(options) if options.security != "none" else None,
        local_hostname=options.helo,
        timeout=options.connect_timeout,
    )
    beneath: asyncio.Transport | None = None
    try:
        async with _errors(options):
            greeting = await client.connect()
            await _hello(client)
            if options.security == "starttls":
                beneath = cast(asyncio.Transport, client.transport)
                await _start_tls(client, options)
                await _hello(client)
            await log_in(client, options, login_gate)
            # What counts is the last EHLO: an extension may be withdrawn after STARTTLS.
            offer = _offer(client, options, greeting.message)
            pipelined = options.pipelining and offer.offers("PIPELINING")
            order = order or Order()
            conversation = Conversation(pipelining=pipelined, order=order)
            transport = cast(asyncio.Transport, client.transport)
            wire = Wire(transport, conversation, options, order, beneath)
    except BaseException:
        client.close()
        raise
    return Session(wire=wire, offer=offer, pipelined=pipelined)


async def _hello(client: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO for a server that knows no other (RFC 5321 section 3.2)."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if not 500 <= error.code < 600:
            raise
        await client.helo()


async def _start_tls(client: aiosmtplib.SMTP, options: SmtpOptions) -> None:
    if not client.supports_extension("starttls"):
        raise ConnectFailed(
            "the server does not offer STARTTLS, and the block insists on it",
            server=options.server,
            temporary=False,
            mend="Use security tls (usually port 465), or none if this network is trusted.",
        )
    # Everything beneath TLS is then either with the kernel or known to be unsent.
    cast(asyncio.Transport, client.transport).set_write_buffer_limits(high=0)
    await client.starttls()


@contextlib.asynccontextmanager
async def _errors(options: SmtpOptions) -> AsyncIterator[None]:
    """aiosmtplib's, OpenSSL's and the system's exceptions as ours."""
    try:
        yield
    except ChannelError:
        raise
    except aiosmtplib.SMTPResponseException as error:
        raise _refused(error.code, error.message, options) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _unreachable(error, options) from error


def _refused(code: int, message: str, options: SmtpOptions) -> ChannelError:
    server = options.server
    reply = make_reply(code, message.split("\n"))
    if reply.transient:
        return Throttled(
            f"the server asks to come back later: {reply}",
            server=server,
            code=str(code),
            mend="Retry the run later; nothing is lost.",
        )
    if reply.permanent:
        return ConnectFailed(
            f"the server refuses the session: {reply}",
            server=server,
            code=str(code),
            temporary=False,
            mend="Check host, port and security of the block, and whether this machine may send.",
        )
    return not_smtp(message, options)


def not_smtp(text: str, options: SmtpOptions) -> ProtocolViolation:
    """What answers there speaks something else."""
    hint = "tls" if options.security != "tls" else "starttls"
    return ProtocolViolation(
        f"what answers is not SMTP: {text[:200]!r}",
        server=options.server,
        temporary=False,
        mend=f"Check host and port of the block; perhaps this port wants security {hint}.",
    )


def _unreachable(error: Exception, options: SmtpOptions) -> ConnectFailed:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectFailed(
            f"the server's certificate is not trusted: {cause.verify_message}",
            server=options.server,
            temporary=False,
            mend="Use the host name that the certificate is for; or, on a network that you trust,"
            " switch verify off in the block.",
        )
    if isinstance(cause, ssl.SSLError):
        return ConnectFailed(
            f"no TLS with the server: {cause.reason or cause}",
            server=options.server,
            temporary=False,
            mend="Check port and security of the block: 465 wants tls, 587 wants starttls.",
        )
    return ConnectFailed(
        f"no connection: {_reason(error, options)}.",
        server=options.server,
        mend="Check that the server runs and that host and port of the block are right.",
    )


def _reason(error: BaseException, options: SmtpOptions) -> str:
    """Why there is no connection: the system's words, without the library's around them."""
    cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else error
    match cause:
        case TimeoutError():  # also aiosmtplib's
            return f"no answer within {options.connect_timeout:g} s"
        case aiosmtplib.SMTPServerDisconnected() | EOFError() | ConnectionResetError():
            return "the server hangs up without an answer"
        case OSError(errno=int() as number) if number > 0:
            return os.strerror(number)  # asyncio's own text repeats the address
        case OSError(strerror=str() as words):
            return words  # a name that is unknown: its numbers are not the system's
    return str(error)


def _offer(client: aiosmtplib.SMTP, options: SmtpOptions, greeting: str) -> ServerOffer:
    cipher = client.get_transport_info("cipher")
    return ServerOffer(
        server=options.server,
        greeting=greeting,
        extensions={name.upper(): value for name, value in client.esmtp_extensions.items()},
        tls=f"{cipher[1]} {cipher[0]}" if cipher else "",
        authenticated=options.username is not None,
    )
