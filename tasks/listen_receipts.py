"""Listens at an SMSC account for a while: receipts, and texts from handsets."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from ignition_ext.delivery.thread import run_apart
from ignition_ext.returns.sms_listening import Heard, Listening, listen, slot_times
from ignition_ext.settings import Settings
from ignition_ext.tenants import get_tenant
from tasks.database import open_database
from tasks.load_channel import load_smpp_gateway


@task(cache_policy=NO_CACHE, persist_result=False)
async def listen_receipts(
    block: str, tenant: str | None, seconds: float, quiet_seconds: float | None
) -> Heard:
    """Bind, store what comes, and unbind when nothing comes any more.

    Args:
        block: the SMPP gateway block.
        tenant: whose the texts are; None where the tenants decide that send by the account.
        seconds: how long at most.
        quiet_seconds: end when nothing came for so long; None to stay to the end.

    Raises:
        ChannelError: the SMSC refuses us for good.
    """
    settings = Settings()
    gateway = await load_smpp_gateway(block)
    options = gateway.options(drain_seconds=settings.drain_seconds)
    logger = get_run_logger()

    async def work(stop: asyncio.Event) -> Heard:
        async with open_database() as database:
            tenant_id = None
            if tenant is not None:
                async with database.read() as session:
                    tenant_id = (await get_tenant(session, tenant)).id
            how = Listening(
                tenant_id=tenant_id,
                seconds=seconds,
                quiet=quiet_seconds,
                waits=False,
                times=slot_times(settings, patience=timedelta(seconds=seconds)),
            )
            return await listen(database, options, how, stop=stop, tell=logger.info)

    # Behind a thread what came is stored and answered also when the run is cancelled.
    return await run_apart(work)
