"""TLS that is checked, STARTTLS that is insisted on, and passwords that are tried once."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
import trustme

from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.devtools.capture_smtp import CaptureSmtpServer
from ignition_ext.errors import AuthenticationFailed, ConnectFailed, Throttled
from ignition_ext.values import OutcomeKind

_PEOPLE = [f"user{number}@example.com" for number in range(12)]
_USERS = {"ada": "gr\u00fcn pass"}


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_encrypted_mail_with_login(
    security: str, sender: Any, options: Any, server_context: Any, client_context: Any
) -> None:
    """Everything arrives over TLS, from the user that logged in."""
    key = {"starttls": "starttls", "tls": "tls"}[security]
    async with CaptureSmtpServer(users=_USERS, **{key: server_context()}) as server:
        transport = SmtpTransport(
            options(
                server.port,
                security=security,
                tls_context=client_context,
                username="ada",
                password=_USERS["ada"],
            )
        )
        offer = await transport.check()
        await sender.send(transport, _PEOPLE)

    assert offer.tls.startswith("TLSv1.")
    assert offer.authenticated
    assert offer.offers("SMTPUTF8")
    assert sorted(m.recipients[0] for m in server.accepted) == sorted(_PEOPLE)
    assert all(message.tls and message.user == "ada" for message in server.messages)


def _expired(authority: trustme.CA) -> dict[str, Any]:
    return {"not_after": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("wrong name", "not valid for|mismatch"),
        ("unknown authority", "unable to get|self.signed"),
        ("expired", "expired"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_refused(
    fault: str,
    words: str,
    security: str,
    sender: Any,
    options: Any,
    server_context: Any,
    client_context: Any,
    authority: trustme.CA,
) -> None:
    """At once, with the reason; no password and no message was sent."""
    context = {
        "wrong name": lambda: server_context("mail.example.net"),
        "unknown authority": lambda: server_context(issuer=trustme.CA()),
        "expired": lambda: server_context(**_expired(authority)),
    }[fault]()
    async with CaptureSmtpServer(users=_USERS, **{security: context}) as server:
        transport = SmtpTransport(
            options(
                server.port,
                security=security,
                tls_context=client_context,
                username="ada",
                password=_USERS["ada"],
            )
        )
        with pytest.raises(ConnectFailed, match=f"not trusted: .*({words})") as caught:
            await sender.send(transport, _PEOPLE)

    assert not caught.value.temporary
    assert "verify" in caught.value.mend
    assert server.logins == 0
    assert sender.journal.intended == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_checking_can_be_switched_off(
    security: str, sender: Any, options: Any, server_context: Any
) -> None:
    """Explicitly: then any certificate will do."""
    context = server_context("mail.example.net", issuer=trustme.CA())
    async with CaptureSmtpServer(**{security: context}) as server:
        await sender.send(
            SmtpTransport(options(server.port, security=security, verify=False)), _PEOPLE
        )

    assert len(server.accepted) == len(_PEOPLE)


async def test_the_systems_authorities_do_not_trust_the_tests(
    options: Any, server_context: Any
) -> None:
    """Without a context of their own, options check against what the machine trusts."""
    async with CaptureSmtpServer(starttls=server_context()) as server:
        with pytest.raises(ConnectFailed, match="not trusted"):
            await SmtpTransport(options(server.port, security="starttls")).check()


async def test_no_silent_downgrade(sender: Any, raw_server: Any, options: Any) -> None:
    """A server (or someone between) that leaves out STARTTLS gets neither password nor mail."""
    server = await raw_server(extensions=("AUTH PLAIN",))
    transport = SmtpTransport(
        options(server.port, security="starttls", username="ada", password="secret")
    )

    with pytest.raises(ConnectFailed, match="does not offer STARTTLS"):
        await sender.send(transport, _PEOPLE)

    assert not [line for line in server.commands if line.startswith(("AUTH", "MAIL"))]
    assert server.sessions == 1


async def test_refused_starttls_is_no_downgrade_either(
    sender: Any, raw_server: Any, options: Any
) -> None:
    """454 is temporary: tried again, never in the clear."""
    plan = {"STARTTLS": b"454 4.7.0 TLS not available\r\n"}
    server = await raw_server(plan=plan, extensions=("STARTTLS",))

    with pytest.raises(Throttled, match="TLS not available"):
        await sender.send(SmtpTransport(options(server.port, security="starttls")), _PEOPLE)

    assert not [line for line in server.commands if line.startswith("MAIL")]


@pytest.mark.parametrize("action", ["hang up", "reset", b"220 ready\r\nnot TLS at all\r\n"])
async def test_starttls_that_breaks(
    action: str | bytes, raw_server: Any, sender: Any, options: Any
) -> None:
    """Whatever happens in the upgrade is a failed connection."""
    server = await raw_server(plan={"STARTTLS": action}, extensions=("STARTTLS",))

    with pytest.raises(ConnectFailed):
        await sender.send(
            SmtpTransport(options(server.port, security="starttls", connect_timeout=0.5)), _PEOPLE
        )

    assert not [line for line in server.commands if line.startswith("MAIL")]


async def test_plain_port_asked_for_tls(raw_server: Any, options: Any) -> None:
    """The message points to port and security."""
    server = await raw_server()

    with pytest.raises(ConnectFailed, match="no TLS") as caught:
        await SmtpTransport(options(server.port, security="tls")).check()

    assert "587 wants starttls" in caught.value.mend


async def test_wrong_password_is_tried_once(sender: Any, options: Any) -> None:
    """Ten connections and three mechanisms, one try, nothing intended."""
    async with CaptureSmtpServer(users=_USERS) as server:
        transport = SmtpTransport(
            options(server.port, connections=10, username="ada", password="wrong")
        )
        with pytest.raises(AuthenticationFailed, match="'ada'") as caught:
            await sender.send(transport, _PEOPLE)

    assert server.logins == 1
    assert caught.value.code == "535"
    assert not caught.value.temporary
    assert "wrong" not in str(caught.value)
    assert sender.journal.intended == []


async def test_login_mechanism_that_is_only_announced(raw_server: Any, options: Any) -> None:
    """504 is not about the password: the next mechanism may be tried."""
    server = await raw_server(
        plan={"AUTH": b"504 5.5.4 no such mechanism\r\n"},
        faults=1,
        extensions=("AUTH PLAIN CRAM-MD5",),
    )

    offer = await SmtpTransport(
        options(server.port, username="ada", password="x", security="none")
    ).check()

    mechanisms = [line.split()[1] for line in server.commands if line.startswith("AUTH")]
    assert mechanisms == ["CRAM-MD5", "PLAIN"]
    assert offer.authenticated


async def test_login_that_fails_for_now(raw_server: Any, sender: Any, options: Any) -> None:
    """454 is tried again, and the run goes on."""
    server = await raw_server(
        plan={"AUTH": b"454 4.7.0 temporary failure\r\n"}, faults=1, extensions=("AUTH PLAIN",)
    )

    await sender.send(
        SmtpTransport(options(server.port, username="ada", password="pa\u00df")), _PEOPLE
    )

    secret = base64.b64encode("\0ada\0pa\u00df".encode()).decode()
    assert server.taken == set(_PEOPLE)
    assert f"AUTH PLAIN {secret}" in server.commands


async def test_server_without_auth(raw_server: Any, options: Any) -> None:
    """A user name for a server that wants none is said, not ignored."""
    server = await raw_server()

    with pytest.raises(AuthenticationFailed, match="no AUTH at all"):
        await SmtpTransport(options(server.port, username="ada", password="x")).check()


@pytest.mark.parametrize("action", ["hang up", "reset", "silent"])
async def test_login_that_breaks(action: str, raw_server: Any, sender: Any, options: Any) -> None:
    """Lost in the middle of AUTH: a failed connection, no message intended."""
    server = await raw_server(plan={"AUTH": action}, extensions=("AUTH PLAIN",))
    transport = SmtpTransport(
        options(server.port, username="ada", password="x", connect_timeout=0.1)
    )

    with pytest.raises(ConnectFailed):
        await sender.send(transport, _PEOPLE)

    assert sender.journal.intended == []


async def test_helo_for_a_server_that_knows_no_ehlo(
    raw_server: Any, sender: Any, options: Any
) -> None:
    """RFC 5321 section 3.2: then without extensions."""
    server = await raw_server(plan={"EHLO": b"502 5.5.1 what?\r\n"}, faults=1)

    await sender.send(SmtpTransport(options(server.port, connections=1)), _PEOPLE[:2])

    assert server.commands[1] == "HELO client.example.com"
    assert server.taken == set(_PEOPLE[:2])


async def test_check_sends_no_message(raw_server: Any, options: Any) -> None:
    """EHLO and QUIT, nothing between."""
    server = await raw_server(extensions=("SIZE 1000", "PIPELINING"))

    offer = await SmtpTransport(options(server.port)).check()

    assert [line.split()[0] for line in server.commands] == ["EHLO", "QUIT"]
    assert offer.size_limit == 1000
    assert offer.tls == ""
    assert not offer.authenticated
    assert "raw.example.com" in offer.greeting


@pytest.mark.parametrize("action", ["hang up", "reset"])
async def test_link_lost_in_a_long_body_over_tls_is_unsent(
    action: str,
    raw_server: Any,
    sender: Any,
    options: Any,
    server_context: Any,
    client_context: Any,
) -> None:
    """Encrypted bytes that wait behind a full socket count as not handed over."""
    server = await raw_server(
        plan={"BODY": action}, faults=1, extensions=("STARTTLS",), context=server_context()
    )
    transport = SmtpTransport(
        options(server.port, connections=1, security="starttls", tls_context=client_context)
    )
    body = b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 100_000

    await sender.send(transport, _PEOPLE[:3], body)

    assert sender.with_outcome(OutcomeKind.ACCEPTED) == server.taken == server.whole
    assert sender.journal.kinds == {OutcomeKind.UNSENT: 1, OutcomeKind.ACCEPTED: 2}
