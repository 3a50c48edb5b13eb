"""Opens a connection and binds (SMPP 3.4 section 4.1), or says why not."""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass

from ignition_ext.channels.smpp import codec
from ignition_ext.channels.smpp.classify import BIND_FAILED, REFUSES_LOGIN, SLOW_DOWN
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.session import Listener, Session
from ignition_ext.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    ProtocolViolation,
    Throttled,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmscOffer:
    """What an SMSC said when it was asked without sending.

    Attributes:
        server: ``host:port``.
        system_id: the name that the SMSC gives itself, often empty.
        interface_version: as ``3.4``; empty where the SMSC does not say.
        bind: the type that was bound.
        tls: protocol and cipher, empty without TLS.
    """

    server: str
    system_id: str
    interface_version: str
    bind: str
    tls: str


async def open_session(options: SmppOptions, listener: Listener) -> tuple[Session, SmscOffer]:
    """A bound session and what the SMSC said.

    Raises:
        ConnectFailed: nobody listens, TLS is not trusted, no answer, or ``0x0D``.
        AuthenticationFailed: system id, password or system type refused; never worth a second try.
        Throttled: the SMSC asks to come back later.
        ProtocolViolation: what answers does not speak SMPP, or refuses the bind for good.
        ConfigurationError: the CA file cannot be read.
    """
    session = await _connect(options, listener)
    try:
        bound = _check(options, await _ask(options, session))
    except BaseException:
        session.abort("not bound")
        await session.wait_closed()
        raise
    session.start_probing()
    return session, _offer(options, session, bound)


async def _ask(options: SmppOptions, session: Session) -> bytes:
    try:
        return await session.request(
            lambda sequence: codec.encode_bind(options, sequence), options.response_timeout
        )
    except TimeoutError as error:
        hint = "." if options.tls else ", not SMPP over TLS."
        raise ConnectFailed(
            f"No answer to the bind within {options.response_timeout:g} s.",
            server=options.server,
            mend=f"Check that this port speaks SMPP{hint}",
        ) from error
    except ConnectionError as error:
        if session.is_garbled:
            raise ProtocolViolation(
                f"What answers there does not speak SMPP: {session.reason}",
                server=options.server,
                mend="Check the port, and whether it wants TLS.",
            ) from error
        raise ConnectFailed(
            f"The connection ended before the bind was answered: {session.reason}.",
            server=options.server,
            mend="Check the port, whether it wants TLS, and whether our address is allowed there.",
        ) from error


async def _connect(options: SmppOptions, listener: Listener) -> Session:
    context = _tls_context(options)
    host = options.host.strip("[]")
    try:
        async with asyncio.timeout(options.connect_timeout):
            _, session = await asyncio.get_running_loop().create_connection(
                lambda: Session(options, listener),
                host,
                options.port,
                ssl=context,
                server_hostname=host if context else None,
            )
    except TimeoutError as error:
        raise ConnectFailed(
            f"No connection within {options.connect_timeout:g} s.",
            server=options.server,
            mend="Check host and port, and that a firewall lets us through.",
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectFailed(
            f"Its certificate is not trusted: {error.verify_message}.",
            server=options.server,
            temporary=False,
            mend="Use the name on the certificate as host, or name the provider's CA file.",
        ) from error
    except ssl.SSLError as error:
        raise ConnectFailed(
            f"TLS failed: {error.reason}.",
            server=options.server,
            mend="Check that this port speaks SMPP over TLS.",
        ) from error
    except OSError as error:
        raise ConnectFailed(
            f"No connection: {_words(error)}.",
            server=options.server,
            mend="Check host and port, and that a firewall lets us through.",
        ) from error
    return session


def _words(error: OSError) -> str:
    """The system's words; asyncio's own repeat the address, an unknown name has no such number."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _tls_context(options: SmppOptions) -> ssl.SSLContext | None:
    if not options.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The CA file {options.ca_file} cannot be read: {error}.",
            mend="Name a PEM file with the provider's certificate authority.",
        ) from error
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check(options: SmppOptions, pdu: bytes) -> codec.BindAnswer:
    header = codec.read_header(pdu)
    code = f"0x{header.status:08X}"
    words = f"{codec.status_name(header.status)} ({code})"
    if header.status in REFUSES_LOGIN:
        raise AuthenticationFailed(
            f"The SMSC refuses the bind of {options.system_id!r}: {words}.",
            server=options.server,
            code=code,
            mend="Check system id, password and system type; too many tries lock the account.",
        )
    if header.status in SLOW_DOWN:
        raise Throttled(
            f"The SMSC asks to bind later: {words}.",
            server=options.server,
            code=code,
            mend="Retry the run later; nothing is lost.",
        )
    if header.status == BIND_FAILED:
        raise ConnectFailed(
            f"The SMSC refuses the bind: {words}.",
            server=options.server,
            code=code,
            mend="Often too many binds, or an address that the provider does not know.",
        )
    if header.status != codec.OK or header.command == codec.GENERIC_NACK:
        raise ProtocolViolation(
            f"The SMSC refuses the bind: {words}.",
            server=options.server,
            code=code,
            mend=f"Ask the provider whether it allows a {options.bind} bind with SMPP 3.4.",
        )
    try:
        return codec.read_bind_answer(pdu)
    except codec.Malformed:
        return codec.BindAnswer()


def _offer(options: SmppOptions, session: Session, bound: codec.BindAnswer) -> SmscOffer:
    version = bound.interface_version
    return SmscOffer(
        server=options.server,
        system_id=bound.system_id,
        interface_version="" if version is None else f"{version >> 4}.{version & 0x0F}",
        bind=options.bind,
        tls=session.tls,
    )
