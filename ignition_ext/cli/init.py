"""``ignition init``: schema, block types and work pools, in one go and safe to repeat."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ignition_ext.cli.output import note, print_json
from ignition_ext.database import Database
from ignition_ext.orchestration.client import api_url, prefect_client
from ignition_ext.orchestration.setup import prepare_server
from ignition_ext.schema import upgrade
from ignition_ext.settings import Settings


async def init(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Make the database and the Prefect server ready for campaigns. Safe to repeat.

    Upgrades Ignition's schema, registers its block types and creates the work pools email, sms
    and default on the Prefect server in use. After it, `prefect deploy --all` and a worker are
    all that is missing.

    Args:
        json: Print one JSON document with what was done.
    """
    database = Database(Settings().database_url)
    try:
        async with prefect_client() as client:  # asked first: without it nothing is changed
            before, after = await upgrade(database)
            prepared = await prepare_server(client)
    finally:
        await database.close()
    if json:
        print_json(
            {
                "database": {"url": repr(database.url), "before": before, "after": after},
                "prefect": {"url": api_url(), "prepared": prepared},
            }
        )
        return
    moved = "is at" if before == after else f"{before or 'empty'} ->"
    note(f"Database {database.url!r}: {moved} {after}")
    for thing in prepared:
        note(f"{thing.kind.capitalize()} {thing.name}: {'made' if thing.created else 'is there'}")
    note("Next: prefect deploy --all; prefect worker start --pool email")
