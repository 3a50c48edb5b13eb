"""Lets runs go on that wait for a budget, when it was raised or taken away."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.client.orchestration import PrefectClient

from ignition_ext.costs.exhausted import note_raised, raised_accounts, waiting_runs
from ignition_ext.database import Database
from ignition_ext.orchestration.runs import wake


async def wake_for_raised_budgets(database: Database, client: PrefectClient) -> Mapping[str, str]:
    """Start the runs again that wait for a budget which has money now.

    Returns:
        What was done, by the run's name.
    """
    done: dict[str, str] = {}
    async with database.read() as session:
        accounts = await raised_accounts(session)
    for account in accounts:
        async with database.read() as session:
            runs = await waiting_runs(session, account)
        for run in runs:
            if await wake(client, run):
                done[run.flow_run_name or str(run.id)] = "goes on: its budget was raised"
        # Last: who is stopped here wakes them again, which does no harm.
        async with database.write() as session:
            await note_raised(session, account)
    return done
