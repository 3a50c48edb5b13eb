"""A run to a real Postfix, whose real bounces come back through a real Dovecot over IMAP and TLS.

``IGNITION_TEST_BOUNCE_RUN=200`` makes the run longer than the suite's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from ignition_ext.channels.imap import ImapMailbox, ImapOptions
from ignition_ext.channels.smtp import SmtpOptions, SmtpTransport
from ignition_ext.delivery.batch import BatchLimits, Sender, deliver_batch
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.devtools.mail_servers import BOUNCES, MAILBOX_PASSWORD, Dovecot, Postfix
from ignition_ext.devtools.postgres import free_port
from ignition_ext.returns.mail_imap import empty_mailbox
from ignition_ext.returns.mail_lmtp import listen_lmtp
from ignition_ext.templates.bounce_address import BounceAddress
from ignition_ext.templates.email_maker import EmailRecipe
from ignition_ext.templates.rendering.sources import TemplateSources

RUN = int(os.environ.get("IGNITION_TEST_BOUNCE_RUN", "40"))
EACH = RUN // 10
"""Of each kind that does not arrive; the rest, most of the run, does."""
PATIENCE = 150.0
ROUTES = {
    "good": "good{}@example.org",
    "unknown": "unknown{}@example.org",
    "full": "full{}@example.org",
    "spam": "any{}@strict.example.org",
    "slow": "any{}@slow.example.org",
}
BECAME = {
    "good": "sent",
    "unknown": "bounced",
    "full": "bounced",
    "spam": "bounced",
    "slow": "sent",
}
CLASSES = {
    "unknown": ("5.1.1", "address"),
    "full": ("5.2.2", "mailbox"),
    "spam": ("5.7.1", "policy"),
}
RECIPE = EmailRecipe(
    sources=TemplateSources(
        name="t", version=1, files={"t/subject.txt": "Hello", "t/body.txt": "Hello.\n"}
    ),
    locale="en",
    timezone="UTC",
    globals={},
    sender="Acme <news@example.com>",
    headers={},
    attachments=[],
    inline=[],
    envelope_from=None,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix and Dovecot start as root only"),
    pytest.mark.xdist_group("mail-servers"),
    pytest.mark.timeout(600),
]


@dataclass(frozen=True)
class Servers:
    """Where to send to, and where it comes back."""

    smtp_port: int
    mailbox: ImapOptions
    lmtp_port: int


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate authority, and a server's key and certificate of it."""
    made, folder = trustme.CA(), tmp_path_factory.mktemp("tls")
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    made.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    return folder / "ca.pem", folder / "server.pem"


@pytest.fixture(scope="module")
def servers(authority: tuple[Path, Path]) -> Iterator[Servers]:
    """Postfix hands mail on to Dovecot, to one that refuses, and to one that is away."""
    good = [f"good{number}" for number in range(RUN)]
    full = [f"full{number}" for number in range(EACH)]
    with Dovecot(good, full=full, certificate=authority[1]) as dovecot:
        postfix, lmtp_port = Postfix(), free_port()
        boxes = f"lmtp:inet:127.0.0.1:{dovecot.lmtp_port}"
        postfix.routes = {
            "example.org": boxes,
            "mail.example.com": boxes,
            "lmtp.example.com": f"lmtp:inet:127.0.0.1:{lmtp_port}",
            "strict.example.org": postfix.strict,
            "slow.example.org": f"smtp:[127.0.0.1]:{free_port()}",
        }
        with postfix:
            mailbox = ImapOptions(
                host="localhost",
                port=dovecot.imaps_port,
                security="tls",
                username=BOUNCES,
                password=MAILBOX_PASSWORD,
                processed_folder="Processed",
            )
            yield Servers(postfix.port, mailbox, lmtp_port)


