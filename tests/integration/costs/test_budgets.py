"""Budgets in a real database: never a message beyond them, whoever sends and whoever dies."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import select

from ignition_ext.costs.accounts import Accounts, Spent, Want
from ignition_ext.costs.exhausted import campaign_names, unspent_accounts
from ignition_ext.costs.telling import LATER, SOON
from ignition_ext.database import Database
from ignition_ext.errors import BudgetExhausted, ConfigurationError
from ignition_ext.models import MoneyAccount, Tenant
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import (
    Delivery,
    FailureClass,
    Guarantee,
    MessageState,
    Outcome,
    OutcomeKind,
    PartOutcome,
    RunRef,
    new_id,
)

DIES = "dies"


async def test_a_run_stops_before_it_is_overspent(shop) -> None:
    """What is left over stays pending, and goes when the budget is raised."""
    await shop.set_budget(10)
    await shop.fill(*(f"3-{number}@example.com" for number in range(6)))

    till = await shop.send(at_once=2)

    assert till is not None
    assert isinstance(till.shortage, BudgetExhausted)
    assert "the campaign's budget of 0.00 EUR a run" in till.shortage.message
    states = [message.state for message in await shop.messages()]
    assert (states.count("sent"), states.count("pending")) == (3, 3)
    account = await shop.account()
    assert (account.spent, account.held) == (9, 0)

    await shop.set_budget(18)
    await shop.send(at_once=2)
    assert {message.state for message in await shop.messages()} == {MessageState.SENT}


async def test_an_exhausted_budget_is_announced_once(shop) -> None:
    """And again when it was raised and is used up again; before it, that most of it is used."""
    await shop.set_budget(4)
    await shop.fill(*(f"1-{number}@example.com" for number in range(9)))
    for _ in range(3):
        await shop.send()
    first = await shop.events()
    await shop.set_budget(6)
    for _ in range(3):
        await shop.send()

    assert first == ["ignition.budget.warning", "ignition.budget.exhausted"]
    assert await shop.events() == [*first, "ignition.budget.exhausted"]


async def test_money_of_what_was_not_accepted_comes_back(shop) -> None:
    """Refusals and lost links cost nothing; what may be out is counted."""
    await shop.set_budget(5)
    await shop.fill(*(f"1-{number}@example.com" for number in range(8)))
    kinds = [OutcomeKind.REJECTED, OutcomeKind.DEFERRED, OutcomeKind.UNSENT, OutcomeKind.UNCERTAIN]
    shop.acts = {f"1-{number}@example.com": [kind] for number, kind in enumerate(kinds)}

    while (till := await shop.send()) is not None and till.shortage.retry_after == SOON:
        pass

    states = sorted(message.state for message in await shop.messages())
    assert states == ["deferred", "failed", "pending", *["sent"] * 4, "uncertain"]
    assert (await shop.account()).spent == 5


async def test_a_killed_senders_money_is_found(shop) -> None:
    """What it had not sent comes back, what is uncertain does not."""
    await shop.set_budget(6)
    await shop.fill(*(f"1-{number}@example.com" for number in range(9)))
    shop.acts = {"1-2@example.com": [DIES]}
    await shop.send(at_once=9)
    held = await shop.account()

    await shop.send()
    await shop.lapse()
    await shop.send()

    assert held.held > 0
    assert await shop.cost() == 6
    account = await shop.account()
    assert (account.spent, account.held, await shop.holds()) == (6, 0, 0)


async def test_an_unpriced_number_is_not_sent_under_a_budget(shop) -> None:
    """Nobody knows whether it fits; it can be redriven with a card that prices it."""
    await shop.set_budget(5)
    await shop.fill("-1@example.com", "1-1@example.com")

    await shop.send()

    found = {message.address: message for message in await shop.messages()}
    assert found["1-1@example.com"].state == MessageState.SENT
    assert found["-1@example.com"].state == MessageState.FAILED
    assert "no price" in found["-1@example.com"].detail


async def test_free_messages_need_no_money(shop) -> None:
    """Also when nothing is left."""
    await shop.set_budget(1)
    await shop.fill("0-0@example.com", "1-1@example.com")
    await shop.send()

    await shop.fill("0-2@example.com")
    assert await shop.send() is None
    assert {message.state for message in await shop.messages()} == {MessageState.SENT}


async def test_the_tenants_budget_holds_over_its_campaigns(shop) -> None:
    """Each campaign also keeps its own, and the tighter one decides."""
    await set_tenant_setting(
        shop.database, tenant="acme", key="budget.month", value="0.00001 EUR", actor="test"
    )
    await shop.set_budget(8, per="day")
    await shop.fill(*(f"1-{number}@example.com" for number in range(20)))
    await shop.send()
    first = await shop.cost()

    await shop.set_budget(None)
    till = await shop.send()

    assert first == 8
    assert await shop.cost() == 10
    assert till is not None
    assert "the tenant's budget" in till.shortage.message
    async with shop.database.read() as session:
        keys = [key.split(":")[0] for key in await session.exec(select(MoneyAccount.key))]
    assert sorted(keys) == ["campaign", "tenant"]


async def test_money_of_a_day_that_is_over_is_not_spent(shop) -> None:
    """What was held before midnight and not sent is given back, and held anew."""
    await shop.set_budget(100, per="day")
    await shop.fill("1-1@example.com", "1-2@example.com")
    times = [datetime(2026, 11, 21, 22, 59, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)]
    till, lease = await shop.till(lambda: times[0])

    first = await till.take()
    granted = await till.intend([first.id])
    times.pop(0)
    second = await till.take()

    assert granted == {first.id}
    assert await till.intend([second.id]) == frozenset()
    await till.close()
    account = await shop.account()
    assert (account.spent, account.held) == (0, 1)
    await shop.ledger.release(shop.run, lease)


async def test_each_segment_that_was_taken_is_spent(shop) -> None:
    """Of a text that was refused in part the rest comes back."""
    await shop.set_budget(100)
    await shop.fill("1-1@example.com")
    till, _ = await shop.till(lambda: datetime(2026, 11, 21, tzinfo=UTC), segments=3)
    message = await till.take()
    await till.intend([message.id])
    kinds = [OutcomeKind.ACCEPTED, OutcomeKind.UNCERTAIN, OutcomeKind.REJECTED]
    parts = tuple(
        PartOutcome(
            part=number,
            parts=3,
            outcome=Outcome(
                kind=kind,
                failure_class=FailureClass.CONTENT if kind is OutcomeKind.REJECTED else None,
            ),
        )
        for number, kind in enumerate(kinds, 1)
    )
    held = await shop.account()

    await till.settle([Delivery(message_id=message.id, outcome=parts[2].outcome, parts=parts)])
    await till.close()

    assert (held.spent, held.held) == (0, 3)
    account = await shop.account()
    assert (account.spent, account.held) == (2, 0)


async def test_a_budget_in_another_currency_is_refused(shop) -> None:
    """Prices and budget cannot be compared."""
    await shop.set_budget(5, currency="USD")
    await shop.fill("1-1@example.com")

    with pytest.raises(ConfigurationError, match="rate card is in EUR"):
        await shop.send()


async def test_a_sender_can_ask_before_it_claims(shop) -> None:
    """It holds nothing, and says when there is no money for the cheapest message."""
    await shop.set_budget(4)
    accounts, buyer = Accounts(shop.database), shop.buyer()
    enough, short = await accounts.shortage(buyer, 4), await accounts.shortage(buyer, 5)
    await shop.set_budget(None)

    assert enough is None
    assert short is not None
    assert short.retry_after == LATER
    assert await accounts.shortage(buyer, 5) is None
    assert (await shop.account()).held == 0


async def test_settling_twice_counts_once(shop) -> None:
    """A sender may find that the ledger told it already."""
    await shop.set_budget(100)
    accounts, buyer = Accounts(shop.database), shop.buyer()
    want = Want(message_id=new_id(), segments=1, micros=30)
    grant = await accounts.reserve(buyer, [want])
    for _ in range(2):
        await accounts.settle(buyer, [Spent(message_id=want.message_id, micros=30)])

    assert (grant.count, grant.until, grant.shortage) == (1, None, None)
    account = await shop.account()
    assert (account.spent, account.held) == (30, 0)


async def test_two_asking_for_the_last_money_do_not_both_get_it(shop) -> None:
    """Many at once, each in a transaction of its own: what is granted fits."""
    await shop.set_budget(50)
    runs = [RunRef(id=shop.run.id, run_at=shop.run.run_at, tenant_id=shop.run.tenant_id)] * 8

    async def one(run: RunRef) -> int:
        wants = [Want(message_id=new_id(), segments=1, micros=1) for _ in range(9)]
        return (await Accounts(shop.database).reserve(shop.buyer(run), wants)).count

    counts = await asyncio.gather(*map(one, runs))

    assert sum(counts) == 50
    assert (await shop.account()).held == 50


ACTS = st.lists(
    st.sampled_from([*OutcomeKind, DIES, OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED]), max_size=3
)


def test_no_budget_is_ever_overspent(database_url: str, opening: Any) -> None:
    """Any outcomes, senders that die, leases that lapse: exact to the last message."""
    database = Database(database_url)
    names = iter(range(10**6))

    async def tried(
        guarantee: Guarantee,
        budget: int,
        prices: list[int],
        acts: list[list[str]],
        senders: int,
        at_once: int,
    ) -> None:
        shop = await opening(database, guarantee, f"t{next(names)}")
        await shop.set_budget(budget)
        addresses = [f"{price}-{index}@example.com" for index, price in enumerate(prices)]
        await shop.fill(*addresses)
        shop.acts = dict(zip(addresses, acts, strict=False))

        await asyncio.gather(*(shop.send(at_once=at_once) for _ in range(senders)))
        assert await shop.cost() <= budget
        await shop.lapse()
        till = None
        for _ in range(len(prices) + 20):
            till = await shop.send(at_once=at_once)
            await shop.lapse()
            if till is None or till.shortage.retry_after != SOON:
                break

        assert await shop.cost() <= budget
        await Accounts(database, stale=timedelta(0)).sweep()
        if (account := await shop.account()) is not None:
            assert (account.spent, account.held) == (await shop.cost(), 0)
        if till is not None and till.shortage is not None:
            assert till.shortage.retry_after == LATER
            cheapest = min(
                int(one.address.partition("-")[0])
                for one in await shop.messages()
                if one.state == MessageState.PENDING
            )
            assert cheapest == 0 or account.spent + max(prices) > budget

    with asyncio.Runner() as runner:

        @settings(max_examples=15)
        @given(
            guarantee=st.sampled_from(Guarantee),
            budget=st.integers(1, 30),
            prices=st.lists(st.integers(0, 4), min_size=1, max_size=14),
            acts=st.lists(ACTS, max_size=14),
            senders=st.integers(1, 3),
            at_once=st.integers(1, 6),
        )
        def holds(
            guarantee: Guarantee,
            budget: int,
            prices: list[int],
            acts: list[list[str]],
            senders: int,
            at_once: int,
        ) -> None:
            runner.run(tried(guarantee, budget, prices, acts, senders, at_once))

        try:
            holds()
        finally:
            runner.run(database.close())


async def test_budgets_that_nothing_was_spent_of_are_known(shop) -> None:
    """The tenant's and the campaign's of this day or month, until somebody spends."""

    async def unspent() -> list[tuple[str, int | None, int]]:
        async with shop.database.read() as session:
            tenant = await session.get_one(Tenant, shop.run.tenant_id)
            rows = await unspent_accounts(session, tenant)
            own = [row.key for row in rows if row.campaign_id is not None]
            assert await campaign_names(session, rows) == dict.fromkeys(own, "news")
            return [
                (row.key.split(":")[2], row.campaign_id, row.budget - row.spent) for row in rows
            ]

    await shop.set_budget(10)
    assert await unspent() == []
    await shop.set_budget(10, per="day")
    await set_tenant_setting(
        shop.database, tenant="acme", key="budget.month", value="9.00 EUR", actor="test"
    )
    assert await unspent() == [("month", None, 9_000_000), ("day", shop.campaign_id, 10)]
    await shop.fill("3-1@example.com")
    await shop.send()
    assert await unspent() == []
