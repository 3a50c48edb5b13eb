"""``ignition bounces listen`` killed with -9 while mail servers hand mails in.

The clients are others': Debian's Postfix, whose log says what was answered and what it sent again,
and Python's smtplib, which stops in the middle of a mail where it is told to. ``CHAOS=1`` kills
more often.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import smtplib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select

from ignition_ext.devtools.mail_servers import Postfix
from ignition_ext.devtools.postgres import free_port
from ignition_ext.links import LinkPlan
from ignition_ext.links.payload import PEOPLE
from ignition_ext.models import OutboxEvent
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer, lowered
from ignition_ext.values import Channel

BOUNCED, COMPLAINED, LEFT = 40, 15, 15
MAILS, KILLS = BOUNCED + COMPLAINED + LEFT, 6 if os.environ.get("CHAOS") else 2
PATIENCE = 240.0
"""A process starts several times, and Postfix leaves a server alone for seconds that was away."""
DICE = random.Random(20261122)
DOMAIN = "mail.example.com"
_ANSWERED = re.compile(r"postfix/lmtp\[\d+\]: (\w+): .*\bstatus=(\w+) \((.*)\)")

pytestmark = pytest.mark.timeout(900)


@dataclass
class Listener:
    """The command as a process of its own, at a port that it comes back to."""

    url: str
    log: Path
    port: int
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it takes connections."""
        command = str(Path(sys.executable).with_name("ignition"))
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(command, "bounces", "listen", "--lmtp", f"127.0.0.1:{self.port}"),
                env=os.environ | {"IGNITION_DATABASE_URL": self.url},
                stdout=log,
                stderr=log,
            )
        await until(self._answers, self.said)

    async def kill(self) -> None:
        """As the kernel does when memory is short."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    async def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, self.said()
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            await writer.wait_closed()
            return True
        return False


async def until(look: Callable[[], Any], story: Callable[[], str]) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while not await look():
        assert asyncio.get_running_loop().time() < end, story()[-3000:]
        await asyncio.sleep(0.02)


@pytest.fixture
async def listener(database_url: str, tmp_path: Path) -> AsyncIterator[Listener]:
    made = Listener(database_url, tmp_path / "listener.log", free_port())
    yield made
    await made.kill()


@pytest.fixture
def postfix(listener: Listener) -> Iterator[Postfix]:
    """Hands what comes back to the listener, for as long as it takes."""
    with Postfix({DOMAIN: f"lmtp:inet:127.0.0.1:{listener.port}"}) as started:
        yield started


async def rows(post: Any) -> int:
    async with post.database.read() as session:
        counted = await (await session.connection()).execute(
            text("SELECT count(*) FROM mail_report")
        )
        return int(counted.scalar_one())


def answers(postfix: Postfix) -> Mapping[str, list[tuple[str, str]]]:
    """What the listener answered to each mail of Postfix's queue, by Postfix's own log."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key, status, words in _ANSWERED.findall(postfix.log.read_text(errors="replace")):
        found.setdefault(key, []).append((status, words))
    return found


