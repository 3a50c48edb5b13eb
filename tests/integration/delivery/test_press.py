"""The press: a real process makes the emails, and nothing depends on its living."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ignition_ext.channels.smtp import EmailEnvelope
from ignition_ext.channels.transport import Journal
from ignition_ext.delivery import press as press_module
from ignition_ext.delivery.press import GROUP, GROUPS, LARGEST, Press
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.errors import TemplateError
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.templates.attachments import Attachment
from ignition_ext.templates.email_maker import EmailMaker, EmailRecipe
from ignition_ext.templates.press_worker import made
from ignition_ext.templates.rendering import TemplateSources
from ignition_ext.values import Channel, Delivery, FailureClass, MessageId, new_id

RECIPE = EmailRecipe(
    sources=TemplateSources(
        name="letter",
        version=1,
        files={
            "letter/subject.txt": "Grüße, {{ name }}",
            "letter/body.html": "<p>{{ name }} – {{ run.id }}: {{ word }}</p>",
            "letter/body.txt": "{{ name }}: {{ word }}",
        },
    ),
    locale="de",
    timezone="Europe/Berlin",
    globals={"run": {"id": "7"}},
    sender="Acme <news@example.com>",
    headers={"Reply-To": "help@example.com"},
    attachments=[],
    inline=[],
    envelope_from=None,
)


@dataclass
class Book(Journal):
    """Writes down what was settled; nothing else comes here."""

    settled: list[Delivery] = field(default_factory=list)

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        raise AssertionError("the feed intends nothing")

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        self.settled += deliveries


@dataclass
class Claimed:
    """Messages without end, and which of them were taken."""

    most: int = 10**9
    taken: list[ClaimedMessage] = field(default_factory=list)

    async def take(self) -> ClaimedMessage | None:
        number = len(self.taken)
        if number >= self.most:
            return None
        data = {"name": f"Čeněk {number}", "word": "€ " * (number % 50)}
        if number % 10 == 9:
            del data["word"]  # cannot be rendered
        message = ClaimedMessage(
            id=MessageId(new_id()),
            channel=Channel.EMAIL,
            address=f"u{number}@example.com",
            domain="example.com",
            locale=("de", "cs", None)[number % 3],
            timezone=None,
            attempts=0,
            data=data,
        )
        self.taken.append(message)
        return message


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Iterator[Press]:
    # On one processor it would not be worth it.
    monkeypatch.setattr(press_module, "_processors", lambda: 2)
    with Press(worth_from=100) as press:
        yield press


def fed(
    press: Press, claimed: Claimed, book: Book, *, stopped: Callable[[], bool] = lambda: False
) -> Any:
    """The feed of one batch."""
    workshop = EmailWorkshop(RECIPE.maker())
    return press.feed(RECIPE, workshop, claimed.take, book, stopped, waiting=1000)


async def until_pressed(press: Press, feed: AsyncIterator[EmailEnvelope]) -> list[EmailEnvelope]:
    """What came before the press was ready, and its first group."""
    envelopes = []
    while not press.is_ready:
        envelopes.append(await anext(feed))
        await asyncio.sleep(0.01)
    return envelopes + [await anext(feed) for _ in range(GROUP)]


def without_date(envelope: EmailEnvelope) -> EmailEnvelope:
    return replace(envelope, content=re.sub(rb"\r\nDate: [^\r]+", b"", envelope.content))


async def test_it_makes_what_the_sender_would_make(press: Press) -> None:
    """Every octet but the date; who cannot be rendered is settled with the same words."""
    claimed, book = Claimed(), Book()
    async with fed(press, claimed, book) as feed:
        envelopes = await until_pressed(press, feed)
        envelopes += [await anext(feed) for _ in range(3 * GROUP)]

    workshop, words = EmailWorkshop(RECIPE.maker()), {}
    for place, message in enumerate(claimed.taken):
        if place % 10 == 9:
            with pytest.raises(TemplateError, match="word") as refused:
                workshop.build(message)
            words[message.id] = str(refused.value)
    by_id = {message.id: message for message in claimed.taken}
    for envelope in envelopes:
        expected = workshop.build(by_id[envelope.message_id])
        assert without_date(envelope) == without_date(expected)
    assert len(book.settled) >= 10
    for delivery in book.settled:
        assert delivery.outcome.failure_class is FailureClass.RENDER
        assert delivery.outcome.text == words[delivery.message_id]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_whatever_befalls_it_each_message_comes_once(press: Press, number: int) -> None:
    """Killed, the sender makes the rest itself; asked to end, it stays until its sender ends."""
    claimed, book = Claimed(most=2000), Book()
    async with fed(press, claimed, book) as feed:
        envelopes = await until_pressed(press, feed)
        process = press.process_id
        assert process is not None
        os.kill(process, number)
        envelopes += [envelope async for envelope in feed]
        assert press.process_id == (None if number == signal.SIGKILL else process)

    seen = [envelope.message_id for envelope in envelopes]
    seen += [delivery.message_id for delivery in book.settled]
    assert sorted(seen) == sorted(message.id for message in claimed.taken)
    assert len(seen) == 2000


async def test_a_batch_that_ends_early_leaves_it_to_the_next(press: Press) -> None:
    """What was on its way is taken in and forgotten: the next batch gets its own."""
    first, stop = Claimed(), asyncio.Event()
    async with fed(press, first, Book(), stopped=stop.is_set) as feed:
        await until_pressed(press, feed)
        stop.set()
        with pytest.raises(StopAsyncIteration):
            await anext(feed)
    process = press.process_id

    second, book = Claimed(most=3 * GROUP * GROUPS), Book()
    async with fed(press, second, book) as feed:
        seen = [envelope.message_id async for envelope in feed]

    assert press.process_id == process is not None
    assert len(seen) + len(book.settled) == second.most
    assert set(seen) <= {message.id for message in second.taken}


async def test_a_batch_that_ends_as_the_press_dies_ends_well(press: Press) -> None:
    """Nothing that it had is missed, and the next batch does without it."""
    async with fed(press, Claimed(), Book()) as feed:
        await until_pressed(press, feed)
        assert press.process_id is not None
        os.kill(press.process_id, signal.SIGKILL)

    async with fed(press, Claimed(most=20), Book()) as feed:
        assert len([envelope async for envelope in feed]) == 18


async def test_one_that_is_interrupted_while_it_waits_goes_on(press: Press) -> None:
    """A reader that was cancelled in the middle of an answer loses none of it."""
    claimed, book = Claimed(most=5000), Book()
    async with fed(press, claimed, book) as feed:
        envelopes = await until_pressed(press, feed)
        for turns in range(40):
            reader = asyncio.ensure_future(anext(feed))
            for _ in range(turns):
                await asyncio.sleep(0)
            if reader.cancel():
                await asyncio.wait([reader])
            if not reader.cancelled():
                envelopes.append(reader.result())
        envelopes += [envelope async for envelope in feed]
        assert press.is_ready

    seen = [envelope.message_id for envelope in envelopes]
    assert len(seen) == len(set(seen))


async def test_a_small_run_has_none(press: Press) -> None:
    """It would be over before the process had begun."""
    claimed, book = Claimed(most=20), Book()
    workshop = EmailWorkshop(RECIPE.maker())
    async with press.feed(RECIPE, workshop, claimed.take, book, lambda: False, waiting=99) as feed:
        assert len([envelope async for envelope in feed]) == 18
    assert press.process_id is None


async def test_an_attachment_is_not_copied_from_process_to_process(press: Press) -> None:
    """That would be the most of the work: the sender makes such emails itself."""
    file = Attachment(name="a.bin", content=os.urandom(LARGEST + 1))
    large = replace(RECIPE, attachments=[file])
    claimed, workshop = Claimed(most=5), EmailWorkshop(large.maker())
    async with press.feed(
        large, workshop, claimed.take, Book(), lambda: False, waiting=1000
    ) as feed:
        assert len([envelope async for envelope in feed]) == 5
    assert press.process_id is None


async def test_large_emails_are_made_where_they_are_sent(press: Press) -> None:
    """Nor are pages of such a size."""
    page = f"<p>{'ä' * LARGEST} {{{{ name }}}}</p>"
    files = {**RECIPE.sources.files, "letter/body.html": page}
    large = replace(RECIPE, sources=replace(RECIPE.sources, files=files))
    claimed, workshop = Claimed(), EmailWorkshop(large.maker())
    async with press.feed(
        large, workshop, claimed.take, Book(), lambda: False, waiting=1000
    ) as feed:
        while press.process_id is not None:
            await anext(feed)
            await asyncio.sleep(0.01)
        # What the press had been given is made here now.
        envelopes = [await anext(feed) for _ in range(GROUP * GROUPS)]
    assert len({envelope.message_id for envelope in envelopes}) == GROUP * GROUPS


async def test_where_no_process_can_be_started_the_sender_does_it(
    press: Press, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    claimed, book = Claimed(most=20), Book()
    async with fed(press, claimed, book) as feed:
        assert len([envelope async for envelope in feed]) == 18
    assert "without a process of their own" in caplog.text


def test_it_ends_with_a_sender_that_was_killed() -> None:
    """No process is left behind, whatever becomes of its parent."""
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_press as here
async def main():
    here.press_module._processors = lambda: 2
    press = here.Press(worth_from=1)
    async with here.fed(press, here.Claimed(), here.Book()) as feed:
        await here.until_pressed(press, feed)
        print(press.process_id, flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""
    sender = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    with sender.stdout as told:
        process = int(told.readline())
        sender.kill()
        sender.wait()
    while alive(process):
        time.sleep(0.01)


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and was not yet collected does not."""
    status = Path(f"/proc/{process}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_nobody_foresaw_is_left_to_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """It meets the error itself, and tells of it as it always did."""

    def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(EmailMaker, "make", broken)
    assert made(RECIPE.maker(), (new_id().bytes, "a@example.com", None, None, "{}")) is None
