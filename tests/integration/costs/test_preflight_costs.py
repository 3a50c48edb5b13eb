"""Pre-flight of a text campaign with prices and a budget; nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks import SmppGateway
from ignition_ext.campaigns.definition import CampaignDefinition
from ignition_ext.campaigns.store import apply
from ignition_ext.costs.card import Price
from ignition_ext.costs.card_store import NewCard, import_card
from ignition_ext.database import Database
from ignition_ext.delivery.finding import Severity
from ignition_ext.delivery.plan import plan_campaign
from ignition_ext.delivery.preflight import Preflight, check_campaign
from ignition_ext.delivery.preflight_report import preflight_document, preflight_markdown
from ignition_ext.devtools.smsc import SmscSimulator
from ignition_ext.models import PriceKind
from ignition_ext.templates.store import push
from ignition_ext.tenants import create_tenant, set_tenant_setting

PEOPLE = "phone,name,network\n+491701234567,Ada,\n+491701234568,Bob,262-02\n+33612345678,{long},\n"


@dataclass
class Setting:
    database: Database
    folder: Path

    async def check(self, **changes: Any) -> Preflight:
        said: dict[str, Any] = {
            "name": "news",
            "tenant": "acme",
            "channel": "sms",
            "audience": {"csv": "people.csv"},
            "template": "news",
            "block": "sms",
            "from": "Acme",
        }
        definition = CampaignDefinition.model_validate(said | changes)
        await apply(self.database, definition, base_path=self.folder, actor="test")
        async with self.database.read() as session:
            plan = await plan_campaign(session, "acme/news", environment="dev")

        async def no_block(name: str) -> str:
            raise AssertionError(name)

        async with SmscSimulator() as smsc:
            gateway = SmppGateway(
                host="127.0.0.1",
                port=smsc.port,
                system_id=smsc.system_id,
                password=smsc.password,
            )
            return await check_campaign(
                self.database, plan, gateway, run={}, resolve_block=no_block
            )

    async def give_card(self, *prefixes: str) -> None:
        prices = [Price(kind=PriceKind.PREFIX, code=code, micros=75_000) for code in prefixes]
        prices.append(Price(kind=PriceKind.NETWORK, code="26202", micros=7_500))
        card = NewCard(currency="EUR", prices=prices)
        await import_card(self.database, tenant="acme", card=card, actor="test")


@pytest.fixture
async def setting(database: Database, tmp_path: Path) -> Setting:
    template = tmp_path / "news"
    template.mkdir()
    (template / "sms.txt").write_text("Hello {{ name }}")
    await create_tenant(database, name="acme", region="DE", actor="test")
    await push(database, tenant="acme", folder=template, actor="test", publish=True)
    (tmp_path / "people.csv").write_text(PEOPLE.format(long="x" * 200))
    return Setting(database, tmp_path)


def errors(checked: Preflight) -> list[str]:
    return [one.text for one in checked.findings if one.severity is Severity.ERROR]


async def test_the_cost_is_estimated_by_country(setting: Setting) -> None:
    """Segments as they would be cut, prices by network and prefix."""
    await setting.give_card("49", "33")

    checked = await setting.check()

    cost = preflight_document(checked)["cost"]
    assert checked.would_run
    assert (cost["amount"], cost["micros"], cost["segments"]) == ("0.23", 232_500, 4)
    assert {name: one["micros"] for name, one in cost["countries"].items()} == {
        "33": 150_000,
        "49": 82_500,
    }
    assert "It costs 0.23 EUR by rate card 1: +33 0.15, +49 0.08" in preflight_markdown(checked)


async def test_numbers_without_a_price_are_named(setting: Setting) -> None:
    """A warning; an error where a budget is to be kept."""
    await setting.give_card("49")

    warned = await setting.check()
    refused = await setting.check(budget={"amount": 1, "currency": "EUR"})

    assert warned.would_run
    assert "no price for 2 segments, to numbers such as +3361…78" in warned.findings[0].text
    assert "+33612345678" not in preflight_markdown(warned)
    assert errors(refused) == [f"{warned.findings[0].text}; with a budget they are not sent"]


async def test_a_run_that_would_exceed_a_budget_is_refused(setting: Setting) -> None:
    """The campaign's, or what is left of the tenant's."""
    await setting.give_card("49", "33")
    await set_tenant_setting(
        setting.database, tenant="acme", key="budget.month", value="0.20 EUR", actor="test"
    )

    checked = await setting.check(budget={"amount": "0.232", "currency": "EUR", "per": "run"})
    fits = await setting.check(budget={"amount": "0.2325", "currency": "EUR", "per": "run"})

    assert [text.partition(",")[0] for text in errors(checked)] == [
        "the run would cost 0.23 EUR"
    ] * 2
    assert len(errors(fits)) == 1
    assert "0.20 EUR a month" in errors(fits)[0]


async def test_a_budget_without_prices_is_refused(setting: Setting) -> None:
    """And one in another currency than they are."""
    (error,) = errors(await setting.check(budget={"amount": "5", "currency": "EUR"}))
    await setting.give_card("49", "33")
    (other,) = errors(await setting.check(budget={"amount": "5", "currency": "USD"}))

    assert "no rate card in force" in error
    assert "the rate card is in EUR" in other


@pytest.mark.parametrize(
    "budget",
    [
        {"amount": "0", "currency": "EUR"},
        {"amount": "much", "currency": "EUR"},
        {"amount": True, "currency": "EUR"},
        {"amount": "5", "currency": "EURO"},
        {"amount": "5", "currency": "EUR", "per": "week"},
        {"amount": "5"},
    ],
)
async def test_what_is_no_budget_is_refused_in_the_file(
    setting: Setting, budget: dict[str, Any]
) -> None:
    """Before anything is applied."""
    with pytest.raises(ValueError, match="budget"):
        await setting.check(budget=budget)
