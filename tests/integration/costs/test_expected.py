"""What runs are expected to cost without a pre-flight, and the budgets they would exceed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from ignition_ext.costs.accounts import Accounts, Want
from ignition_ext.costs.actual import cost_status, read_cost, store_cost
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card
from ignition_ext.costs.expected import expect_cost, tell_shortfalls
from ignition_ext.costs.sums import Cost, cost_words
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.ledger.runs import RunRequest, open_run
from ignition_ext.models import CostKind, EstimateBasis, PriceKind
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import Channel, MessageId, RunRef, new_id

GERMANY, MOBILE, FRANCE, NETWORK = 75_000, 7_500, 50_000, 60_000
PRICES = [
    Price(kind=PriceKind.PREFIX, code="49", micros=GERMANY),
    Price(kind=PriceKind.PREFIX, code="49170", micros=MOBILE),
    Price(kind=PriceKind.PREFIX, code="33", micros=FRANCE),
    Price(kind=PriceKind.NETWORK, code="26202", micros=NETWORK),
]
PEOPLE = [
    ("+331700000001", ""),
    ("+491510000001", "262-02"),
    ("+491510000002", ""),
    ("+491700000001", ""),
    ("+441700000001", ""),
]


async def another_run(shop, version: int = 1) -> RunRef:
    request = RunRequest(
        tenant_id=shop.run.tenant_id, campaign_id=shop.campaign_id, campaign_version=version
    )
    return (await open_run(shop.database, request, actor="test")).ref


async def fill(shop, run: RunRef, people: Sequence[tuple[str, str]] = PEOPLE) -> None:
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

    await shop.ledger.snapshot(run, batches())


async def keep(shop, run: RunRef, kind: CostKind, **segments: tuple[int, int]) -> None:
    """What a run was found to cost: messages and segments by country."""
    basis = EstimateBasis.PREFLIGHT if kind is CostKind.ESTIMATE else None
    cost = Cost(currency="EUR", card=1, basis=basis)
    for country, (messages, count) in segments.items():
        cost.add(country.removeprefix("to"), messages, count, 1)
    await store_cost(shop.database, run, kind, cost)


@pytest.fixture
async def priced(shop) -> None:
    """The tenant has a rate card."""
    card = NewCard(currency="EUR", prices=PRICES, email_micros=200)
    await import_card(shop.database, tenant="acme", card=card, actor="test")


async def expect(shop, run: RunRef) -> Cost:
    cost = await expect_cost(shop.database, run)
    assert cost is not None
    return cost


@pytest.mark.usefixtures("priced")
async def test_a_later_run_costs_what_its_texts_did_at_pre_flight(shop) -> None:
    """Its own recipients at its own prices, with as many segments a text as were found then."""
    await keep(shop, shop.run, CostKind.ESTIMATE, to49=(4, 6), to33=(1, 2))
    run = await another_run(shop)
    await fill(shop, run)

    cost = await expect(shop, run)

    germany, unknown = cost.countries["49"], cost.countries["44"]
    assert (cost.basis, cost.card) == (EstimateBasis.LAST_PREFLIGHT, 1)
    assert germany.micros == (NETWORK + GERMANY + MOBILE) * 6 // 4
    assert (germany.messages, germany.segments) == (3, 5)
    assert cost.countries["33"].micros == 2 * FRANCE
    # To a country that nothing is known of: as all together, 8 segments for 5 texts.
    assert (unknown.segments, unknown.unpriced, unknown.micros) == (2, 2, 0)
    async with shop.database.read() as session:
        assert await read_cost(session, run.id, CostKind.ESTIMATE) == cost
    assert cost_words(cost.document).endswith("if its texts are as long as pre-flight found them")


@pytest.mark.usefixtures("priced")
async def test_another_version_is_measured_by_what_the_last_run_was_charged(shop) -> None:
    """Its texts are others than those that pre-flight saw; without any run a text is a segment."""
    await keep(shop, shop.run, CostKind.ESTIMATE, to49=(1, 7))
    run = await another_run(shop, version=2)
    await fill(shop, run, PEOPLE[:1])
    assert (await expect(shop, run)).basis is EstimateBasis.LEAST
    await keep(shop, shop.run, CostKind.ACTUAL, to33=(2, 6))
    third = await another_run(shop, version=2)
    await fill(shop, third, PEOPLE[:1])

    cost = await expect(shop, third)

    assert (cost.basis, cost.total.micros) == (EstimateBasis.LAST_RUN, 3 * FRANCE)


@pytest.mark.usefixtures("priced")
async def test_emails_need_be_counted_only(shop) -> None:
    """Each costs the same."""
    await shop.fill("1-1@example.com", "1-2@example.com")

    cost = await expect(shop, shop.run)

    assert (cost.basis, cost.total.micros) == (EstimateBasis.COUNT, 400)
    assert cost_words(cost.document) == "costs 0.00 EUR by rate card 1"


@pytest.mark.usefixtures("priced")
async def test_an_estimate_stays_as_it_was_first_made(shop) -> None:
    """Pre-flight's, and that of a run which goes on later."""
    await keep(shop, shop.run, CostKind.ESTIMATE, to33=(1, 1))
    await fill(shop, shop.run)

    assert await expect_cost(shop.database, shop.run) is None

    status = await cost_status(shop.database, shop.run, computes=False)
    assert status is not None
    assert (status["estimate"]["basis"], status["estimate"]["micros"]) == ("preflight", 1)


async def test_without_a_card_nothing_is_expected(shop) -> None:
    """Nothing is read, nothing is kept."""
    await fill(shop, shop.run)

    assert await expect_cost(shop.database, shop.run) is None
    assert await cost_status(shop.database, shop.run, computes=True) is None


@pytest.mark.usefixtures("priced")
async def test_the_budgets_are_named_that_have_less_left(shop) -> None:
    """The campaign's and the tenant's, by what others spent, each announced with what is left."""
    await shop.set_budget(100_000)
    for key, amount in (("budget.day", "0.20 EUR"), ("budget.month", "9.00 EUR")):
        await set_tenant_setting(shop.database, tenant="acme", key=key, value=amount, actor="test")
    await fill(shop, shop.run, PEOPLE[:3])
    cost = await expect(shop, shop.run)

    found = await tell_shortfalls(shop.database, shop.run, cost)

    assert cost.total.micros == FRANCE + NETWORK + GERMANY
    assert [one.text for one in found] == [
        "the run is expected to cost 0.19 EUR, and of the campaign's budget of 0.10 EUR a run"
        " 0.10 EUR are left: it will wait for more",
    ]
    assert await shop.events() == ["ignition.budget.short"]
    others = Want(message_id=MessageId(new_id()), segments=1, micros=20_000)
    await Accounts(shop.database).reserve(shop.buyer(), [others])
    words = [one.text for one in await tell_shortfalls(shop.database, shop.run, cost)]
    assert "of the tenant's budget of 0.20 EUR a day 0.18 EUR are left" in words[1]
