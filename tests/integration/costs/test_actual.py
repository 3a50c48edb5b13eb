"""What runs cost: what servers accepted, at the run's own prices, whenever it is computed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ignition_ext.costs.actual import (
    accepted_cost,
    compute_cost,
    cost_status,
    outdated_runs,
    read_cost,
    store_cost,
)
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card, pin_card
from ignition_ext.costs.sums import Cost, cost_words
from ignition_ext.ledger.contract import NewMessage, SmsReceipt
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.ledger.runs import close_run
from ignition_ext.models import CostKind, PriceKind
from ignition_ext.values import (
    Channel,
    Delivery,
    FailureClass,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
    RunState,
)

BIND = "127.0.0.1:2775/acme"
DOCS = Path(__file__).parents[3] / "docs" / "analysts.md"
ACCEPTED, REJECTED = OutcomeKind.ACCEPTED, OutcomeKind.REJECTED
GERMANY, MOBILE, FRANCE, NETWORK = 75_000, 7_500, 50_000, 60_000
PRICES = [
    Price(kind=PriceKind.PREFIX, code="49", micros=GERMANY),
    Price(kind=PriceKind.PREFIX, code="49170", micros=MOBILE),
    Price(kind=PriceKind.PREFIX, code="33", micros=FRANCE),
    Price(kind=PriceKind.NETWORK, code="26202", micros=NETWORK),
]


async def give_card(shop, prices: Sequence[Price] = PRICES, **fields: Any) -> None:
    card = NewCard(**{"currency": "EUR", "prices": prices} | fields)
    await import_card(shop.database, tenant="acme", card=card, actor="test")


async def fill(shop, *people: tuple[str, str]) -> None:
    """Text messages by number and network."""

    async def batches() -> AsyncIterator[Sequence[NewMessage]]:
        yield [
            NewMessage(
                channel=Channel.SMS,
                address=number,
                domain=number[1:3],
                data={"network": network} if network else {},
            )
            for number, network in people
        ]

    await shop.ledger.snapshot(shop.run, batches())


async def send(shop, *parts: Sequence[OutcomeKind]) -> None:
    """Send what is due, in the order of the numbers, each with such outcomes of its segments."""
    lease = await shop.ledger.claim(shop.run, limit=100, lease=timedelta(minutes=1))
    messages = sorted(lease.messages, key=lambda one: one.address)
    ids = [message.id for message in messages]
    await shop.ledger.intend(shop.run, lease.id, ids)
    deliveries = [_delivery(key, kinds) for key, kinds in zip(ids, parts, strict=True)]
    await shop.ledger.settle(shop.run, lease.id, deliveries, StandardRetry(), bind=BIND)


def _delivery(key, kinds: Sequence[OutcomeKind]) -> Delivery:
    outcomes = [
        Outcome(kind=kind, provider_id=f"{key.hex[-8:]}{number}" if kind is ACCEPTED else "")
        if kind is ACCEPTED
        else Outcome(kind=kind, failure_class=FailureClass.CONTENT)
        for number, kind in enumerate(kinds, 1)
    ]
    parts = tuple(
        PartOutcome(part=number, parts=len(outcomes), outcome=outcome)
        for number, outcome in enumerate(outcomes, 1)
    )
    worst = next((one for one in outcomes if one.kind is not ACCEPTED), outcomes[0])
    return Delivery(message_id=key, outcome=worst, parts=parts)


async def test_what_was_accepted_costs_by_segment_prefix_and_network(shop) -> None:
    """Exact sums by country; what has no price is named, what was refused is free."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)
    people = [
        ("+331700000001", ""),
        ("+441700000001", ""),
        ("+491510000001", "262-02"),
        ("+491510000002", ""),
        ("+491700000001", ""),
        ("+491700000002", ""),
    ]
    await fill(shop, *people)
    await send(
        shop,
        [ACCEPTED],
        [ACCEPTED] * 2,
        [ACCEPTED] * 2,
        [ACCEPTED],
        [ACCEPTED] * 3,
        [REJECTED],
    )

    cost = await compute_cost(shop.database, shop.run)

    assert cost is not None
    germany = cost.countries["49"]
    assert germany.micros == 2 * NETWORK + GERMANY + 3 * MOBILE
    assert (germany.messages, germany.segments) == (3, 6)
    assert cost.countries["33"].micros == FRANCE
    assert (cost.countries["44"].micros, cost.countries["44"].unpriced) == (0, 2)
    assert cost_words(cost.document) == (
        "costs 0.27 EUR by rate card 1: +49 0.22, +33 0.05, +44 0.00; 2 segments have no price"
    )
    async with shop.database.read() as session:
        assert await read_cost(session, shop.run.id, CostKind.ACTUAL) == cost


