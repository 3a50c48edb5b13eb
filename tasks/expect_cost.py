"""Says what a run is expected to cost, and which budgets have less left."""

from __future__ import annotations

from prefect import get_run_logger

from ignition_ext.costs.expected import expect_cost, tell_shortfalls
from ignition_ext.costs.sums import cost_words
from ignition_ext.database import Database
from ignition_ext.values import RunRef


async def tell_cost(database: Database, run: RunRef) -> None:
    """Estimate a run that no pre-flight went before; a run that goes on was estimated already."""
    cost = await expect_cost(database, run)
    if cost is None:
        return
    logger = get_run_logger()
    logger.info("expected: %s", cost_words(cost.document))
    for one in await tell_shortfalls(database, run, cost):
        logger.warning("%s", one.text)
