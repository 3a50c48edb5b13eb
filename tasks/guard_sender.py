"""Ties a sender to what all senders share: the rates, the server's circuit, the account's binds."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ignition_ext.budgets.bind import BindSlots, SlotTimes
from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.circuits import Circuits, Door
from ignition_ext.budgets.lines import Lines
from ignition_ext.budgets.slots import Claimant, Slots
from ignition_ext.channels.transport import Journal
from ignition_ext.database import Database
from ignition_ext.delivery.batch import Sender
from ignition_ext.delivery.gate import Gated, Take, open_gate
from ignition_ext.delivery.guard import Guard, GuardedTransport
from ignition_ext.delivery.hold import hold_of
from ignition_ext.delivery.limits import RateLimits, read_limits
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.ledger.contract import Ledger
from ignition_ext.settings import Settings
from tasks.sender_news import SenderNews

LEASES_A_DRAIN = 3
"""A bind's lease is at least so many drains long: one to notice, one to drain, one to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a sender works in: its thread's database, how it is stopped, where it tells news."""

    database: Database
    ledger: Ledger
    stop: asyncio.Event
    news: SenderNews


async def guard_sender(
    sender: Sender[Any],
    plan: CampaignPlan,
    around: Surroundings,
    *,
    door: Door,
    server_rate: float | None,
) -> Sender[Any]:
    """The same sender, which keeps rates and quiet hours and leaves a broken server alone."""
    async with around.database.read() as session:
        limits = await read_limits(session, plan, server=door.server, server_rate=server_rate)
    guard = Guard(
        Circuits(around.database),
        door,
        patience=plan.stored.definition.delivery.patience or timedelta(0),
        tell=around.news.circuit,
    )

    def connect(last: bool) -> GuardedTransport[Any]:
        return GuardedTransport(sender.connect(last), guard)

    @asynccontextmanager
    async def gate(take: Take, journal: Journal, stop: asyncio.Event) -> AsyncIterator[Gated]:
        async with open_gate(
            Budget(Lines(around.database)),
            common=limits.common,
            domains=limits.domains,
            take=take,
            journal=journal,
            stop=stop,
        ) as opened:
            yield opened

    return replace(
        sender,
        connect=connect,
        admit=guard.require_closed,
        gate=None if limits == RateLimits() else gate,
        hold=await hold_of(around.database, plan),
    )


def bind_slots(
    plan: CampaignPlan, around: Surroundings, settings: Settings, *, account: str, binds: int
) -> BindSlots:
    """The right to the binds of an SMSC account."""
    drain = timedelta(seconds=settings.drain_seconds)
    lease = max(timedelta(seconds=settings.lease_seconds), drain * LEASES_A_DRAIN)
    claimant = Claimant(
        account=account,
        allowed=binds,
        owner=f"{plan.reference} on {socket.gethostname()} (process {os.getpid()})",
        tenant_id=plan.stored.campaign.tenant_id,
    )
    return BindSlots(
        Slots(around.database),
        claimant,
        on_lost=around.stop.set,
        tell=around.news.waits,
        times=SlotTimes(lease=lease, drain=drain),
    )