async def test_a_newer_card_changes_no_cost(shop) -> None:
    """A run keeps the card that was in force when it began."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)
    await fill(shop, ("+491700000001", ""))
    await send(shop, [ACCEPTED])
    before = await compute_cost(shop.database, shop.run)

    await give_card(shop, [Price(kind=PriceKind.PREFIX, code="49", micros=1)])
    await pin_card(shop.database, shop.run)

    assert await compute_cost(shop.database, shop.run) == before


async def test_a_message_that_is_sent_again_costs_again(shop) -> None:
    """Failed by its receipt and redriven: the SMSC took it twice."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)
    await fill(shop, ("+491700000001", ""))
    await send(shop, [ACCEPTED] * 2)
    async with shop.database.read() as session:
        rows = await (await session.connection()).execute(
            text("SELECT provider_id FROM message_part ORDER BY part")
        )
        ids = list(rows.scalars())
    receipts = [
        SmsReceipt(
            bind=BIND,
            provider_id=name,
            state=MessageState.FAILED,
            status="UNDELIV",
            code="1",
            destination="491700000001",
            raw="",
        )
        for name in ids
    ]
    assert await shop.ledger.receive(receipts) == 2
    assert await shop.ledger.redrive(shop.run, actor="test") == 1
    await send(shop, [ACCEPTED] * 2)

    cost = await accepted_cost(shop.database, shop.run)

    assert cost is not None
    assert (cost.total.segments, cost.total.micros) == (4, 4 * MOBILE)


async def test_segments_that_were_taken_of_a_refused_message_cost(shop) -> None:
    """The SMSC charges what it gave an id."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)
    await fill(shop, ("+491700000001", ""))
    await send(shop, [ACCEPTED, ACCEPTED, REJECTED])

    cost = await accepted_cost(shop.database, shop.run)

    assert cost is not None
    assert (cost.total.segments, cost.total.micros) == (2, 2 * MOBILE)


async def test_emails_cost_what_the_card_says(shop) -> None:
    """Each that a server accepted."""
    await give_card(shop, email_micros=200)
    await pin_card(shop.database, shop.run)
    await shop.fill("1-1@example.com", "1-2@example.com", "1-3@example.com")
    shop.acts = {"1-2@example.com": [OutcomeKind.REJECTED]}
    await shop.send()

    cost = await accepted_cost(shop.database, shop.run)

    assert cost is not None
    assert (cost.total.messages, cost.total.micros) == (2, 400)


async def test_without_a_card_nothing_is_said(shop) -> None:
    """Neither costs of zero nor rows."""
    await pin_card(shop.database, shop.run)
    await shop.fill("1-1@example.com")
    await shop.send()

    assert await compute_cost(shop.database, shop.run) is None
    assert await cost_status(shop.database, shop.run, computes=True) is None


async def test_an_ended_run_is_computed_until_nothing_changes(shop) -> None:
    """Once at its end, and again each hour for the days in which receipts come."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)

    async def outdated() -> int:
        async with shop.database.read() as session:
            return len(await outdated_runs(session, limit=10))

    assert await outdated() == 0
    counts = await shop.ledger.counts(shop.run)
    await close_run(shop.database, shop.run, RunState.COMPLETED, "done", counts)
    assert await outdated() == 1
    await compute_cost(shop.database, shop.run)
    assert await outdated() == 0
    await _set(shop, "UPDATE run_cost SET computed_at = '2020-01-01 00:00:00.000000+00'")
    assert await outdated() == 1
    await _set(shop, "UPDATE campaign_run SET ended_at = '2020-01-01 00:00:00.000000+00'")
    assert await outdated() == 0


async def _set(shop, statement: str) -> None:
    if shop.database.dialect == "sqlite":
        statement = statement.replace("+00'", "'")
    async with shop.database.write() as session:
        await (await session.connection()).execute(text(statement))


@pytest.mark.parametrize("view", ["cost_by_run", "cost_by_country"])
async def test_the_views_show_both_costs(shop, view: str) -> None:
    """By run and by country, in units of the currency."""
    await give_card(shop)
    await pin_card(shop.database, shop.run)
    expected = Cost(currency="EUR", card=1)
    expected.add("49", 1, 2, GERMANY)
    expected.add("33", 1, 1, FRANCE)
    await store_cost(shop.database, shop.run, CostKind.ESTIMATE, expected)
    await fill(shop, ("+491510000001", ""))
    await send(shop, [ACCEPTED])
    await compute_cost(shop.database, shop.run)

    schema = "analytics." if shop.database.dialect == "postgresql" else ""
    columns = "tenant, campaign, currency, rate_card_version, estimated_segments, accepted_segments"
    order = "1" if view == "cost_by_run" else "country"
    async with shop.database.read() as session:
        rows = await (await session.connection()).execute(
            text(
                f"SELECT {columns}, estimated_amount, actual_amount FROM {schema}{view}"
                f" ORDER BY {order}"
            )
        )
        found = [
            (*row[:6], *(None if value is None else round(float(value), 6) for value in row[6:]))
            for row in rows
        ]

    if view == "cost_by_run":
        assert found == [("acme", "news", "EUR", 1, 3, 1, 0.2, 0.075)]
    else:
        assert found == [
            ("acme", "news", "EUR", 1, 1, None, 0.05, None),
            ("acme", "news", "EUR", 1, 2, 1, 0.15, 0.075),
        ]


@pytest.mark.parametrize("view", ["cost_by_run", "cost_by_country", "answer_costs"])
async def test_the_docs_describe_every_column_of_the_views(shop, view: str) -> None:
    """In the view's own order."""
    section = re.search(rf"^### {view}$(.+?)(?=^##)", DOCS.read_text(), re.M | re.S)
    assert section is not None
    schema = "analytics." if shop.database.dialect == "postgresql" else ""

    async with shop.database.read() as session:
        rows = await (await session.connection()).execute(text(f"SELECT * FROM {schema}{view}"))

    assert re.findall(r"^\| `(\w+)` \| \S", section[1], re.M) == list(rows.keys())
