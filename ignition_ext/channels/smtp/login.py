"""AUTH (RFC 4954), one try for each connection.

aiosmtplib's own ``login`` tries a refused password again with each further mechanism, which is
how accounts get locked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiosmtplib

from ignition_ext.channels.smtp.options import SmtpOptions
from ignition_ext.channels.smtp.replies import make_reply
from ignition_ext.errors import AuthenticationFailed, ChannelError, Throttled

# Under TLS the simplest is the best supported; without it the password should not be readable.
_ENCRYPTED_ORDER = ("plain", "login", "cram-md5")
_PLAIN_ORDER = ("cram-md5", "plain", "login")
# Not a word about the password: the mechanism is announced and not spoken.
_MECHANISM_UNKNOWN = 504


async def log_in(client: aiosmtplib.SMTP, options: SmtpOptions, gate: asyncio.Lock) -> None:
    """Log in if the options name a user.

    Raises:
        AuthenticationFailed: no mechanism in common, or the server's refusal.
        Throttled: a temporary refusal such as 454.
    """
    if options.username is None:
        return
    encrypted = client.get_transport_info("sslcontext") is not None
    order = _ENCRYPTED_ORDER if encrypted else _PLAIN_ORDER
    offered = [name for name in order if name in client.server_auth_methods]
    async with gate:
        for name in offered:
            try:
                await _mechanism(client, name)(options.username, options.password)
            except aiosmtplib.SMTPAuthenticationError as error:
                if error.code != _MECHANISM_UNKNOWN:
                    raise _refused(error, options) from error
            else:
                return
    announced = ", ".join(client.server_auth_methods) or "no AUTH at all"
    raise AuthenticationFailed(
        f"the server offers no way to log in that Ignition knows ({announced})",
        server=options.server,
        mend="Switch security to starttls or tls if the server hides AUTH from plain connections;"
        " leave the user name empty if it wants none.",
    )


def _mechanism(
    client: aiosmtplib.SMTP, name: str
) -> Callable[[str, str], Awaitable[aiosmtplib.SMTPResponse]]:
    match name:
        case "plain":
            return client.auth_plain
        case "login":
            return client.auth_login
        case _:
            return client.auth_crammd5


def _refused(error: aiosmtplib.SMTPAuthenticationError, options: SmtpOptions) -> ChannelError:
    reply = make_reply(error.code, error.message.split("\n"))
    if reply.transient:
        return Throttled(
            f"the server cannot log us in at the moment: {reply}",
            server=options.server,
            code=str(error.code),
        )
    return AuthenticationFailed(
        f"the server refuses the login of {options.username!r}: {reply}",
        server=options.server,
        code=str(error.code),
        mend="Correct user name and password in the block. It was tried once, nothing was sent.",
    )
