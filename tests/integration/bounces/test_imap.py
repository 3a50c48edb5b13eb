"""A real mailbox over IMAP: mails are put away there when they are stored, and not before."""

from __future__ import annotations

import asyncio
import os
import smtplib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from blocks import BounceMailbox
from ignition_ext.channels.imap import ImapMailbox, ImapOptions
from ignition_ext.database import Database
from ignition_ext.devtools.mail_servers import MAILBOX_PASSWORD, Dovecot
from ignition_ext.devtools.postgres import free_port
from ignition_ext.errors import AuthenticationFailed, ConnectFailed, DatabaseError
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_imap import empty_mailbox, listen_imap

PATIENCE = 60.0
USERS = [f"box{number}" for number in range(12)]
"""One for each test, on each database: they do not see each other's mails."""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot starts as root only"),
    pytest.mark.xdist_group("mail-servers"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority, and a server's key and certificate of it."""
    made, folder = trustme.CA(), tmp_path_factory.mktemp("tls")
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    made.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    return folder


@pytest.fixture(scope="module")
def dovecot(authority: Path) -> Iterator[tuple[Dovecot, Iterator[str]]]:
    """The server, and users that no test has had yet."""
    with Dovecot(USERS, certificate=authority / "server.pem") as server:
        yield server, iter(USERS)


class Box:
    """A mailbox of its own, and the way to put a mail into it."""

    def __init__(self, server: Dovecot, user: str) -> None:
        self._server, self._user = server, user
        self.options = ImapOptions(
            host="localhost",
            port=server.imaps_port,
            security="tls",
            username=user,
            password=MAILBOX_PASSWORD,
            processed_folder="Processed",
        )

    async def put(self, *mails: bytes) -> None:
        await asyncio.to_thread(self._put, mails)

    def _put(self, mails: tuple[bytes, ...]) -> None:
        with smtplib.LMTP("127.0.0.1", self._server.lmtp_port) as client:
            for mail in mails:
                client.sendmail("", [f"{self._user}@mail.example.com"], mail)

    def count(self, folder: str) -> int:
        with ImapMailbox(replace(self.options, folder=folder, processed_folder="")) as mailbox:
            return mailbox.offer().mails


@pytest.fixture
def box(
    dovecot: tuple[Dovecot, Iterator[str]], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> Box:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    return Box(dovecot[0], next(dovecot[1]))


def letters(count: int) -> list[bytes]:
    return [b"Subject: %d\r\n\r\nhello\r\n" % number for number in range(count)]


async def until(condition: Callable[[], Any]) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


async def test_mails_are_moved_when_they_are_stored(post: Any, box: Box) -> None:
    """More than one group of them."""
    await box.put(*letters(60))

    assert await empty_mailbox(post.desk, box.options) == 60

    assert (box.count("INBOX"), box.count("Processed")) == (0, 60)
    assert len(await post.reports()) == 60


async def test_mails_stay_flagged_where_no_folder_is_named(
    sqlite_database_url: str, box: Box
) -> None:
    """They are taken once all the same."""
    database = Database(sqlite_database_url)
    desk, options = MailDesk(database), replace(box.options, processed_folder="")
    await box.put(*letters(3))

    assert await empty_mailbox(desk, options) == 3
    assert await empty_mailbox(desk, options) == 0

    assert box.count("INBOX") == 3
    await database.close()


async def test_mails_that_cannot_be_stored_stay(tmp_path: Path, box: Box) -> None:
    """The database has no tables: nothing is moved, and nothing is marked as read."""
    database = Database(f"sqlite:///{tmp_path}/empty.db")
    await box.put(*letters(2))

    with pytest.raises(DatabaseError):
        await empty_mailbox(MailDesk(database), box.options)

    with ImapMailbox(box.options) as mailbox:
        assert len(mailbox.waiting()) == 2
    await database.close()


async def test_a_listener_is_told_of_new_mails(post: Any, box: Box) -> None:
    """By IDLE, within a moment: the next look by itself would come minutes later."""
    stop, counts = asyncio.Event(), list[int]()
    listening = asyncio.create_task(
        listen_imap(
            post.desk, box.options, stop, taken=counts.append, failed=lambda error, pause: None
        )
    )
    await until(lambda: counts)
    await box.put(*letters(2))
    await until(lambda: sum(counts) == 2)
    stop.set()
    await listening

    assert len(await post.reports()) == 2


async def test_a_wrong_password_is_tried_once(sqlite_database_url: str, box: Box) -> None:
    """More would lock the account."""
    database = Database(sqlite_database_url)
    options = replace(box.options, password="wrong")

    with pytest.raises(AuthenticationFailed, match="refused") as caught:
        await listen_imap(
            MailDesk(database), options, asyncio.Event(), taken=print, failed=lambda *_: None
        )

    assert "wrong" not in str(caught.value)
    await database.close()


async def test_a_certificate_is_checked(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an authority that is not trusted; unless the operator says not to look."""
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(ConnectFailed, match="TLS failed"), ImapMailbox(box.options):
        pass
    with ImapMailbox(replace(box.options, verify=False)) as mailbox:
        assert mailbox.waiting() == []


async def test_a_listener_comes_back_when_the_server_was_away(
    sqlite_database_url: str, box: Box
) -> None:
    """It says what is wrong and when it tries again."""
    database, stop = Database(sqlite_database_url), asyncio.Event()
    said = list[str]()

    def failed(error: Exception, pause: float) -> None:
        said.append(str(error))
        stop.set()

    options = replace(box.options, port=free_port())
    await listen_imap(MailDesk(database), options, stop, taken=print, failed=failed)

    assert "the connection failed" in said[0]
    await database.close()


async def test_the_block_says_what_lies_there(box: Box) -> None:
    """And takes nothing."""
    await box.put(*letters(2))
    block = BounceMailbox(
        host="localhost",
        port=box.options.port,
        username=box.options.username,
        password=MAILBOX_PASSWORD,
    )

    offer = await block.check()

    assert (offer.mails, offer.waiting) == (2, 2)
    assert "IDLE" in offer.capabilities
