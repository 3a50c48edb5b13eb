"""Takes in the mails that came back, and carries out what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from ignition_ext.orchestration.mailboxes import mailbox_names, mailbox_options
from ignition_ext.returns.mail import Done, MailDesk
from ignition_ext.returns.mail_imap import empty_mailbox
from ignition_ext.returns.mail_maildir import checked_maildir, empty_maildir
from tasks.database import open_database


@task(cache_policy=NO_CACHE, persist_result=False)
async def find_mailboxes() -> Sequence[str]:
    """Name the bounce mailboxes that blocks on the Prefect server describe."""
    return await mailbox_names()


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="empty {place}")
async def take_mailbox(place: str) -> int:
    """Store the mails of a mailbox and put them away there; returns how many."""
    options = await mailbox_options(place)
    async with open_database() as database:
        return await empty_mailbox(MailDesk(database), options)


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="empty {place}")
async def take_maildir(place: str) -> int:
    """Store the new mails of a Maildir and move them to cur; returns how many."""
    folder = checked_maildir(Path(place))
    async with open_database() as database:
        return await empty_maildir(MailDesk(database), folder)


@task(cache_policy=NO_CACHE, persist_result=False)
async def settle_bounces() -> Done:
    """Find the message of each mail, settle it, and suppress addresses that it proves dead."""
    async with open_database() as database:
        return await MailDesk(database).settle()