@pytest.fixture
def mailbox(
    servers: Servers, authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> ImapOptions:
    """The mailbox of bounces, its certificate trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    return servers.mailbox


def addresses() -> dict[str, list[str]]:
    """The run's addresses by what becomes of them."""
    counts = dict.fromkeys(ROUTES, EACH) | {"good": RUN - 4 * EACH}
    return {
        kind: [ROUTES[kind].format(number) for number in range(count)]
        for kind, count in counts.items()
    }


async def test_a_run_comes_back_from_real_servers(
    post: Any, servers: Servers, mailbox: ImapOptions
) -> None:
    """States, classes and suppressions are right; the next run passes over what is dead."""
    wanted = addresses()
    everyone = [address for kind in wanted.values() for address in kind]

    run = await deliver(post, servers.smtp_port, everyone)
    kinds = await come_back(
        post, mailbox, lambda kinds: kinds["bounce"] >= 3 * EACH and kinds["delayed"] >= EACH
    )

    assert kinds == {"bounce": 3 * EACH, "delayed": EACH}
    rows = {row["address"]: row async for page in post.ledger.messages(run.id) for row in page}
    for kind, members in wanted.items():
        assert {rows[address]["state"] for address in members} == {BECAME[kind]}
        if kind in CLASSES:
            told = {(rows[one]["enhanced"], rows[one]["failure_class"]) for one in members}
            assert told == {CLASSES[kind]}
    assert await post.suppressed() == dict.fromkeys(wanted["unknown"], "bounce")
    assert {row.matched_by for row in await post.reports()} == {"token"}

    _, _, claimed = await post.sending(*everyone)
    assert set(claimed) == set(everyone) - set(wanted["unknown"])
    with ImapMailbox(mailbox) as opened:
        assert opened.waiting() == []


async def test_a_mail_server_hands_bounces_in(post: Any, servers: Servers) -> None:
    """Postfix to our LMTP, several at a time; the report goes to the token's address alone."""
    wanted = [f"nobody{number}@example.org" for number in range(4)]
    stop, counts = asyncio.Event(), list[int]()
    listening = asyncio.create_task(
        listen_lmtp(
            post.desk,
            "127.0.0.1",
            servers.lmtp_port,
            stop,
            taken=counts.append,
            listening=lambda port: None,
        )
    )

    run = await deliver(post, servers.smtp_port, wanted, "bounces@lmtp.example.com")
    end = time.monotonic() + PATIENCE
    while len(counts) < len(wanted):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    stop.set()
    await listening
    await post.desk.settle()

    assert await post.states(run) == dict.fromkeys(wanted, "bounced")
    assert await post.suppressed() == dict.fromkeys(wanted, "bounce")


async def deliver(
    post: Any, port: int, to: list[str], bounces: str = "bounces@mail.example.com"
) -> Any:
    """Send one run the whole way, each message from an envelope sender of its own."""
    run = await post.open(*to)
    workshop = EmailWorkshop(replace(RECIPE, bounces=BounceAddress.of(bounces)).maker())
    options = SmtpOptions(host="127.0.0.1", port=port, security="none", connections=2)
    result = await deliver_batch(
        post.ledger,
        run,
        Sender(workshop=workshop, connect=lambda last: SmtpTransport(options), retry=post.retry),
        BatchLimits(messages=len(to), lease=timedelta(minutes=5), look_every=timedelta(seconds=1)),
        stop=asyncio.Event(),
    )
    assert result.error is None
    assert result.over
    return run


async def come_back(
    post: Any, mailbox: ImapOptions, enough: Callable[[Counter[str]], bool]
) -> Counter[str]:
    """Take in mails until there are enough of them; how many of which kind."""
    kinds: Counter[str] = Counter()
    end = time.monotonic() + PATIENCE
    while not enough(kinds) and time.monotonic() < end:
        if await empty_mailbox(post.desk, mailbox):
            done = await post.desk.settle()
            kinds += done.kinds
        else:
            await asyncio.sleep(0.2)
    return kinds
