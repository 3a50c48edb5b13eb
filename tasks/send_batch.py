"""Sends one batch of a run: one task run for some thousands of messages."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.delivery.batch import BatchLimits, BatchResult, deliver_batch
from ignition_ext.delivery.claims import PORTION, SHARED_PORTION
from ignition_ext.delivery.patience import patiently
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.press import Press
from ignition_ext.delivery.progress import summary
from ignition_ext.delivery.thread import run_apart
from ignition_ext.errors import MustWait, TimeLimitReached
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.events import CampaignEvent, tell
from ignition_ext.settings import Settings
from tasks.await_time import await_time, due_time
from tasks.current_run import current_flow_run
from tasks.database import keep_no_connections, open_database
from tasks.guard_sender import Surroundings
from tasks.live_progress import LiveProgress
from tasks.mirror_state import account_if_cancelled
from tasks.prefect_control import PrefectControl, is_over, note_pause
from tasks.prepare_sender import prepare_sender
from tasks.sender_news import SenderNews
from tasks.take_step import alarm_of


@task(cache_policy=NO_CACHE, persist_result=False)
async def send_batch(
    plan: CampaignPlan, run: OpenedRun, progress: LiveProgress, press: Press
) -> BatchResult:
    """Claim the next messages, send them, and account for each.

    Args:
        plan: the campaign.
        run: which run of it.
        progress: shown while it works.
        press: makes emails beside the sending, for all batches of the run.

    Raises:
        ChannelError: the server refuses us as a whole, for good or before anything got on.
        TimeLimitReached: the run's time is over; what was not sent stays sendable.
        DatabaseError: the database was away for longer than the sender's patience.
    """
    if is_over(run.ends_by):
        raise TimeLimitReached(
            f"the run took as long as {plan.reference} allows.",
            mend="Retry it to send the rest, with as much time again; or lengthen `time_limit:`.",
        )
    settings = Settings()
    limits = BatchLimits(
        messages=plan.stored.definition.delivery.batch,
        lease=timedelta(seconds=settings.lease_seconds),
        look_every=timedelta(seconds=settings.control_seconds),
        portion=PORTION if plan.senders == 1 else SHARED_PORTION,
    )
    # Blocks are read in Prefect's loop; the sending has one of its own.
    prepared = await prepare_sender(plan, run.ref, settings, press)
    news = SenderNews(progress, current_flow_run().id)
    alarm = await alarm_of(run) if run.in_steps else None
    due = due_time(current_flow_run())
    await keep_no_connections()
    control = PrefectControl(progress, run.ends_by, alarm=alarm)

    async def send(stop: asyncio.Event) -> BatchResult:
        async with open_database() as database:
            ledger = open_ledger(database)
            around = Surroundings(database=database, ledger=ledger, stop=stop, news=news)
            sender = await prepared(around)
            if due is not None:
                await await_time(database, due, stop)
            return await deliver_batch(
                ledger, run.ref, sender, limits, stop=stop, tally=progress.tally
            )

    async def work(stop: asyncio.Event) -> BatchResult:
        return await patiently(lambda: send(stop), stop)

    async def tick(*, last: bool = False) -> bool:
        news.show()
        return await control.tick(last=last)

    try:
        result = await run_apart(work, on_tick=tick)
    except (asyncio.CancelledError, SystemExit):
        # SystemExit is what Prefect raises on SIGTERM. The batch is drained by now.
        await account_if_cancelled(current_flow_run().id)
        raise
    await tick(last=True)
    if control.paused is not None:
        await note_pause(run, control.paused, shared=plan.senders > 1)
    _tell(plan, run, result)
    if isinstance(result.error, MustWait):
        return result  # its `rest` says how long
    if result.error is not None and not (result.error.temporary and result.got_on):
        raise result.error
    return result


def _tell(plan: CampaignPlan, run: OpenedRun, result: BatchResult) -> None:
    logger = get_run_logger()
    if isinstance(result.error, MustWait):
        logger.warning("the run waits: %s", result.error)
    elif result.error is not None:
        logger.warning("the server refused us within the batch: %s", result.error)
    if not result.claimed:
        logger.info("nothing can be sent now: %s", summary(result.counts))
        return
    logger.info(
        "%s of %d in %.1f s, %d given back; the run: %s",
        summary(result.settled),
        result.claimed,
        result.seconds,
        result.released,
        summary(result.counts),
    )
    tell(
        CampaignEvent.BATCH_SENT,
        reference=plan.reference,
        channel=plan.channel,
        run_id=run.ref.id,
        flow_run_id=current_flow_run().id,
        counts=result.counts,
        batch={state.value: count for state, count in result.settled.items()},
        seconds=round(result.seconds, 3),
    )
