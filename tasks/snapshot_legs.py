"""Puts the audience of a campaign with two channels into both of its runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from ignition_ext.audience import Source
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.step_rows import begin_steps
from ignition_ext.database import Database
from ignition_ext.delivery.legs import LegIntake, messages_of_legs
from ignition_ext.delivery.plan import CampaignPlan
from ignition_ext.delivery.recipients import Hours
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.legs import companions_of, open_companion
from ignition_ext.ledger.runs import OpenedRun
from ignition_ext.orchestration.mirror import PREFECT_ACTOR, reference_of
from ignition_ext.settings import Settings
from ignition_ext.values import Channel, RunRef


@dataclass(slots=True)
class _Leg:
    ref: RunRef
    is_held: bool


@dataclass(slots=True)
class LegWriter:
    """Writes each batch into the run of its channel; the second run is opened when it is needed.

    What stands in a run already stays as it is, so that a snapshot that was interrupted at any
    point is taken again from the beginning.
    """

    database: Database
    plan: CampaignPlan
    whole: CampaignDefinition
    run: OpenedRun
    legs: dict[Channel, _Leg] = field(default_factory=dict)

    async def take(self, source: Source, hours: Hours | None) -> LegIntake:
        """Go through the audience; what was counted."""
        intake = LegIntake()
        batches = messages_of_legs(
            self.database,
            self.whole.channel,
            self.run.ref.tenant_id,
            source.batches(),
            intake,
            limit=self.plan.limit,
            hours=hours,
        )
        async for by_channel in batches:
            for channel in self.whole.legs:
                if messages := by_channel[channel]:
                    await self._write(channel, messages)
        return intake

    async def finish(self, intake: LegIntake) -> None:
        """Mark the companions' snapshots as whole; the lead's is the caller's, and comes last."""
        ledger = open_ledger(self.database)
        async with self.database.read() as session:
            companions = await companions_of(session, self.run.ref.id)
        for one in companions:
            await ledger.finish_snapshot(
                reference_of(one),
                skipped=intake.skipped[Channel(one.channel)],
                rejected=0,
                duplicates=0,
            )

    async def _write(self, channel: Channel, messages: Sequence[NewMessage]) -> None:
        leg = self.legs.get(channel) or await self._open(channel)
        if leg is None:
            return  # cancelled meanwhile: nobody is to be added

        async def one_batch() -> AsyncIterator[Sequence[NewMessage]]:
            yield messages

        ledger = open_ledger(self.database)
        await ledger.snapshot(leg.ref, one_batch(), is_held=leg.is_held)

    async def _open(self, channel: Channel) -> _Leg | None:
        ref: RunRef | None = self.run.ref
        delivery = self.whole.leg(channel).delivery
        if channel is not self.plan.channel:
            ref = await open_companion(
                self.database,
                self.run.ref,
                channel,
                actor=Settings().actor or PREFECT_ACTOR,
                guarantee=delivery.guarantee,
                runs_for=delivery.deadline,
            )
        if ref is None:
            return None
        is_held = self.plan.has_steps and await begin_steps(self.database, ref, delivery)
        self.legs[channel] = _Leg(ref, is_held)
        return self.legs[channel]
