"""``ignition db``: the schema."""

from __future__ import annotations

import re
from typing import Annotated

from cyclopts import App, Parameter

from ignition_ext.cli.output import note, out, print_json
from ignition_ext.database import Database
from ignition_ext.errors import ConfigurationError
from ignition_ext.schema import ANALYST_ROLE, analyst_role_script
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


@app.command(name="analyst-role")
def analyst_role(
    *, name: str = ANALYST_ROLE, json: Annotated[bool, Parameter(negative="")] = False
) -> None:
    """Print the SQL that makes a read-only role for analysts on PostgreSQL.

    It is printed, not run: making roles is for whoever administers the server. Pipe it into psql.

    Args:
        name: The role's name.
        json: Print one JSON document with the role and the SQL.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a role.",
            mend="Use small letters, digits and underscores, a letter first.",
        )
    script = analyst_role_script(name)
    if json:
        print_json({"role": name, "sql": script})
    else:
        out.print(script, markup=False, soft_wrap=True, end="")
