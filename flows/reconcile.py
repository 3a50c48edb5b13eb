"""The flow ``reconcile``: mends each minute what is not as it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.catch_up_misfires import catch_up_misfires
from tasks.fall_back import fall_back_late
from tasks.keep_costs import settle_costs
from tasks.keep_house import (
    account_for_late_results,
    expire_overdue,
    mirror_runs,
    prune_caps,
    recover_leases,
    send_what_was_redriven,
    sweep_budgets,
)
from tasks.let_go_pending import let_go_pending
from tasks.revive_runs import end_lost_senders, revive_runs
from tasks.show_upcoming import show_upcoming
from tasks.start_companion import start_legs
from tasks.tell_reconciled import tell_reconciled
from tasks.top_up_schedules import top_up_schedules
from tasks.watch_steps import watch_steps

Part = Callable[[], Awaitable[Mapping[str, str]]]
PARTS: tuple[tuple[str, Part], ...] = (
    ("Leases of dead senders", recover_leases),
    ("Deadlines", expire_overdue),
    ("States in Prefect", mirror_runs),
    ("Cancelled runs", account_for_late_results),
    ("Redriven messages", send_what_was_redriven),
    ("Runs in steps", watch_steps),
    ("Runs without a process", revive_runs),
    ("Senders without a process", end_lost_senders),
    ("Text messages instead of emails", fall_back_late),
    ("Second channels", start_legs),
    ("Chains", let_go_pending),
    ("Schedules", top_up_schedules),
    ("Missed runs", catch_up_misfires),
    ("Rates", sweep_budgets),
    ("Frequency caps", prune_caps),
    ("Costs", settle_costs),
    ("Upcoming runs", show_upcoming),
)
"""What is looked after, in this order: a run has to be seen as ended before its chain goes on."""


@flow(name="reconcile", persist_result=False)
async def reconcile() -> State[Any]:
    """Look after runs, schedules and chains: what died is ended or goes on, what is due happens.

    Safe to run at any time, in any number, and beside running campaigns. A part that fails does
    not stop the others; the run then ends as Failed and names it.
    """
    done: dict[str, Mapping[str, str]] = {}
    failed: dict[str, str] = {}
    for name, part in PARTS:
        try:
            done[name] = await part()
        except Exception as error:
            get_run_logger().exception("%s: failed", name)
            failed[name] = " ".join(f"{type(error).__name__}: {error}".split())
    found = [f"{what}: {words}" for part in done.values() for what, words in part.items()]
    await tell_reconciled(done, failed)
    if failed:
        told = "; ".join(f"{name}: {error}" for name, error in failed.items())
        return Failed(message=f"{told}. The other parts were done.")
    return Completed(message=summary(found))


def summary(found: list[str]) -> str:
    """The one line that the UI shows beside the run."""
    match found:
        case []:
            return "nothing to do"
        case [only]:
            return only
        case [first, *others]:
            return f"{first}; and {len(others)} more"
        case _:
            return ""
