"""The far side of a press: ``python -m ignition_ext.templates.press_worker FD``.

Makes emails out of what comes over an inherited socket, group by group, and ends with the socket:
when the sender closes it or dies. Signals that end a sender gently are not for this process.

Frames are pickles between two processes of one program, each with its length in front. The first
one is the :class:`EmailRecipe`; it is answered with None when the first email can be made. Each
further one is a list of tasks, answered with a list of as many results.
"""

from __future__ import annotations

import json
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any, TypeAlias
from uuid import UUID

from ignition_ext.errors import TemplateError
from ignition_ext.templates.email_maker import EmailMaker, EmailRecipe
from ignition_ext.values import FailureClass, MessageId

Task: TypeAlias = tuple[bytes, str, str | None, str | None, str]
"""A message's id, address, locale, time zone, and data as JSON."""
Made: TypeAlias = tuple[str, str, bytes, bool]
"""Sender and recipient of the envelope, content, whether it needs SMTPUTF8."""
Refused: TypeAlias = tuple[FailureClass, str]
"""Why this message cannot be made."""
Result: TypeAlias = Made | Refused | None
"""None where something unforeseen happened: the sender tries it itself, and sees what."""


def made(maker: EmailMaker, task: Task) -> Result:
    """One email, or why there is none."""
    key, address, locale, timezone, document = task
    try:
        data = json.loads(document)
        email = maker.make(MessageId(UUID(bytes=key)), address, locale, timezone, data)
    except TemplateError as error:
        return FailureClass.RENDER, str(error)
    except ValueError as error:
        return FailureClass.ADDRESS, str(error)
    except Exception:
        return None
    return email.envelope_from, email.recipient, email.content, email.smtputf8


def received(sender: Connection) -> Any:
    """The next frame."""
    return pickle.loads(sender.recv_bytes())  # noqa: S301 - of the process that started this one


def main() -> None:
    """Serve one sender until it hangs up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Connection(int(sys.argv[1])) as sender:
        try:
            recipe: EmailRecipe = received(sender)
            maker = recipe.maker()
            sender.send_bytes(pickle.dumps(None))
            while True:
                tasks: list[Task] = received(sender)
                sender.send_bytes(pickle.dumps([made(maker, task) for task in tasks]))
        except (EOFError, OSError):
            return


if __name__ == "__main__":
    main()
