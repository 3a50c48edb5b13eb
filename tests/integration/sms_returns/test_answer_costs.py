"""Answers to keywords: charged by segments, counted in the tenant's budgets, never stopped."""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.costs.budget import tenant_budget
from ignition_ext.costs.budget_store import left_of
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.models import MoneyAccount, PriceKind
from ignition_ext.returns.sms_listening import Listening, listen
from ignition_ext.returns.sms_routes import note_route

SENDER = "+4915799912345"
GERMANY, MOBILE = 75_000, 7_500
MOBILE_NUMBER, LANDLINE = "+4917011111111", "+4930111111111"
UNPRICED, REFUSED = "+33612345678", "+999201000001"


async def test_answers_cost_by_segment_and_no_budget_stops_them(office: Any, sms: Any) -> None:
    """Each that the SMSC took, at the card's price; campaigns find so much less in the budgets."""
    await office.setting("sms.replies", True)
    await office.setting("sms.help_text", "x" * 200)
    await office.setting("budget.day", "0.10 EUR")
    await office.setting("budget.month", "9.00 USD")
    await give_card(office)
    async with SmscSimulator() as smsc:
        options = SmppOptions(
            host=smsc.host, port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        bind = options.bind_name
        await note_route(office.database, bind=bind, sender=SENDER, tenant_id=office.tenant_id)
        for number in (LANDLINE, UNPRICED, REFUSED):
            await office.get(sms.fragment("HELP", source=number, bind=bind))
        await send_all(office, options)
        assert await left(office) == 100_000 - 2 * GERMANY  # more than there was
        await office.get(sms.fragment("STOP", source=MOBILE_NUMBER, bind=bind))
        await send_all(office, options)

    found = {
        one.destination: (one.state, one.segments, one.micros) for one in await office.replies()
    }
    assert found == {
        LANDLINE: ("sent", 2, 2 * GERMANY),
        UNPRICED: ("sent", 2, None),
        REFUSED: ("failed", 0, None),
        MOBILE_NUMBER: ("sent", 1, MOBILE),
    }
    assert await left(office) == 100_000 - 2 * GERMANY - MOBILE
    # Nothing of it is in a budget of another currency.
    assert [row.key.split(":")[2] for row in await office.rows(MoneyAccount)] == ["day"]
    names = [event.name for event in await office.events()]
    assert names.count("ignition.budget.warning") == 1
    assert await view(office) == [
        ("acme", "help", "EUR", 2, 4, 0.15, 2),
        ("acme", "stop", "EUR", 1, 1, 0.0075, 0),
    ]


async def test_without_a_card_answers_cost_nothing(office: Any, sms: Any) -> None:
    """They are counted, and no budget is asked."""
    await office.setting("sms.replies", True)
    await office.setting("budget.day", "0.10 EUR")
    async with SmscSimulator() as smsc:
        options = SmppOptions(
            host=smsc.host, port=smsc.port, system_id=smsc.system_id, password=smsc.password
        )
        bind = options.bind_name
        await note_route(office.database, bind=bind, sender=SENDER, tenant_id=office.tenant_id)
        await office.get(sms.fragment("STOP", source=LANDLINE, bind=bind))
        await send_all(office, options)

    (reply,) = await office.replies()
    assert (reply.state, reply.segments, reply.micros, reply.currency) == ("sent", 1, None, "")
    assert await office.rows(MoneyAccount) == []
    assert await view(office) == []


async def give_card(office: Any) -> None:
    prices = [
        Price(kind=PriceKind.PREFIX, code="49", micros=GERMANY),
        Price(kind=PriceKind.PREFIX, code="4917", micros=MOBILE),
        Price(kind=PriceKind.NETWORK, code="26202", micros=1),
    ]
    card = NewCard(currency="EUR", prices=prices)
    await import_card(office.database, tenant="acme", card=card, actor="test")


async def send_all(office: Any, options: SmppOptions) -> None:
    """Listen until every answer has its outcome."""
    stop = asyncio.Event()
    listening = asyncio.create_task(
        listen(office.database, options, Listening(), stop=stop, tell=lambda _: None)
    )
    async with asyncio.timeout(120):
        while {"pending", "sending"} & {one.state for one in await office.replies()}:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
    stop.set()
    await listening


async def left(office: Any) -> int:
    """Of the tenant's budget of this day."""
    async with office.database.read() as session:
        budget = tenant_budget("budget.day", "0.10 EUR")
        return await left_of(session, office.tenant_id, None, budget, ZoneInfo("UTC"))


async def view(office: Any) -> list[tuple[Any, ...]]:
    """What analysts see, but for the day."""
    schema = "analytics." if office.database.dialect == "postgresql" else ""
    statement = text(
        "SELECT tenant, keyword, currency, answers, segments, amount, unpriced_segments"
        f" FROM {schema}answer_costs WHERE day IS NOT NULL ORDER BY keyword"
    )
    async with office.database.read() as session:
        rows = await (await session.connection()).execute(statement)
        return [(*row[:5], round(float(row[5]), 6), row[6]) for row in rows]
