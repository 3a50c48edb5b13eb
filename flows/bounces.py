"""The flow ``bounces``: takes in what came back by email, and settles messages with it."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ignition_ext.returns.mail import Done, summary
from tasks.take_bounces import find_mailboxes, settle_bounces, take_mailbox, take_maildir


@flow(name="bounces", persist_result=False)
async def bounces(
    mailboxes: list[str] | None = None, maildirs: list[str] | None = None
) -> State[Any]:
    """Take in bounces and complaints, settle their messages, and suppress dead addresses.

    Safe in any number, and beside `ignition bounces listen`. A mailbox that fails does not stop
    the others; the run then ends as Failed and names it.

    Args:
        mailboxes: Names of Ignition Bounce Mailbox blocks; all that there are when left out.
        maildirs: Folders that a mail server delivers to on the worker's machine.
    """
    names = await find_mailboxes() if mailboxes is None else mailboxes
    intakes = [(take_mailbox, name) for name in names]
    intakes += [(take_maildir, path) for path in maildirs or ()]
    taken, failed = 0, {}
    for take, place in intakes:
        try:
            taken += await take(place)
        except Exception as error:
            get_run_logger().exception("%s: failed", place)
            failed[place] = " ".join(f"{type(error).__name__}: {error}".split())
    done: Done = await settle_bounces()
    told = f"{taken} mails taken in; {summary(done)}"
    if failed:
        wrong = "; ".join(f"{place}: {error}" for place, error in failed.items())
        return Failed(message=f"{wrong}. The others were read: {told}.")
    return Completed(message=told)
