"""Puts together what a batch is sent with: the block's transport, the workshop, the retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from ignition_ext.channels.smpp import SmppTransport
from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.delivery.batch import Sender
from ignition_ext.delivery.plan import CampaignPlan, email_workshop, retry_of, sms_workshop
from ignition_ext.delivery.receipts import RECEIPT_LINGER_SECONDS, receipts_into
from ignition_ext.ledger.contract import Ledger
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunRef
from tasks.load_channel import load_smpp_gateway, load_smtp_server

AnySender = Callable[[Ledger], Sender[Any]]


async def prepare_sender(plan: CampaignPlan, run: RunRef, settings: Settings) -> AnySender:
    """Read the block; what comes back needs no Prefect, so it can be used in another thread.

    Raises:
        NotFoundError: there is no such block.
        ConfigurationError: it cannot be read.
    """
    match plan.channel:
        case Channel.EMAIL:
            return await _email(plan, run, settings)
        case Channel.SMS:
            return await _sms(plan, run, settings)
        case _:
            assert_never(plan.channel)


async def _email(plan: CampaignPlan, run: RunRef, settings: Settings) -> AnySender:
    server = await load_smtp_server(plan.stored.definition.block)
    rate = plan.stored.definition.throttle.per_second

    def connect(last: bool) -> SmtpTransport:
        return server.transport(per_second=rate, drain_seconds=settings.drain_seconds)

    def make(ledger: Ledger) -> Sender[Any]:
        workshop = email_workshop(plan, run=run_facts(run), envelope_from=server.envelope_from)
        return Sender(workshop=workshop, connect=connect, retry=retry_of(plan))

    return make


async def _sms(plan: CampaignPlan, run: RunRef, settings: Settings) -> AnySender:
    gateway = await load_smpp_gateway(plan.stored.definition.block)
    rate = plan.stored.definition.throttle.per_second

    def make(ledger: Ledger) -> Sender[Any]:
        def connect(last: bool) -> SmppTransport:
            return gateway.transport(
                per_second=rate,
                drain_seconds=settings.drain_seconds,
                on_receipts=receipts_into(ledger),
                receipt_linger=RECEIPT_LINGER_SECONDS if last else 0,
            )

        return Sender(
            workshop=sms_workshop(plan, run=run_facts(run)),
            connect=connect,
            retry=retry_of(plan),
            bind=gateway.bind_name,
        )

    return make


def run_facts(run: RunRef) -> dict[str, Any]:
    """What templates may name as ``run``."""
    return {"id": str(run.id), "date": run.run_at}
