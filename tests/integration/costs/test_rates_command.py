"""The commands `ignition rates`, as typed, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ignition_ext import audit
from ignition_ext.cli import main
from ignition_ext.database import Database
from ignition_ext.models import MoneyAccount
from ignition_ext.tenants import create_tenant

CARD = "prefix,network,price,name\n+49,,0.0750,Germany\n+49170,,0.0075,D1\n,26202,0.06,Vodafone\n"
Run = Callable[..., Any]


@pytest.fixture
def ignition(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line in this process; what it printed as JSON, or its error."""

    def run(*arguments: str, fails: bool = False) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        assert bool(ended.value.code) == fails, captured.err
        if fails:
            return " ".join(captured.err.split())
        return json.loads(captured.out) if "--json" in arguments else captured.out

    return run


@pytest.fixture(autouse=True)
def tenant(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("IGNITION_DATABASE_URL", database_url)
    monkeypatch.setenv("IGNITION_ACTOR", "cli:jane")
    asyncio.run(_create(database_url))


async def _create(url: str) -> None:
    database = Database(url)
    await create_tenant(database, name="acme", actor="test")
    await database.close()


async def _audited(url: str) -> list[str]:
    database = Database(url)
    try:
        async with database.read() as session:
            return [one.action for one in await audit.tail(session, tenant="acme", limit=10)]
    finally:
        await database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rates.csv"
    path.write_text(CARD)
    return path


def test_a_card_is_imported_priced_and_exported(ignition: Run, file: Path) -> None:
    """The longest prefix decides, or the network where it is said."""
    card = ignition("rates", "import", str(file), "--tenant", "acme", "--currency", "eur", "--json")
    price = ignition(
        "rates", "price", "+491701234567", "--tenant", "acme", "--parts", "3", "--json"
    )
    by_network = ignition(
        "rates",
        "price",
        "+491511234567",
        *("--tenant", "acme", "--network", "262-02", "--json"),
    )

    assert (card["version"], card["entries"], card["currency"]) == (1, 3, "EUR")
    assert (price["code"], price["price"], price["cost"]) == ("49170", "0.0075", "0.0225")
    assert price["rounded"] == "0.02"
    assert by_network["cost"] == "0.06"
    assert ignition("rates", "export", "--tenant", "acme") == (
        "prefix,network,price,name\n+49,,0.075,Germany\n+49170,,0.0075,D1\n,26202,0.06,Vodafone\n"
    )


def test_every_version_is_kept_and_the_one_in_force_counts(ignition: Run, file: Path) -> None:
    """One that begins later prices nothing yet; the same file again is no new version."""
    said = ("rates", "import", str(file), "--tenant", "acme", "--currency", "EUR", "--json")
    ignition(*said)
    assert ignition(*said)["new"] is False
    file.write_text("prefix,price\n49,0.5\n")
    ignition(*said, "--valid-from", "2999-01-01")
    file.write_text("prefix,price\n49,0.2\n")
    ignition(*said, "--valid-from", "2020-01-01", "--valid-to", "2020-02-01")

    cards = ignition("rates", "list", "--tenant", "acme", "--json")
    price = ("rates", "price", "+4930123456", "--tenant", "acme", "--json")

    assert [card["version"] for card in cards] == [3, 2, 1]
    assert ignition(*price)["cost"] == "0.075"
    assert ignition(*price, "--version", "2")["cost"] == "0.5"
    shown = ignition("rates", "show", "--tenant", "acme", "--version", "3", "--json")
    assert shown["prices"] == [{"kind": "prefix", "code": "49", "price": "0.2", "name": ""}]


def test_imports_are_audited(ignition: Run, file: Path, database_url: str) -> None:
    """A card decides on money."""
    ignition("rates", "import", str(file), "--tenant", "acme", "--currency", "EUR")

    assert "rate_card.imported" in asyncio.run(_audited(database_url))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tenant", "acme", "--currency", "EURO"), "'EURO' is not a currency"),
        (("--tenant", "nobody", "--currency", "EUR"), "no tenant 'nobody'"),
        (
            ("--tenant", "acme", "--currency", "EUR", "--email-price", "cheap"),
            "'cheap' is not an amount",
        ),
        (
            (
                *("--tenant", "acme", "--currency", "EUR"),
                *("--valid-from", "2026-02-01", "--valid-to", "2026-01-01"),
            ),
            "before it begins",
        ),
    ],
    ids=["currency", "tenant", "email price", "times"],
)
def test_what_cannot_be_a_card_is_refused(
    ignition: Run, file: Path, arguments: tuple[str, ...], says: str
) -> None:
    """And nothing is stored."""
    assert says in ignition("rates", "import", str(file), *arguments, fails=True)
    assert ignition("rates", "list", "--tenant", "acme", "--json") == []


def test_a_wrong_line_is_named(ignition: Run, file: Path) -> None:
    """As an editor would jump to it."""
    file.write_text(CARD + "+4x,,1,\n")
    said = ("rates", "import", str(file), "--tenant", "acme", "--currency", "EUR")

    assert f"{file.name}:5: '+4x' is not" in ignition(*said, fails=True).replace(" ", " ")


def test_budgets_show_what_is_spent_and_left(ignition: Run, database_url: str) -> None:
    """Of periods that go on."""

    async def fill() -> None:
        database = Database(database_url)
        async with database.write() as session:
            for key, ends_at in (("now", None), ("past", datetime(2020, 1, 1, tzinfo=UTC))):
                session.add(
                    MoneyAccount(
                        key=f"tenant:1:day:{key}:EUR",
                        tenant_id=1,
                        currency="EUR",
                        budget=10_000_000,
                        spent=4_000_000,
                        held=1_500_000,
                        ends_at=ends_at,
                    )
                )
        await database.close()

    asyncio.run(fill())

    (row,) = ignition("rates", "budgets", "--tenant", "acme", "--json")

    assert (row["account"], row["of"], row["per"]) == ("tenant:1:day:now:EUR", "acme", "day")
    assert [row[name] for name in ("budget", "spent", "held", "left")] == [
        "10.00",
        "4.00",
        "1.50",
        "4.50",
    ]


@pytest.mark.parametrize(
    ("value", "says"), [("150.00 eur", ""), ("150", "150 cannot be"), ("0 EUR", "0 EUR")]
)
def test_a_tenants_budget_is_an_amount_with_its_currency(
    ignition: Run, value: str, says: str
) -> None:
    """Anything else is refused where it is set."""
    said = ("tenant", "set", "acme", "budget.month", value)
    if says:
        assert f"{says}" in ignition(*said, fails=True)
    else:
        ignition(*said)
        assert ignition("tenant", "get", "acme", "budget.month", "--json") == "150.00 EUR"
        (row,) = ignition("rates", "budgets", "--tenant", "acme", "--json")
        assert (row["account"].split(":")[2], row["left"]) == ("month", "150.00")


def test_a_number_without_a_price_is_told(ignition: Run, file: Path) -> None:
    """With what to do about it."""
    ignition("rates", "import", str(file), "--tenant", "acme", "--currency", "EUR")

    error = ignition("rates", "price", "+33123456789", "--tenant", "acme", fails=True)

    assert "rate card 1 of acme has no price for +33123456789" in error
