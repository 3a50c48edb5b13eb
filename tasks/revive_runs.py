"""Looks after flow runs whose process died."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from ignition_ext.orchestration.heartbeats import server_time
from ignition_ext.orchestration.revival import Reviver
from ignition_ext.settings import Settings
from tasks.database import open_database


@asynccontextmanager
async def _reviver() -> AsyncIterator[Reviver]:
    async with open_database() as database, get_client() as client:
        yield Reviver(
            database=database,
            client=client,
            now=await server_time(client),
            most=Settings().revivals,
        )


@task(cache_policy=NO_CACHE, persist_result=False)
async def revive_runs() -> Mapping[str, str]:
    """Start runs again that lost their process; tell Prefect the end of those that had one."""
    async with _reviver() as reviver:
        return {**await reviver.runs(), **await reviver.unopened()}


@task(cache_policy=NO_CACHE, persist_result=False)
async def end_lost_senders() -> Mapping[str, str]:
    """Call senders crashed whose process is gone."""
    async with _reviver() as reviver:
        return await reviver.senders()
