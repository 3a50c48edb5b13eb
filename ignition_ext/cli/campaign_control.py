"""``ignition campaign pause``, ``resume`` and ``cancel``: steering a run."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from cyclopts import Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json
from ignition_ext.errors import IgnitionError
from ignition_ext.orchestration import runs
from ignition_ext.orchestration.client import prefect_client

Json = Annotated[bool, Parameter(negative="")]


async def pause(run: str, *, json: Json = False) -> None:
    """Stop sending without ending the run.

    Args:
        run: A run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        json: Print one JSON document.
    """
    async with open_database() as database:
        row = await runs.pause(database, run, actor=actor())
    _tell(row.id, run, "paused", json)


async def resume(run: str, *, json: Json = False) -> None:
    """Let a paused run go on.

    Args:
        run: A run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        json: Print one JSON document.
    """
    async with open_database() as database:
        row = await runs.resume(database, run, actor=actor())
    try:
        async with prefect_client() as client:
            await runs.wake(client, row)
    except IgnitionError as error:
        note(f"{error.message} Should the run wait there, it looks again within five minutes.")
    _tell(row.id, run, "open", json)


async def cancel(run: str, *, json: Json = False) -> None:
    """End a run: nothing more is sent, the rest is accounted for as cancelled.

    Args:
        run: A run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        json: Print one JSON document.
    """
    async with open_database() as database, prefect_client() as client:
        run_id = await runs.cancel(database, client, run, actor=actor())
    _tell(run_id, run, "cancelled", json)


def _tell(run_id: UUID | None, reference: str, state: str, json: bool) -> None:
    if json:
        print_json({"run_id": run_id, "reference": reference, "state": state})
    else:
        note(f"The run {run_id or reference} is {state}.")
