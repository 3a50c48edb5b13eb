"""Puts together what a batch is sent with: the block's transport, the workshop, the retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, assert_never

from ignition_ext.budgets.circuits import Door
from ignition_ext.channels.smpp import SmppTransport
from ignition_ext.channels.smtp import SmtpTransport
from ignition_ext.delivery.batch import Sender
from ignition_ext.delivery.plan import CampaignPlan, email_recipe, retry_of, sms_workshop
from ignition_ext.delivery.press import Press
from ignition_ext.delivery.pricing import with_till
from ignition_ext.delivery.workshop import EmailWorkshop
from ignition_ext.returns.sms_inbox import SmsInbox
from ignition_ext.returns.sms_receipts import RECEIPT_LINGER_SECONDS, receipts_into
from ignition_ext.returns.sms_routes import note_route
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunRef
from tasks.guard_sender import Surroundings, bind_slots, guard_sender
from tasks.load_channel import load_smpp_gateway, load_smtp_server

AnySender = Callable[[Surroundings], Awaitable[Sender[Any]]]


async def prepare_sender(
    plan: CampaignPlan, run: RunRef, settings: Settings, press: Press
) -> AnySender:
    """Read the block; what comes back needs no Prefect, so it can be used in another thread.

    Args:
        press: makes emails beside the sending.

    Raises:
        NotFoundError: there is no such block.
        ConfigurationError: it cannot be read.
    """
    match plan.channel:
        case Channel.EMAIL:
            return await _email(plan, run, settings, press)
        case Channel.SMS:
            return await _sms(plan, run, settings)
        case _:
            assert_never(plan.channel)


async def _email(plan: CampaignPlan, run: RunRef, settings: Settings, press: Press) -> AnySender:
    server = await load_smtp_server(plan.stored.definition.block)
    options = server.options()
    recipe = email_recipe(
        plan,
        run=run_facts(run),
        envelope_from=server.envelope_from,
        bounce_address=server.bounce_address,
    )

    def connect(last: bool) -> SmtpTransport:
        return server.transport(drain_seconds=settings.drain_seconds)

    async def make(around: Surroundings) -> Sender[Any]:
        workshop = EmailWorkshop(recipe.maker())
        sender: Sender[Any] = Sender(
            workshop=workshop,
            connect=connect,
            retry=retry_of(plan),
            feed=partial(press.feed, recipe, workshop),
        )
        door = Door(
            server=options.server,
            user=options.username or "",
            secret=options.password,
            tenant_id=plan.stored.campaign.tenant_id,
        )
        sender = await guard_sender(sender, plan, around, door=door, server_rate=server.rate)
        return await with_till(sender, around.database, plan, run, options)

    return make


async def _sms(plan: CampaignPlan, run: RunRef, settings: Settings) -> AnySender:
    gateway = await load_smpp_gateway(plan.stored.definition.block)
    options = gateway.options()

    async def make(around: Surroundings) -> Sender[Any]:
        slots = bind_slots(plan, around, settings, account=gateway.bind_name, binds=gateway.binds)
        inbox = SmsInbox(around.database, alphabet=options.default_alphabet)
        await note_route(
            around.database,
            bind=gateway.bind_name,
            sender=plan.stored.definition.from_,
            tenant_id=plan.stored.campaign.tenant_id,
        )

        def connect(last: bool) -> SmppTransport:
            return gateway.transport(
                drain_seconds=settings.drain_seconds,
                on_receipts=receipts_into(around.ledger),
                receipt_linger=RECEIPT_LINGER_SECONDS if last else 0,
                slot=slots,
                senders=plan.senders,
                on_incoming=inbox,
            )

        sender: Sender[Any] = Sender(
            workshop=sms_workshop(plan, run=run_facts(run)),
            connect=connect,
            retry=retry_of(plan),
            bind=gateway.bind_name,
        )
        door = Door(
            server=options.server,
            user=options.system_id,
            secret=options.password,
            tenant_id=plan.stored.campaign.tenant_id,
        )
        # The block's rate is one bind's and is kept there.
        sender = await guard_sender(sender, plan, around, door=door, server_rate=None)
        return await with_till(sender, around.database, plan, run, options)

    return make


def run_facts(run: RunRef) -> dict[str, Any]:
    """What templates may name as ``run``."""
    return {"id": str(run.id), "date": run.run_at}
