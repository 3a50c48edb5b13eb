"""The audience of a campaign with two channels, as it comes into both of its runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel import col, select

from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import apply
from ignition_ext.consent.liked import liked_channels
from ignition_ext.consent.preferences import Choices, set_preferences
from ignition_ext.database import Database
from ignition_ext.delivery.legs import LegIntake
from ignition_ext.delivery.plan import plan_campaign
from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.legs import companions_of
from ignition_ext.ledger.runs import OpenedRun, RunRequest, open_run
from ignition_ext.models import CampaignRun, Message, Suppression
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Channel, Recipient
from tasks.snapshot_legs import LegWriter


class ProcessDiedError(Exception):
    """The process that read the audience is gone."""


@dataclass
class Crowd:
    """An audience in batches, which may break off."""

    batch: list[list[Recipient]] = field(default_factory=list)
    breaks_after: int | None = None

    async def batches(self) -> AsyncIterator[Sequence[Recipient]]:
        for number, some in enumerate(self.batch):
            if number == self.breaks_after:
                raise ProcessDiedError
            yield some


@dataclass
class Setting:
    """A campaign with two channels, and its run."""

    database: Database
    folder: Path
    tenant_id: int

    async def apply(self, **changes: Any) -> None:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": "acme",
            "channel": "both",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": "mail",
            "from": "Acme <news@acme.example>",
            "sms": {"block": "sms", "from": "ACME"},
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")

    async def open(self) -> OpenedRun:
        request = RunRequest(
            tenant_id=self.tenant_id, campaign_id=1, campaign_version=1, flow_run_id=uuid4()
        )
        return await open_run(self.database, request, actor="test")

    async def take(self, run: OpenedRun, crowd: Crowd, *, limit: int | None = None) -> LegIntake:
        async with self.database.read() as session:
            plan = await plan_campaign(session, "acme/news", environment="dev", limit=limit)
        assert plan.whole is not None
        writer = LegWriter(self.database, plan, plan.whole, run)
        source: Any = crowd
        intake = await writer.take(source, None)
        await writer.finish(intake)
        return intake

    async def like(self, channel: Channel, address: str, best: Channel | None) -> None:
        async with self.database.write() as session:
            await set_preferences(
                session,
                tenant_id=self.tenant_id,
                channel=channel,
                address=address,
                choices=Choices(preferred=best),
                actor="test",
            )

    async def suppress(self, channel: Channel, address: str) -> None:
        async with self.database.write() as session:
            session.add(
                Suppression(
                    tenant_id=self.tenant_id, channel=channel, address=address, reason="opt_out"
                )
            )

    async def addresses(self) -> dict[str, list[str]]:
        """Of the messages in the runs of each channel."""
        query = select(CampaignRun.channel, Message.channel, Message.address).join(
            CampaignRun, col(CampaignRun.id) == col(Message.run_id)
        )
        found: dict[str, list[str]] = {"": [], "sms": []}
        async with self.database.read() as session:
            for run, message, address in await session.exec(query):
                assert message == (run or "email")
                found[run].append(address)
        return {channel: sorted(some) for channel, some in found.items()}


@pytest.fixture
async def setting(database: Database, tmp_path: Path) -> Setting:
    template = tmp_path / "news"
    template.mkdir()
    for name in ("subject.txt", "body.txt", "sms.txt"):
        (template / name).write_text("Hello")
    tenant = await create_tenant(database, name="acme", actor="test")
    await push(database, tenant="acme", folder=template, actor="test", publish=True)
    assert tenant.id is not None
    made = Setting(database, tmp_path, tenant.id)
    await made.apply()
    return made


def both(number: int) -> Recipient:
    return Recipient(email=f"p{number}@example.com", phone=f"+4917012345{number:02d}")


async def test_an_audience_that_broke_off_anywhere_is_taken_again_whole(setting: Setting) -> None:
    """Once a run has somebody they stay; nobody is added twice, and one companion is there."""
    people = [[both(1), both(2)], [both(3), both(4)], [both(5)]]
    run = await setting.open()
    for breaks_after in (0, 1, 2):
        with pytest.raises(ProcessDiedError):
            await setting.take(run, Crowd(people, breaks_after))
    intake = await setting.take(run, Crowd(people))

    found = await setting.addresses()
    assert found[""] == [f"p{n}@example.com" for n in range(1, 6)]
    assert found["sms"] == [f"+4917012345{n:02d}" for n in range(1, 6)]
    assert (intake.taken, intake.messages) == (5, {Channel.EMAIL: 5, Channel.SMS: 5})
    async with setting.database.read() as session:
        (companion,) = await companions_of(session, run.ref.id)
    assert companion.snapshot_at is not None


async def test_a_companion_that_is_whole_stays_so_when_its_lead_is_taken_again(
    setting: Setting,
) -> None:
    """The lead's process died between the two; its recipients may have changed meanwhile."""
    run = await setting.open()
    await setting.take(run, Crowd([[both(1)]]))
    await setting.take(run, Crowd([[both(1), both(2)]]))

    found = await setting.addresses()
    assert found["sms"] == ["+491701234501"]
    assert found[""] == ["p1@example.com", "p2@example.com"]


