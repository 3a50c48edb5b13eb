"""``ignition campaign approve``: decides what becomes of a run that stopped by itself."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ignition_ext.campaigns.step_stops import Decision, DecisionKind
from ignition_ext.cli.bulk import Json, wrong_usage
from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note as tell
from ignition_ext.cli.output import print_json
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger.runs import find_run
from ignition_ext.models import CampaignRun
from ignition_ext.orchestration import runs
from ignition_ext.orchestration.client import prefect_client
from ignition_ext.orchestration.steps import carry_out, resume_in_prefect


async def approve(
    run: str,
    *,
    continue_: Annotated[bool, Parameter(name="--continue", negative="")] = False,
    cancel: Annotated[bool, Parameter(negative="")] = False,
    note: str = "",
    stop_watching: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Say what becomes of a run that stopped by itself because too much went wrong.

    The same as the form behind Resume in the Prefect UI; whoever is first decides.

    Args:
        run: A run's id, a flow run's id, or TENANT/NAME for the campaign's latest run.
        continue_: Send the rest; from now on only what comes later is measured.
        cancel: End it; its unsent messages become cancelled.
        note: Why; it stands in the audit log.
        stop_watching: With --continue: do not stop this run again.
        json: Print one JSON document.
    """
    if continue_ == cancel:
        wrong_usage("say --continue or --cancel.")
    if cancel and stop_watching:
        wrong_usage("--stop-watching goes with --continue.")
    kind = DecisionKind.CONTINUE if continue_ else DecisionKind.CANCEL
    decision = Decision(kind=kind, note=note, keep_watching=not stop_watching)
    async with open_database() as database:
        async with database.read() as session:
            row = await find_run(session, run)
        await carry_out(database, row, decision, actor=actor())
        if continue_:
            await _go_on(row, decision)
        else:
            async with prefect_client() as client:
                await runs.cancel(database, client, str(row.id), actor=actor())
    state = "open" if continue_ else "cancelled"
    if json:
        print_json({"run_id": row.id, "reference": run, "decision": kind.value, "state": state})
    else:
        tell(f"The run {row.id} is {state}.")
    return 0


async def _go_on(row: CampaignRun, decision: Decision) -> None:
    try:
        async with prefect_client() as client:
            await resume_in_prefect(client, row, decision)
    except IgnitionError as error:
        tell(f"{error.message} It is approved; it goes on within a minute of Prefect's return.")
