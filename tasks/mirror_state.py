"""The flow's hooks: what Prefect says of a run is written to the ledger."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.states import Cancelled

from ignition_ext.orchestration.chains import ended_run, let_go
from ignition_ext.orchestration.mirror import mirror_state as mirror_in_ledger
from tasks.database import open_database


async def mirror_state(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Hook for every end of a run; Prefect runs it in the worker when the flow's process is gone.

    A cancelled run's unsent messages become ``cancelled`` here, and what comes after the run is
    let go.
    """
    if state.is_cancelling():
        # The hook is called when the process is gone, just before Prefect says cancelled.
        state = Cancelled(message=state.message)
    async with open_database() as database:
        await mirror_in_ledger(database, flow_run.id, state)
        if state.is_crashed():
            return  # it may be started again: reconcile lets go what comes after, if it is not
        if (ended := ended_run(flow_run, state)) is not None:
            async with get_client() as client:
                await let_go(database, client, ended)


async def account_if_cancelled(flow_run_id: UUID) -> None:
    """Account for a run that is being cancelled, from within its own process.

    The worker's hook does the same some seconds later, and alone where this process was killed.
    An interruption that is no cancellation (the worker stops, the node is drained) changes
    nothing: the rest stays sendable.
    """
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run_id)).state
    if state is not None and (state.is_cancelling() or state.is_cancelled()):
        async with open_database() as database:
            await mirror_in_ledger(database, flow_run_id, state)
