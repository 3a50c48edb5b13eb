"""``ignition rates``: what messages cost."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import phonenumbers
from cyclopts import App, Parameter

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, print_json, print_table
from ignition_ext.costs.card_file import card_text, read_card
from ignition_ext.costs.card_store import (
    NewCard,
    find_card,
    import_card,
    list_cards,
    open_card,
    read_prices,
)
from ignition_ext.costs.exhausted import campaign_names, current_accounts, unspent_accounts
from ignition_ext.costs.money import amount_text, price_text, read_micros
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.models import MoneyAccount, RateCard
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

app = App(
    name="rates", help="What messages cost: a tenant's rate cards, and how its budgets stand."
)
Json = Annotated[bool, Parameter(name="--json", negative="")]
LISTED = ("version", "currency", "entries", "email_price", "valid_from", "valid_to", "source")
SPENT = ("of", "per", "budget", "spent", "held", "left", "currency", "ends_at")


@app.command(name="import")
async def import_(
    file: Path,
    /,
    *,
    tenant: str,
    currency: str,
    email_price: str | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    json: Json = False,
) -> None:
    """Store a price list as the tenant's newest rate card; older ones are kept.

    Args:
        file: CSV with the columns prefix or network (or both), price, and name if wanted.
        tenant: Whose it is.
        currency: ISO 4217, such as EUR.
        email_price: Of one email; without it emails cost nothing.
        valid_from: From when on it counts; from now when not given. Times without a zone are UTC.
        valid_to: Until when; until a newer card counts when not given.
        json: Print the card as one JSON document.
    """
    card = NewCard(
        currency=currency.strip().upper(),
        prices=read_card(file),
        email_micros=None if email_price is None else _price(email_price),
        valid_from=_aware(valid_from),
        valid_to=_aware(valid_to),
        source=file.name,
    )
    async with open_database() as database:
        row, is_new = await import_card(database, tenant=tenant, card=card, actor=actor())
    if json:
        print_json(_fields(row) | {"new": is_new})
    elif is_new:
        note(f"Stored rate card {row.version} of {tenant}: {row.entries} prices in {row.currency}.")
    else:
        note(f"Rate card {row.version} of {tenant} says the same already; nothing changed.")


@app.command(name="list")
async def list_(*, tenant: str, json: Json = False) -> None:
    """List a tenant's rate cards, the newest first.

    Args:
        tenant: Whose.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        rows = [_fields(row) for row in await list_cards(session, owner.id)]
    if json:
        print_json(rows)
    else:
        print_table(rows, *LISTED)


@app.command
async def show(*, tenant: str, version: int | None = None, json: Json = False) -> None:
    """Show a rate card with its prices.

    Args:
        tenant: Whose.
        version: Which; the one in force when not given.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        row = await find_card(session, await get_tenant(session, tenant), version)
        assert row.id is not None
        prices = [
            {"kind": one.kind, "code": one.code, "price": price_text(one.micros), "name": one.name}
            for one in await read_prices(session, row.id)
        ]
    if json:
        print_json(_fields(row) | {"prices": prices})
    else:
        title = f"Rate card {row.version} of {tenant}, {row.currency} for a segment"
        print_table(prices, "kind", "code", "price", "name", title=title)


@app.command
async def price(
    number: str,
    /,
    *,
    tenant: str,
    parts: int = 1,
    network: str = "",
    version: int | None = None,
    json: Json = False,
) -> None:
    """Say what a text message to a number costs, and by which line of the card.

    Args:
        number: International, such as +491701234567.
        tenant: Whose card.
        parts: Segments of the text.
        network: MCC and MNC where known, such as 262-01.
        version: Which card; the one in force when not given.
        json: Print one JSON document.
    """
    if parts < 1:
        raise ConfigurationError(f"{parts} segments are none.", mend="Give --parts 1 or more.")
    digits = _number(number)
    async with open_database() as database, database.read() as session:
        row = await find_card(session, await get_tenant(session, tenant), version)
        card = await open_card(session, row)
    found = card.price(digits, network)
    if found is None:
        raise NotFoundError(
            f"rate card {row.version} of {tenant} has no price for {number}.",
            mend="Add its prefix to the file and import it again.",
        )
    micros = parts * found.micros
    document = {
        "number": digits,
        "channel": Channel.SMS,
        "card": row.version,
        "currency": row.currency,
        "by": found.kind,
        "code": found.code,
        "name": found.name,
        "parts": parts,
        "price": price_text(found.micros),
        "cost": price_text(micros),
        "rounded": amount_text(micros, row.currency),
    }
    if json:
        print_json(document)
    else:
        print_table([document], "code", "name", "price", "parts", "cost", "currency")


@app.command
async def export(file: Path | None = None, /, *, tenant: str, version: int | None = None) -> None:
    """Write a rate card as the CSV that import reads.

    Args:
        file: Where to; to stdout when not given.
        tenant: Whose.
        version: Which; the one in force when not given.
    """
    async with open_database() as database, database.read() as session:
        row = await find_card(session, await get_tenant(session, tenant), version)
        assert row.id is not None
        text = card_text(await read_prices(session, row.id))
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text, encoding="utf-8")
        note(f"Wrote rate card {row.version} of {tenant} to {file}.")


@app.command
async def budgets(*, tenant: str, json: Json = False) -> None:
    """Show what is spent of a tenant's budgets, and what is left.

    Args:
        tenant: Whose, with its campaigns'.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        owner = await get_tenant(session, tenant)
        assert owner.id is not None
        used = await current_accounts(session, owner.id)
        accounts = [*used, *await unspent_accounts(session, owner)]
        names = await campaign_names(session, accounts)
    rows = [
        _account(one, f"{tenant}/{names[one.key]}" if one.key in names else tenant)
        for one in accounts
    ]
    if json:
        print_json(rows)
    else:
        print_table(rows, *SPENT)


def _account(row: MoneyAccount, of: str) -> dict[str, Any]:
    amounts = {
        "budget": row.budget,
        "spent": row.spent,
        "held": row.held,
        "left": max(row.budget - row.spent - row.held, 0),
    }
    return {
        "account": row.key,
        "of": of,
        "per": row.key.split(":")[2],
        "campaign_id": row.campaign_id,
        **{name: amount_text(micros, row.currency) for name, micros in amounts.items()},
        "currency": row.currency,
        "ends_at": row.ends_at,
        "exhausted_at": row.exhausted_at,
    }


def _fields(row: RateCard) -> dict[str, Any]:
    return {
        "version": row.version,
        "currency": row.currency,
        "entries": row.entries,
        "email_price": None if row.email_micros is None else price_text(row.email_micros),
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "source": row.source,
        "created_by": row.created_by,
        "created_at": row.created_at,
    }


def _price(text: str) -> int:
    try:
        return read_micros(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{error}.", mend="Give the price of one email, such as 0.0002."
        ) from error


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _number(text: str) -> str:
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException as error:
        raise ConfigurationError(
            f"{text!r} is not an international number.", mend="Write it as +491701234567."
        ) from error
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
