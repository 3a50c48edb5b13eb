"""``ignition messages failed`` and ``redrive``: what did not get through, and sending it again."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.ledger.failures import By, failures_by
from ignition_ext.ledger.runs import find_run
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.mirror import reference_of
from ignition_ext.orchestration.redrive import redrive
from ignition_ext.values import FailureClass

Json = Annotated[bool, Parameter(negative="")]


async def list_failed(*, run: str, by: By = "class", json: Json = False) -> None:
    """Group the messages of a run that did not get through.

    Args:
        run: Run id, Prefect flow run id, or TENANT/CAMPAIGN for its latest run.
        by: Group by failure class, by the server's code, or by domain.
        json: Print one JSON list.
    """
    async with open_database() as database:
        async with database.read() as session:
            row = await find_run(session, run)
        groups = await failures_by(database, reference_of(row), by)
    rows = [
        {
            by: group.key,
            "messages": group.messages,
            "redrivable": group.redrivable,
            "last_at": group.last_at,
            "example": group.example,
        }
        for group in groups
    ]
    if json:
        print_json(rows)
        return
    print_table(rows, by, "messages", "redrivable", "last_at", "example")
    if any(group.redrivable for group in groups):
        note(f"To send again what failed: ignition messages redrive --run {row.id} [--class CLASS]")


async def redrive_failed(
    *,
    run: str,
    failure_class: Annotated[FailureClass | None, Parameter(name="--class")] = None,
    json: Json = False,
) -> None:
    """Send the failed messages of a run again, after their reason was mended; audited.

    Each gets a full set of attempts. What is uncertain, bounced or suppressed stays as it is.

    Args:
        run: Run id, Prefect flow run id, or TENANT/CAMPAIGN for its latest run.
        failure_class: Only those that failed for this reason; see ``ignition messages failed``.
        json: Print one JSON document.
    """
    async with open_database() as database, prefect_client() as client:
        done = await redrive(database, client, run, failure_class=failure_class, actor=actor())
    if json:
        print_json(done)
    elif not done.messages:
        note(f"No failed message of run {done.run_id} fits; nothing was changed.")
    else:
        how = "is started again" if done.started else "goes on with them"
        note(f"{done.messages} messages are pending again; the run {done.run_id} {how}.")
