"""The flow ``outcomes``: tells Prefect and the tenants' webhooks each minute what happened."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.relay_outcomes import relay_outcomes


@flow(name="outcomes", persist_result=False)
async def outcomes() -> State[Any]:
    """Tell Prefect and webhooks what became of messages, runs and settings since the last time.

    Safe to run at any time and in any number, also beside `ignition outcomes relay`. A part that
    fails does not stop the others; the run then ends as Failed and names it.
    """
    relayed = await relay_outcomes()
    if relayed.errors:
        told = "; ".join(f"{name}: {error}" for name, error in relayed.errors.items())
        return Failed(message=f"{told}. The other parts were done.")
    return Completed(message=str(relayed))
