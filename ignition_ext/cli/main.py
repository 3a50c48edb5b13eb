"""Assembles the commands; turns errors into one clear message and an exit code.

Exit 0: done. 1: the operation failed. 2: wrong usage. Each subject is a module of this folder
with an ``app``, imported only when its command is called, so that ``ignition --help`` is quick.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

from ignition_ext.cli.output import err
from ignition_ext.errors import IgnitionError

app = App(
    name="ignition",
    help="Email and SMS campaigns as Prefect flows: every message accounted for.",
    version=lambda: version("prefect-ignition"),
)

app.command("ignition_ext.cli.database:app", name="db")
app.command("ignition_ext.cli.tenant:app", name="tenant")
app.command("ignition_ext.cli.template:app", name="template")
app.command("ignition_ext.cli.audience:app", name="audience")
app.command("ignition_ext.cli.suppression:app", name="suppression")
app.command("ignition_ext.cli.recipient:app", name="recipient")
app.command("ignition_ext.cli.campaign:app", name="campaign")
app.command("ignition_ext.cli.schedule:app", name="schedule")
app.command("ignition_ext.cli.messages:app", name="messages")
app.command("ignition_ext.cli.receipts:app", name="receipts")
app.command("ignition_ext.cli.bounces:app", name="bounces")
app.command("ignition_ext.cli.server:app", name="server")
app.command("ignition_ext.cli.rates:app", name="rates")
app.command("ignition_ext.cli.audit:app", name="audit")
app.command("ignition_ext.cli.webhook:app", name="webhook")
app.command("ignition_ext.cli.outcomes:app", name="outcomes")
app.command("ignition_ext.cli.worker:app", name="worker")
app.command("ignition_ext.cli.web:web", name="web")
app.command("ignition_ext.cli.init:init", name="init")
app.command("ignition_ext.cli.doctor:doctor", name="doctor")
app.command("ignition_ext.cli.demo:demo", name="demo")
app.command("ignition_ext.cli.bench:app", name="bench")
app.command("ignition_ext.cli.demo:up", name="up")
app.register_install_completion_command()


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit."""
    try:
        command, bound, _ = app.parse_args(
            arguments, exit_on_error=False, print_error=False, error_console=err
        )
    except CycloptsError as error:
        err.print(f"Error: {error}", markup=False, soft_wrap=True)
        err.print("Mend: add --help to see what the command takes.", markup=False, soft_wrap=True)
        sys.exit(2)
    try:
        result = command(*bound.args, **bound.kwargs)
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
        sys.stdout.flush()
    except IgnitionError as error:
        err.print(f"Error: {error.message}", markup=False, soft_wrap=True)
        if error.mend:
            err.print(f"Mend: {error.mend}", markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("Interrupted.")
        sys.exit(130)
    except BrokenPipeError:
        # Python flushes stdout once more when it ends, and would complain about that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        err.print(f"Error: {error.strerror or error}{place}.", markup=False, soft_wrap=True)
        err.print("Mend: check the path and what this user may do there.", markup=False)
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)
