"""Maildir and LMTP: a mail is let go of when it is stored, and not before."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError, DatabaseError
from ignition_ext.returns.mail import Done, MailDesk
from ignition_ext.returns.mail_lmtp import checked_place, listen_lmtp
from ignition_ext.returns.mail_maildir import checked_maildir, empty_maildir, listen_maildir
from ignition_ext.returns.mail_rows import RAW_OCTETS
from ignition_ext.returns.mail_service import serve

JO = "jo@example.org"
PATIENCE = 60.0


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[MailDesk]:
    """A desk whose database has no tables: whatever is stored there fails."""
    database = Database(f"sqlite:///{tmp_path}/empty.db")
    yield MailDesk(database)
    await database.close()


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    return tmp_path / "mail"


async def until(condition: Callable[[], Any]) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


async def test_a_maildir_is_emptied_into_cur(post: Any, make_dsn: Any, maildir: Path) -> None:
    """The messages are settled, and the files are marked as seen."""
    run, ids = await post.sent(JO)
    raw = make_dsn(to=post.envelope_from(ids[JO]), recipient=JO)
    (maildir / "new" / "1.mx").write_bytes(raw)
    (maildir / "new" / "2.mx:2,").write_bytes(b"From: x@example.org\n\nhello\n")

    assert await empty_maildir(post.desk, maildir) == 2
    assert await empty_maildir(post.desk, maildir) == 0
    await post.desk.settle()

    assert sorted(path.name for path in (maildir / "cur").iterdir()) == ["1.mx:2,S", "2.mx:2,S"]
    assert await post.states(run) == {JO: "bounced"}


async def test_a_maildir_keeps_what_could_not_be_stored(broken: MailDesk, maildir: Path) -> None:
    """The database is away: the files lie where they lay."""
    (maildir / "new" / "1.mx").write_bytes(b"From: x@example.org\n\nhello\n")

    with pytest.raises(DatabaseError):
        await empty_maildir(broken, maildir)

    assert [path.name for path in (maildir / "new").iterdir()] == ["1.mx"]


def test_a_folder_has_to_be_a_maildir(tmp_path: Path) -> None:
    """A slip in the path is told, not waited for."""
    with pytest.raises(ConfigurationError, match="no Maildir"):
        checked_maildir(tmp_path)


@pytest.mark.parametrize("place", ["", "2424", "host:", "host:x", "host:70000", ":1"])
def test_a_place_is_host_and_port(place: str) -> None:
    """Anything else is refused with the mend."""
    with pytest.raises(ConfigurationError, match="no place"):
        checked_place(place)


def test_places_may_be_of_either_internet() -> None:
    """Brackets around IPv6."""
    assert checked_place("127.0.0.1:2424") == ("127.0.0.1", 2424)
    assert checked_place("[::1]:2424") == ("::1", 2424)


class Listener:
    """An LMTP server over a desk, for as long as a block lasts."""

    def __init__(self, desk: MailDesk) -> None:
        self.port, self.taken, self.stop = 0, 0, asyncio.Event()
        self._desk = desk

    def _count(self, count: int) -> None:
        self.taken += count

    def _listening(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Listener:
        work = listen_lmtp(
            self._desk, "127.0.0.1", 0, self.stop, taken=self._count, listening=self._listening
        )
        self._task = asyncio.create_task(work)
        await until(lambda: self.port or self._task.done())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self._task


def hand_in(port: int, raw: bytes, *to: str) -> tuple[list[int], int]:
    """What a mail server does; the answers to RCPT, and the one to the mail."""
    with smtplib.LMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail("")
        answers = [client.rcpt(address)[0] for address in to]
        return answers, client.data(raw)[0]


async def test_lmtp_answers_when_it_is_stored(post: Any, make_dsn: Any) -> None:
    """The envelope's recipient bears the token; a report that says nothing else is enough."""
    run, ids = await post.sent(JO)
    to = post.envelope_from(ids[JO])
    raw = make_dsn(to="undisclosed", recipient="somebody@example.net")

    async with Listener(post.desk) as listener:
        answers = await asyncio.to_thread(hand_in, listener.port, raw, to, "second@example.com")
        assert listener.taken == 1
    await post.desk.settle()

    assert answers == ([250, 452], 250)
    assert await post.states(run) == {JO: "bounced"}


async def test_lmtp_sends_away_what_cannot_be_stored(broken: MailDesk) -> None:
    """451: the server keeps it and comes again."""
    async with Listener(broken) as listener:
        answers = await asyncio.to_thread(hand_in, listener.port, b"hello\r\n", "bounces@x.example")

    assert answers == ([250], 451)


async def test_a_taken_port_is_told(post: Any) -> None:
    """With the mend."""
    async with Listener(post.desk) as listener:
        with pytest.raises(ConfigurationError, match="nobody can listen"):
            await listen_lmtp(
                post.desk,
                "127.0.0.1",
                listener.port,
                asyncio.Event(),
                taken=print,
                listening=print,
            )


async def test_a_large_mail_is_taken_and_cut(post: Any) -> None:
    """What it returned is of no use."""
    async with Listener(post.desk) as listener:
        raw = b"From: x@example.org\r\n\r\n" + b"x" * 70 + b"\r\n"
        raw += (b"y" * 70 + b"\r\n") * 60_000
        answers = await asyncio.to_thread(hand_in, listener.port, raw, "bounces@example.com")

    assert answers == ([250], 250)
    [row] = await post.reports()
    assert len(row.raw) == RAW_OCTETS


async def test_the_service_settles_as_mails_come(post: Any, make_dsn: Any, maildir: Path) -> None:
    """Until it is told to stop."""
    run, ids = await post.sent(JO)
    stop, told = asyncio.Event(), list[Done]()

    async def intake(stopping: asyncio.Event, taken: Any) -> None:
        await listen_maildir(post.desk, maildir, stopping, taken=taken)

    service = asyncio.create_task(serve(post.desk, [intake], stop, settled=told.append, tell=print))
    await until(lambda: told)
    raw = make_dsn(to=post.envelope_from(ids[JO]), recipient=JO)
    (maildir / "new" / "1.mx").write_bytes(raw)
    await until(lambda: any(done.kinds for done in told))
    stop.set()
    await service

    assert await post.states(run) == {JO: "bounced"}


async def test_the_service_outlasts_a_database_that_is_away(
    broken: MailDesk, maildir: Path
) -> None:
    """It says so and tries again; the mail lies where it lay."""
    (maildir / "new" / "1.mx").write_bytes(b"From: x@example.org\n\nhello\n")
    stop, said = asyncio.Event(), list[str]()

    async def intake(stopping: asyncio.Event, taken: Any) -> None:
        await listen_maildir(broken, maildir, stopping, taken=taken)

    service = asyncio.create_task(serve(broken, [intake], stop, settled=print, tell=said.append))
    await until(lambda: any("mails wait where they are" in line for line in said))
    stop.set()
    await service

    assert [path.name for path in (maildir / "new").iterdir()] == ["1.mx"]


async def test_an_intake_that_cannot_go_on_ends_the_service(post: Any) -> None:
    """With its error."""

    async def intake(stopping: asyncio.Event, taken: Any) -> None:
        raise ConfigurationError("the port is taken.")

    with pytest.raises(ConfigurationError, match="taken"):
        await serve(post.desk, [intake], asyncio.Event(), settled=print, tell=print)
