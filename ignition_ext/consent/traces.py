"""Finds and removes what other tables say of a person: receipts, texts, reports, outcomes.

Every table that bears a tenant is looked through, in each column that can hold text, except those
named here: a table that comes later is looked through without anybody thinking of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import idna
import phonenumbers
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    cast,
    delete,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import AutoString, SQLModel

from ignition_ext.values import Channel

MARK = "[forgotten]"
KEPT = frozenset(
    {
        # Marks stand there in place of addresses anyway; a change would break the chain.
        "audit_log",
        "audit_head",
        # What the tenant wrote and set, and what is counted: nothing of recipients.
        "campaign",
        "campaign_version",
        "template",
        "template_version",
        "tenant_setting",
        "run_steps",
        "fallback_run",
        "fallback_message",
        "rate_card",
        "rate_card_entry",
        # Emptied by the ledger and by forgetting itself.
        "message",
        "message_due",
        "message_event",
        "message_held",
        "message_part",
        "sender_lease",
        "capped_message",
        "audience",
        "recipient",
        "preference",
        "suppression",
        "forgotten_key",
        "forgotten_address",
    }
)
_ASCII = re.compile(r"[!-\[\]-~]+")
"""Without the backslash, which is JSON's mark for what is not."""
HOLDS_TEXT = (String, AutoString, LargeBinary, JSON)
WORDS = frozenset({"data", "detail", "octets", "raw", "report", "text", "user_agent", "ip"})
"""Columns that are emptied whole in a row that is about the person."""


ADDRESSED = frozenset({"address", "destination", "source"})
"""Columns that hold an address and nothing else, as an SMSC or a mail server spelled it."""


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom to look for.

    Attributes:
        hints: what SQL looks for: in each spelling of an address, and of plain ASCII, since
            databases lower, escape and print other characters each in their own way.
        message_ids: of messages to the person.
        pattern: the addresses in a text.
        spelled: all that may be said where an address stands alone: national numbers as well.
    """

    hints: Sequence[str]
    message_ids: Collection[Any]
    pattern: re.Pattern[str]
    spelled: re.Pattern[str]


def _person(addresses: Mapping[Channel, str], message_ids: Collection[Any]) -> _Person:
    words, alone, hints = list[str](), list[str](), list[str]()
    for channel, address in addresses.items():
        match channel:
            case Channel.EMAIL:
                spellings = _email_spellings(address)
                words += map(re.escape, spellings)
                hints += [max(_ASCII.findall(one), key=len) for one in spellings]
            case Channel.SMS:
                national, significant = _national_spellings(address)
                words.append(rf"(?:\+|00)?{address.removeprefix('+')}")
                alone += [national, significant]
                hints.append(significant)
            case _:
                assert_never(channel)
    return _Person(sorted(set(hints)), message_ids, _pattern(words), _pattern(words + alone))


def _pattern(spellings: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.+-])(?:{'|'.join(spellings)})(?![\w-]|\.\w)", re.IGNORECASE)


def _email_spellings(address: str) -> list[str]:
    """With the domain in either form, also as JSON writes what is not ASCII."""
    local, _, domain = address.rpartition("@")
    found = [address, f"{local}@{_shown_domain(domain)}"]
    return list(dict.fromkeys([*found, *(json.dumps(one)[1:-1] for one in found)]))


def _shown_domain(domain: str) -> str:
    try:
        return idna.decode(domain)
    except UnicodeError:
        return domain


def _national_spellings(number: str) -> tuple[str, str]:
    """As it is dialled at home, and without the digits that are for dialling only."""
    parsed = phonenumbers.parse(number)
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return re.sub(r"\D", "", national), phonenumbers.national_significant_number(parsed)


async def remove_traces(
    connection: AsyncConnection,
    tenant_id: int,
    addresses: Mapping[Channel, str],
    message_ids: Collection[Any],
) -> Mapping[str, int]:
    """Remove a person from all tables that are not exempt; how many rows of each changed.

    Rows that belong to no tenant are looked through as well: texts of which nobody could tell
    whose they are, mails that fit no message. Each table is read whole.

    Args:
        connection: in a transaction.
        tenant_id: whose tables.
        addresses: the person's, in the spelling of audiences.
        message_ids: of messages to the person.
    """
    whom = _person(addresses, message_ids)
    changed: dict[str, int] = {}
    for table in _tables():
        rows = await _find(connection, table, tenant_id, whom)
        number = sum([await _clean(connection, table, row, whom) for row in rows])
        if number:
            changed[table.name] = number
    return changed


def _tables() -> list[Table]:
    return [
        table
        for table in SQLModel.metadata.sorted_tables
        if "tenant_id" in table.c and table.name not in KEPT and _columns(table)
    ]


def _columns(table: Table) -> list[Column[Any]]:
    """Columns that can hold an address."""
    return [column for column in table.c if isinstance(column.type, HOLDS_TEXT)]


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


async def _find(
    connection: AsyncConnection, table: Table, tenant_id: int, whom: _Person
) -> Sequence[Row[Any]]:
    tests: list[ColumnElement[bool]] = [
        _as_text(connection, column).icontains(hint, autoescape=True)
        for column in _columns(table)
        for hint in whom.hints
    ]
    if "message_id" in table.c and whom.message_ids:
        tests.append(table.c.message_id.in_(list(whom.message_ids)))
    of_tenant = or_(table.c.tenant_id == tenant_id, table.c.tenant_id.is_(None))
    return (await connection.execute(select(table).where(of_tenant, or_(*tests)))).all()


def _as_text(connection: AsyncConnection, column: Column[Any]) -> ColumnElement[str]:
    if isinstance(column.type, LargeBinary):
        if connection.dialect.name == "postgresql":
            return func.encode(column, "escape", type_=Text())
        return cast(column, Text)
    return cast(column, Text) if _is_json(column) else column


async def _clean(connection: AsyncConnection, table: Table, row: Row[Any], whom: _Person) -> bool:
    """Mark the addresses in a row; one that is about the person loses its words as well.

    Returns whether anything changed.
    """
    found = row._mapping
    here = [column == found[column.name] for column in table.primary_key]
    named = {name for name, value in found.items() if _is_address(name, value, whom)}
    if named & {column.name for column in table.primary_key}:
        await connection.execute(delete(table).where(*here))
        return True
    is_theirs = named or found.get("message_id") in set(whom.message_ids)
    changes: dict[str, Any] = {}
    for column in _columns(table):
        name, value = column.name, found[column.name]
        if name in named:
            changes[name] = MARK
        elif is_theirs and name in WORDS:
            changes[name] = _emptied(column, value)
        elif (marked := _marked(value, whom.pattern)) != value:
            changes[name] = marked
    if changes:
        await connection.execute(update(table).where(*here).values(**changes))
    return bool(changes)


def _is_address(name: str, value: Any, whom: _Person) -> bool:
    pattern = whom.spelled if name in ADDRESSED else whom.pattern
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _emptied(column: Column[Any], value: Any) -> Any:
    if column.nullable:
        return null()
    return type(value)()


def _marked(value: Any, pattern: re.Pattern[str]) -> Any:
    match value:
        case str():
            return pattern.sub(MARK, value)
        case bytes():
            # What is no text in this encoding stays as it is.
            text = value.decode("utf-8", "surrogateescape")
            return pattern.sub(MARK, text).encode("utf-8", "surrogateescape")
        case dict():
            return {_marked(key, pattern): _marked(item, pattern) for key, item in value.items()}
        case list():
            return [_marked(item, pattern) for item in value]
        case _:
            return value
