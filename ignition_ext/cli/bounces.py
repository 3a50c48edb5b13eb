"""``ignition bounces``: takes in what came back by email, lists what fits nothing, reads files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ignition_ext.channels.imap import ImapOptions
from ignition_ext.channels.reports import MailReport, parse_report
from ignition_ext.cli.context import open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.errors import ConfigurationError
from ignition_ext.orchestration.mailboxes import mailbox_options
from ignition_ext.returns.mail import Done, MailDesk, summary
from ignition_ext.returns.mail_imap import Taken, listen_imap
from ignition_ext.returns.mail_lmtp import checked_place, listen_lmtp
from ignition_ext.returns.mail_maildir import checked_maildir, listen_maildir
from ignition_ext.returns.mail_rows import list_unmatched
from ignition_ext.returns.mail_service import Intake, serve

app = App(
    name="bounces",
    help="Bounces and complaints: take them in, list what fits no message, read files.",
)
Json = Annotated[bool, Parameter(negative="")]


@app.command
async def listen(
    *,
    imap: Annotated[Sequence[str], Parameter(negative="")] = (),
    maildir: Annotated[Sequence[Path], Parameter(negative="")] = (),
    lmtp: str = "",
) -> None:
    """Take in bounces and complaints as they come, until it is told to stop (SIGTERM, Ctrl-C).

    Several ways may be given at once. A mail is put away, or answered with 250, only when it is
    stored; while the database is away mails wait where they are. Any number may listen.

    Args:
        imap: Name of an Ignition Bounce Mailbox block; may be repeated.
        maildir: Folder that a mail server delivers to; may be repeated.
        lmtp: HOST:PORT to take mails at over LMTP, for a mail server on the same network.
    """
    place = checked_place(lmtp) if lmtp else None
    folders = [checked_maildir(path) for path in maildir]
    mailboxes = [await mailbox_options(name) for name in imap]
    if not (mailboxes or folders or place):
        raise ConfigurationError(
            "there is nothing to listen to.", mend="Give --imap BLOCK, --maildir or --lmtp."
        )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_database() as database:
        desk = MailDesk(database)
        intakes: list[Intake] = [_mailbox(desk, options) for options in mailboxes]
        intakes += [_folder(desk, path) for path in folders]
        if place is not None:
            intakes.append(_server(desk, *place))
        note("Listening for bounces; Ctrl-C ends it.")
        await serve(desk, intakes, stop, settled=_told, tell=note)


@app.command
async def unmatched(*, limit: int = 100, json: Json = False) -> None:
    """List mails that came back and fit no message, the newest first, and why.

    Args:
        limit: How many at most.
        json: Print one JSON list.
    """
    async with open_database() as database, database.read() as session:
        rows = await list_unmatched(session, limit=limit)
    if json:
        print_json(rows)
    else:
        print_table(rows, "received_at", "kind", "address", "status", "detail", "note", "source")


@app.command
def check(files: Annotated[list[Path], Parameter(negative="")], /, *, json: Json = False) -> None:
    """Say what mails in files are, and what would be made of them; nothing is stored.

    Args:
        files: Mails as they came, header and body (.eml).
        json: Print one JSON list.
    """
    if not files:
        raise ConfigurationError("there are no files to read.", mend="Name one or more mails.")
    reports = [(path, parse_report(path.read_bytes())) for path in files]
    if json:
        print_json([{"file": str(path), **asdict(report)} for path, report in reports])
    else:
        print_table([_shown(path, report) for path, report in reports])


def _shown(path: Path, report: MailReport) -> dict[str, Any]:
    decisive = report.decisive
    return {
        "file": path.name,
        "kind": report.kind.value,
        "address": decisive.original or decisive.address,
        "status": decisive.status or decisive.code,
        "class": decisive.failure_class.value if decisive.failure_class else "",
        "hard": "yes" if decisive.is_hard else "",
        "diagnostic": decisive.diagnostic,
    }


def _mailbox(desk: MailDesk, options: ImapOptions) -> Intake:
    def failed(error: Exception, pause: float) -> None:
        note(f"{options.name}: {error} Tried again in {pause:g} s.")

    async def intake(stop: asyncio.Event, taken: Taken) -> None:
        await listen_imap(desk, options, stop, taken=taken, failed=failed)

    return intake


def _folder(desk: MailDesk, path: Path) -> Intake:
    async def intake(stop: asyncio.Event, taken: Taken) -> None:
        await listen_maildir(desk, path, stop, taken=taken)

    return intake


def _server(desk: MailDesk, host: str, port: int) -> Intake:
    async def intake(stop: asyncio.Event, taken: Taken) -> None:
        await listen_lmtp(desk, host, port, stop, taken=taken, listening=partial(_listening, host))

    return intake


def _listening(host: str, port: int) -> None:
    note(f"LMTP at {host}:{port}.")


def _told(done: Done) -> None:
    if (told := summary(done)) != "nothing new":
        note(told)
