"""The flow ``sender``: drains a run's ledger beside the run's own flow, on any node."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from ignition_ext.campaigns.parameters import SenderParameters
from ignition_ext.delivery.press import Press
from ignition_ext.delivery.progress import summary
from ignition_ext.errors import IgnitionError
from ignition_ext.values import MessageState
from tasks.await_due import await_more
from tasks.join_run import join_run
from tasks.live_progress import LiveProgress
from tasks.send_batch import send_batch
from tasks.show_ending import Ending, EndingKind, show_ending


@flow(name="sender", persist_result=False)
async def sender(parameters: SenderParameters) -> State[Any]:
    """Help a run of a campaign; the run starts its senders itself, with `senders` in its file.

    Ends by itself when nothing is left, or when nothing can be sent for long. Whatever becomes of
    it, the run accounts for every message: what this sender held, others take over.

    Args:
        parameters: Which run.
    """
    settled: Counter[MessageState] = Counter()
    try:
        joined = await join_run(parameters)
        if isinstance(joined, str):
            return show_ending(Ending(kind=EndingKind.SKIPPED, message=joined))
        plan, run = joined
        progress = LiveProgress(f"{plan.reference} sender {parameters.number}")
        with Press() as press:
            while not (batch := await send_batch(plan, run, progress, press)).over:
                settled.update(batch.settled)
                if not await await_more(plan, run, batch):
                    break
            else:
                settled.update(batch.settled)
    except IgnitionError as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return show_ending(Ending(kind=EndingKind.FAILED, message=message))
    message = f"this sender's share: {summary(settled)}"
    return show_ending(Ending(kind=EndingKind.COMPLETED, message=message))
