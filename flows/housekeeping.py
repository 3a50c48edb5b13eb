"""The flow ``housekeeping``: settles what processes that died or were never started left open."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.keep_house import expire_overdue, mirror_runs, recover_leases, sweep_budgets


@flow(name="housekeeping", persist_result=False)
async def housekeeping() -> State[Any]:
    """Recover messages of dead senders, and bring the ledger in step with Prefect's states.

    Safe to run at any time, as often as wanted, and beside running campaigns.
    """
    recovered = await recover_leases()
    expired = await expire_overdue()
    changed = await mirror_runs()
    await sweep_budgets()
    rows = [f"| {name} | {state} |" for name, state in sorted(changed.items())]
    summary = (
        f"{recovered.pending} messages can be sent again, {recovered.uncertain} are uncertain,"
        f" {expired} expired, {len(changed)} runs brought in step"
    )
    table = "\n".join(["| Run | State in Prefect |", "|---|---|", *rows]) if rows else ""
    await acreate_markdown_artifact(
        markdown=f"# Housekeeping\n\n{summary}.\n\n{table}\n",
        key="housekeeping",
        description="What housekeeping found to do.",
    )
    return Completed(message=summary)
