"""Digits without a plus: a number at home, or one abroad that looks the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ignition_ext.ledger import open_ledger
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import Campaign
from ignition_ext.values import Channel

DIGITS, GERMAN, AMERICAN = "17012345678", "+4917012345678", "+17012345678"


async def write_to(office: Any, *numbers: str) -> None:
    """A run with messages to these numbers."""
    async with office.database.write() as session:
        campaign = Campaign(tenant_id=office.tenant_id, name="news")
        session.add(campaign)
        await session.flush()
        assert campaign.id is not None
        request = RunRequest(
            tenant_id=office.tenant_id, campaign_id=campaign.id, campaign_version=1
        )
    run = (await open_run(office.database, request, actor="test")).ref

    async def batches() -> AsyncIterator[list[NewMessage]]:
        yield [NewMessage(channel=Channel.SMS, address=one, domain="+") for one in numbers]

    await open_ledger(office.database).snapshot(run, batches())


@pytest.mark.parametrize(
    ("written_to", "meant"),
    [
        ([GERMAN], GERMAN),
        ([AMERICAN], AMERICAN),
        ([GERMAN, AMERICAN], AMERICAN),
        ([], AMERICAN),
    ],
    ids=["at home", "abroad", "both", "neither"],
)
async def test_whom_the_tenant_wrote_to_is_meant(
    office: Any, sms: Any, written_to: list[str], meant: str
) -> None:
    """A STOP counts for them; where that tells nothing, digits are a number with its country."""
    await write_to(office, *written_to)

    await office.get(sms.fragment("STOP", source=DIGITS))

    (row,) = await office.texts()
    assert row.source == meant
    assert list(await office.stopped()) == [meant]
