"""Mails that came back, from a Maildir: moved from ``new/`` to ``cur/`` when they are stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ignition_ext.channels.reports import MAX_OCTETS
from ignition_ext.errors import ConfigurationError
from ignition_ext.returns.mail import MailDesk
from ignition_ext.returns.mail_imap import GROUP, Taken
from ignition_ext.returns.mail_rows import IncomingMail

LOOK_SECONDS = 2.0
"""Between two looks into ``new/``; listing an empty folder costs nothing."""
_SEEN = ":2,S"


def checked_maildir(path: Path) -> Path:
    """The folder, if it is a Maildir.

    Raises:
        ConfigurationError: it has no ``new`` and ``cur`` in it.
    """
    if not all((path / name).is_dir() for name in ("new", "cur")):
        raise ConfigurationError(
            f"{path} is no Maildir: it has no folders new and cur.",
            mend="Name the folder that the mail server delivers to, such as /var/mail/bounces.",
        )
    return path


async def empty_maildir(desk: MailDesk, path: Path) -> int:
    """Take in what lies in ``new/``; returns how many mails.

    Raises:
        DatabaseError: mails could not be stored; they lie where they are.
    """
    files = sorted(file for file in (path / "new").iterdir() if file.is_file())
    for start in range(0, len(files), GROUP):
        group = files[start : start + GROUP]
        await desk.store(
            [IncomingMail(raw=_beginning(file), source=f"maildir {path}") for file in group]
        )
        for file in group:
            file.rename(path / "cur" / f"{file.name.partition(':')[0]}{_SEEN}")
    return len(files)


async def listen_maildir(desk: MailDesk, path: Path, stop: asyncio.Event, *, taken: Taken) -> None:
    """Take in mails as they come, until ``stop`` is set."""
    while not stop.is_set():
        taken(await empty_maildir(desk, path))
        try:
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_OCTETS)
