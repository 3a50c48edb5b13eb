"""``ignition server``: servers that do not work, and are left alone for a while."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from ignition_ext.budgets.circuits import list_circuits, reset_circuits
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.models import Circuit

app = App(name="server", help="Servers that do not work: their circuits, shared by all runs.")

Json = Annotated[bool, Parameter(negative="")]
COLUMNS = ("server", "state", "failures", "failing_since", "open_until", "reason")


@app.command(name="list")
async def list_(*, json: Json = False) -> None:
    """List the servers and logins with which something is wrong.

    Args:
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        rows = [fields(row) for row in await list_circuits(session)]
    if json:
        print_json(rows)
    elif rows:
        print_table(rows, *COLUMNS)
    else:
        note("No server is in trouble.")


@app.command
async def reset(server: str, /, *, json: Json = False) -> None:
    """Let a server be asked again at once, also the logins that it refused.

    Args:
        server: HOST:PORT, or HOST:PORT/USER for one login.
        json: Print one JSON document.
    """
    async with open_database() as database:
        done = await reset_circuits(database, server, actor=actor())
    if json:
        print_json({"reset": done})
    else:
        note(f"The next run asks {', '.join(done)} again.")


def fields(row: Circuit) -> dict[str, Any]:
    """What a command shows of a circuit; no digest of any login."""
    return {
        "server": row.server,
        "state": "closed" if row.open_until is None else "probing" if row.probe else "open",
        "trouble": row.trouble,
        "failures": row.failures,
        "failing_since": row.failing_since,
        "open_until": row.open_until,
        "reason": row.reason,
    }
