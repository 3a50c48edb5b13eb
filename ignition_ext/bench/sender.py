"""The process that is measured: one sender that drains one run, as the flow ``campaign`` does.

``python -m ignition_ext.bench.sender`` reads what to do as JSON on stdin and prints what it came
to as JSON on stdout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never
from uuid import UUID

from ignition_ext.bench.content import plan_for, recipe_of, sms_shop
from ignition_ext.bench.meter import measured, peak_rss_mb
from ignition_ext.bench.null_channel import NullTransport
from ignition_ext.channels.smpp import SmppOptions, SmppTransport, SmsEnvelope
from ignition_ext.channels.smtp import EmailEnvelope, SmtpOptions, SmtpTransport
from ignition_ext.channels.transport import Transport
from ignition_ext.database import Database
from ignition_ext.delivery.batch import BatchLimits, BatchResult, Sender, deliver_batch
from ignition_ext.delivery.plan import CampaignPlan, retry_of
from ignition_ext.delivery.press import Press
from ignition_ext.delivery.tally import Tally
from ignition_ext.delivery.thread import run_apart
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.errors import IgnitionError
from ignition_ext.ledger import open_ledger
from ignition_ext.schema import database_errors, require_current
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunId, RunRef, TenantId

Job = dict[str, Any]


def run_of(job: Job) -> RunRef:
    """The run that a job names."""
    return RunRef(
        id=RunId(UUID(job["run_id"])),
        run_at=datetime.fromisoformat(job["run_at"]),
        tenant_id=TenantId(job["tenant_id"]),
    )


def sender_for(job: Job, plan: CampaignPlan, press: Press) -> Sender[Any]:
    """What the batches are sent with; ``tasks/prepare_sender.py`` makes the same of a block."""
    match plan.channel:
        case Channel.EMAIL:
            recipe = recipe_of(plan, run_of(job))
            workshop = EmailWorkshop(recipe.maker())
            return Sender(
                workshop=workshop,
                connect=_email_channel(job),
                retry=retry_of(plan),
                feed=partial(press.feed, recipe, workshop),
            )
        case Channel.SMS:
            options = _smpp_options(job)
            return Sender(
                workshop=sms_shop(plan, run_of(job)),
                connect=_sms_channel(job, options),
                retry=retry_of(plan),
                bind=options.bind_name,
            )
        case _:
            assert_never(plan.channel)


def _email_channel(job: Job) -> Callable[[bool], Transport[EmailEnvelope]]:
    if job["null"]:
        return lambda last: NullTransport(
            job["connections"], lambda envelope: envelope.message_id, has_parts=False
        )
    options = SmtpOptions(
        host=job["host"],
        port=job["port"],
        security=job["security"],
        verify=False,
        connections=job["connections"],
    )
    return lambda last: SmtpTransport(options)


def _sms_channel(job: Job, options: SmppOptions) -> Callable[[bool], Transport[SmsEnvelope]]:
    if job["null"]:
        lanes = job["binds"] * job["window"]
        return lambda last: NullTransport(
            lanes, lambda envelope: envelope.message_id, has_parts=True
        )
    return lambda last: SmppTransport(options)


def _smpp_options(job: Job) -> SmppOptions:
    return SmppOptions(
        host=job["host"],
        port=job["port"],
        system_id=job["system_id"],
        password=job["password"],
        window=job["window"],
        binds=job["binds"],
    )


async def drain(job: Job, plan: CampaignPlan, sender: Sender[Any]) -> Counter[str]:
    """Send batch after batch until nothing is left; returns the new states of the messages.

    Raises:
        ChannelError: the server refused us.
    """
    settings, run, tally = Settings(), run_of(job), Tally()
    limits = BatchLimits(
        messages=job["batch"] or plan.stored.definition.delivery.batch,
        lease=timedelta(seconds=settings.lease_seconds),
        look_every=timedelta(seconds=settings.control_seconds),
    )

    async def work(stop: asyncio.Event) -> BatchResult:
        database = Database(job["database"])
        try:
            await require_current(database)
            with database_errors(database):
                ledger = open_ledger(database)
                return await deliver_batch(ledger, run, sender, limits, stop=stop, tally=tally)
        finally:
            await database.close()

    states: Counter[str] = Counter()
    while True:
        result = await run_apart(work)
        states.update({state.value: count for state, count in result.settled.items()})
        if result.error is not None:
            raise result.error
        if result.over:
            return states
        if not result.claimed:
            raise IgnitionError(f"{result.open} messages could not be sent at once: {states}.")


def main() -> int:
    """Drain the run that stdin names."""
    job: Job = json.load(sys.stdin)
    # A flow run's process holds all of Prefect; without it memory and pauses would look better.
    import prefect.flow_engine  # noqa: F401

    plan = plan_for(Channel(job["channel"]), tenant=job["tenant"])
    press, peak = Press(), 0.0
    sender = sender_for(job, plan, press)
    gc.collect()
    try:
        with measured() as meter, press:
            states = asyncio.run(drain(job, plan, sender))
            peak = peak_rss_mb() + (peak_rss_mb(press.process_id) if press.process_id else 0.0)
    except IgnitionError as error:
        json.dump({"error": error.message, "mend": error.mend}, sys.stdout)
        return 1
    json.dump(
        {
            "states": states,
            "seconds": meter.seconds,
            "cpu_seconds": meter.cpu_seconds,
            "peak_rss_mb": peak,
        },
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
