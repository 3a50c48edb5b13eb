"""``ignition db``: the schema."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from ignition_ext.cli.output import note, print_json
from ignition_ext.database import Database
from ignition_ext.schema import upgrade as upgrade_schema
from ignition_ext.settings import Settings

app = App(name="db", help="Ignition's database: its schema and revision.")


@app.command
async def upgrade(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Bring the database to this release's schema. Safe to repeat, and on two nodes at once.

    Args:
        json: Print one JSON document with the revisions before and after.
    """
    database = Database(Settings().database_url)
    try:
        before, after = await upgrade_schema(database)
    finally:
        await database.close()
    if json:
        print_json({"database": repr(database.url), "before": before, "after": after})
    elif before == after:
        note(f"{database.url!r} is at revision {after} already.")
    else:
        note(f"{database.url!r}: {before or 'empty'} -> {after}")
