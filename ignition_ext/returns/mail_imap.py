"""Mails that came back, from a mailbox over IMAP: put away there only when they are stored."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ignition_ext.channels.imap import IDLE_SECONDS, ImapMailbox, ImapOptions
from ignition_ext.errors import AuthenticationFailed, ChannelError
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_rows import IncomingMail

T = TypeVar("T")
Taken = Callable[[int], None]
"""Told how many mails were stored."""
GROUP = 50
"""Mails fetched and stored at once: at most 50 MB in memory, usually half of one."""
PAUSES = (1.0, 5.0, 15.0, 60.0)
"""Seconds between tries to reach the server again."""


async def empty_mailbox(desk: MailDesk, options: ImapOptions) -> int:
    """Take in what waits in a mailbox; returns how many mails.

    Raises:
        ChannelError: the mailbox cannot be read; what was stored is put away.
        DatabaseError: mails could not be stored; they wait where they are.
    """
    mailbox = ImapMailbox(options)
    await asyncio.to_thread(mailbox.__enter__)
    try:
        return await _take(desk, options, mailbox)
    finally:
        await asyncio.to_thread(mailbox.__exit__)


async def listen_imap(
    desk: MailDesk,
    options: ImapOptions,
    stop: asyncio.Event,
    *,
    taken: Taken,
    failed: Callable[[Exception, float], None],
) -> None:
    """Take in mails as they come, until ``stop`` is set; connects again when the server was away.

    Raises:
        AuthenticationFailed: the login is refused; trying again would lock the account.
    """
    setbacks = 0
    while not stop.is_set():
        try:
            setbacks = await _listen_once(desk, options, stop, taken, setbacks)
        except AuthenticationFailed:
            raise
        except ChannelError as error:
            pause = PAUSES[min(setbacks, len(PAUSES) - 1)]
            failed(error, pause)
            setbacks += 1
            await _pause(stop, pause)


async def _listen_once(
    desk: MailDesk, options: ImapOptions, stop: asyncio.Event, taken: Taken, setbacks: int
) -> int:
    mailbox = ImapMailbox(options)
    await asyncio.to_thread(mailbox.__enter__)
    stopped = threading.Event()
    watcher = asyncio.create_task(_forward(stop, stopped))
    try:
        while not stop.is_set():
            taken(await _take(desk, options, mailbox))
            setbacks = 0
            await asyncio.to_thread(mailbox.wait, IDLE_SECONDS, stopped)
    finally:
        stopped.set()
        watcher.cancel()
        await asyncio.to_thread(mailbox.__exit__)
    return setbacks


async def _take(desk: MailDesk, options: ImapOptions, mailbox: ImapMailbox) -> int:
    count = 0
    keys: Sequence[int] = await asyncio.to_thread(mailbox.waiting)
    for start in range(0, len(keys), GROUP):
        group = keys[start : start + GROUP]
        mails: Mapping[int, bytes] = await asyncio.to_thread(mailbox.fetch, group)
        await desk.store([IncomingMail(raw=raw, source=options.name) for raw in mails.values()])
        await asyncio.to_thread(mailbox.put_away, sorted(mails))
        count += len(mails)
    return count


async def _forward(stop: asyncio.Event, stopped: threading.Event) -> None:
    await stop.wait()
    stopped.set()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