async def test_who_has_one_address_gets_the_one_and_a_limit_counts_recipients(
    setting: Setting,
) -> None:
    """Without anybody for the second channel there is no second run."""
    run = await setting.open()
    mail_only = Recipient(email="m@example.com", phone=None)
    nobody = Recipient(email=None, phone=None)
    text_only = Recipient(email=None, phone="+491701234599")
    first = await setting.take(run, Crowd([[mail_only]]))
    async with setting.database.read() as session:
        assert await companions_of(session, run.ref.id) == []
    assert first.skipped == {Channel.EMAIL: 0, Channel.SMS: 1}

    intake = await setting.take(run, Crowd([[nobody, text_only, both(1), both(2)]]), limit=2)
    assert intake.taken == 2
    assert intake.skipped == {Channel.EMAIL: 2, Channel.SMS: 1}
    found = await setting.addresses()
    assert found[""] == ["m@example.com", "p1@example.com"]
    assert found["sms"] == ["+491701234501", "+491701234599"]


async def test_of_two_addresses_the_later_word_counts_if_it_can_be_kept(setting: Setting) -> None:
    """A channel liked best is of use where there is an address that is not suppressed."""
    await setting.like(Channel.EMAIL, "p1@example.com", Channel.SMS)
    await setting.like(Channel.SMS, "+491701234501", Channel.EMAIL)
    await setting.like(Channel.EMAIL, "p2@example.com", Channel.SMS)
    await setting.suppress(Channel.SMS, "+491701234502")
    await setting.like(Channel.EMAIL, "p3@example.com", Channel.SMS)
    await setting.like(Channel.EMAIL, "p4@example.com", None)
    people = [*map(both, (1, 2, 3, 4)), Recipient(email="p3@example.com", phone=None)]

    async with setting.database.read() as session:
        liked = await liked_channels(session, tenant_id=setting.tenant_id, recipients=people)
    assert liked == [Channel.EMAIL, None, Channel.SMS, None, None]


async def test_a_fallback_begins_with_texts_for_those_only_who_get_no_email(
    setting: Setting,
) -> None:
    """For who likes them best, and who has no email address; the rest wait for their emails."""
    await setting.apply(channel="fallback", fallback={"after": "1h"})
    await setting.like(Channel.EMAIL, "p2@example.com", Channel.SMS)
    run = await setting.open()
    text_only = Recipient(email=None, phone="+491701234599")
    await setting.take(run, Crowd([[both(1), both(2), text_only]]))

    found = await setting.addresses()
    assert found[""] == ["p1@example.com"]
    assert found["sms"] == ["+491701234502", "+491701234599"]
    counts = await open_ledger(setting.database).counts(run.ref)
    assert sum(counts.values()) == 1