def submit(port: int, mails: list[tuple[str, bytes]]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        for to, raw in mails:
            client.sendmail("", [to], raw)


def asking(post: Any, key: Any, address: str) -> bytes:
    people = Signer.of(PEOPLE, Settings())
    plan = LinkPlan(base="https://mail.acme.example", tenant_id=post.tenant_id, people=people)
    token = lowered(plan.token(key, Channel.EMAIL, address))
    return f"From: {address}\r\nSubject: unsubscribe {token}\r\n\r\nstop\r\n".encode()


def came_back(post: Any, ids: Any, make_dsn: Any, make_complaint: Any) -> list[tuple[str, bytes]]:
    """One mail about each message: bounces, complaints, wishes to unsubscribe."""
    mails = []
    for number, (address, key) in enumerate(sorted(ids.items())):
        to = post.envelope_from(key)
        if number < BOUNCED:
            mails.append((to, make_dsn(to=to, recipient=address)))
        elif number < BOUNCED + COMPLAINED:
            mails.append((f"bounces@{DOMAIN}", make_complaint(to=to, mail_from=to)))
        else:
            mails.append((f"stop@{DOMAIN}", asking(post, key, address)))
    DICE.shuffle(mails)
    return mails


async def counted(post: Any, run: Any) -> dict[str, Any]:
    """All that a mail that is taken twice could make too many of."""
    async with post.database.read() as session:
        events = (await session.exec(select(OutboxEvent))).all()
        connection = await session.connection()
        changes = await connection.execute(
            text("SELECT new_state FROM message_event WHERE new_state IN ('bounced', 'complained')")
        )
        audited = await connection.execute(
            text("SELECT count(*) FROM audit_log WHERE action = 'suppression.added'")
        )
        told = Counter(event.name for event in events if "recipient" in event.name)
        return {
            "states": Counter((await post.states(run)).values()),
            "changes": Counter(changes.scalars()),
            "suppressed": Counter((await post.suppressed()).values()),
            "events": told,
            "settled": Counter((row.kind, row.state) for row in await post.reports()),
            "audited": audited.scalar_one() > 0,
        }


@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix starts as root only")
@pytest.mark.xdist_group("mail-servers")
async def test_a_mail_server_loses_nothing_to_a_killed_listener(
    post: Any, make_dsn: Any, make_complaint: Any, listener: Listener, postfix: Postfix
) -> None:
    """What was answered 250 is stored once, the rest comes again, and each mail counts once."""
    run, ids = await post.sent(*(f"u{number:02}@example.org" for number in range(MAILS)))
    mails = came_back(post, ids, make_dsn, make_complaint)
    await listener.start()
    submitting = asyncio.create_task(asyncio.to_thread(submit, postfix.port, mails))

    for kill in range(1, KILLS + 1):
        target = DICE.randint(kill * MAILS // (KILLS + 1) - 8, kill * MAILS // (KILLS + 1))

        async def got_so_far(target: int = target) -> bool:
            return await rows(post) >= target

        await until(got_so_far, listener.said)
        await listener.kill()
        taken = {key for key, said in answers(postfix).items() if ("sent" in dict(said))}
        assert len(taken) <= await rows(post)
        await listener.start()
    await submitting

    async def all_answered() -> bool:
        return sum("sent" in dict(said) for said in answers(postfix).values()) == MAILS

    async def all_settled() -> bool:
        return len(await post.suppressed()) == MAILS

    await until(all_answered, lambda: postfix.log.read_text(errors="replace"))
    await until(all_settled, listener.said)

    heard = answers(postfix)
    assert len(heard) == await rows(post) == MAILS
    for said in heard.values():
        assert said[-1] == ("sent", "250 2.0.0 stored")
        assert {status for status, _ in said[:-1]} <= {"deferred"}
    assert any(len(said) > 1 for said in heard.values())
    assert await counted(post, run) == {
        "states": {"bounced": BOUNCED, "complained": COMPLAINED, "sent": LEFT},
        "changes": {"bounced": BOUNCED, "complained": COMPLAINED},
        "suppressed": {"bounce": BOUNCED, "complaint": COMPLAINED, "opt_out": LEFT},
        "events": {
            "ignition.recipient.complained": COMPLAINED,
            "ignition.recipient.opted_out": LEFT,
        },
        "settled": {
            ("bounce", "settled"): BOUNCED,
            ("complaint", "settled"): COMPLAINED,
            ("unsubscribe", "settled"): LEFT,
        },
        "audited": True,
    }


@asynccontextmanager
async def half_a_mail(port: int, to: str, raw: bytes) -> AsyncIterator[smtplib.LMTP]:
    """A client that has handed over all of a mail but the dot at its end."""

    def hand_over() -> smtplib.LMTP:
        client = smtplib.LMTP("127.0.0.1", port, timeout=PATIENCE)
        client.ehlo()
        client.mail("")
        client.rcpt(to)
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(raw)
        return client

    client = await asyncio.to_thread(hand_over)
    try:
        yield client
    finally:
        client.close()


def hand_in(port: int, to: str, raw: bytes) -> int:
    with smtplib.LMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        client.ehlo()
        client.mail("")
        client.rcpt(to)
        return client.data(raw)[0]


def ended(client: smtplib.LMTP) -> bool:
    """Whether the server is gone without an answer."""
    try:
        client.send(b"\r\n.\r\n")
        client.getreply()
    except (TimeoutError, smtplib.SMTPServerDisconnected, ConnectionError):
        return True
    return False


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_half_a_mail_is_none(post: Any, make_dsn: Any, listener: Listener) -> None:
    """Cut off before its end it was never answered; what is sent again is one, however often."""
    run, ids = await post.sent("jo@example.org")
    to = post.envelope_from(ids["jo@example.org"])
    raw = make_dsn(to=to, recipient="jo@example.org")
    await listener.start()

    async with half_a_mail(listener.port, to, raw) as client:
        await listener.kill()
        assert await asyncio.to_thread(ended, client)
    assert await rows(post) == 0
    await listener.start()
    for _ in range(2):
        assert await asyncio.to_thread(hand_in, listener.port, to, raw) == 250
        assert await rows(post) == 1

    async def settled() -> bool:
        return bool(await post.suppressed())

    await until(settled, listener.said)
    assert await post.states(run) == {"jo@example.org": "bounced"}
