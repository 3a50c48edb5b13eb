"""No table is missed when a person is forgotten: rows that name them in each, and then in none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    Uuid,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.sqltypes import ARRAY

from ignition_ext.consent.addresses import channel_of
from ignition_ext.consent.forgetting import forget
from ignition_ext.consent.traces import KEPT, MARK, remove_traces
from ignition_ext.models import InboundMessage, InboundPart, MailReport, Receipt, metadata
from ignition_ext.models.types import UtcDateTime
from ignition_ext.values import new_id

ADA, PHONE = "ada.love@b.example", "+4915123456789"
FOREIGN = "zoë@xn--bcher-kva.example"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WITHOUT_TENANT = {"outcome_cursor", "tenant"}
"""Tables of nobody: how far passes are, and the tenants themselves."""
OWNERLESS = {"inbound_message", "inbound_part", "mail_report", "receipt"}
"""Tables of what comes in, of which nobody may know whose it is."""
NUMBERS = count(7)
LOOKED_THROUGH = [
    table
    for table in metadata.sorted_tables
    if table.name not in KEPT | WITHOUT_TENANT
    and any(isinstance(column.type, String | JSON | LargeBinary) for column in table.c)
]


def allowed(table: Table, column: Column[Any]) -> str | None:
    """The first value that a column of an enumeration admits."""
    for check in table.constraints:
        if isinstance(check, CheckConstraint):
            found = re.match(rf"\(?{column.name} IN \('([^']*)'", str(check.sqltext))
            if found is not None:
                return found[1]
    return None


def filled(table: Table, column: Column[Any], words: str, number: int) -> Any:
    """A value that names the person, where the column's type and length let one."""
    enumerated = allowed(table, column)
    match column.type:
        case _ if enumerated is not None:
            return enumerated
        case ARRAY():
            return []
        case JSON():
            return {"note": [f"for {words}"], words: 1}
        case String(length=length):
            named = words if column.name in ("address", "source") else f"<{words}> {number}"
            return named if length is None or len(named) <= length else str(number)[-length:]
        case LargeBinary():
            return json.dumps({"to": words}).encode() + f" <{words}>".encode()
        case Uuid():
            return new_id()
        case UtcDateTime():
            return NOW
        case Boolean():
            return False
        case Integer() | Numeric():
            return number
        case other:
            pytest.fail(f"no value is known for {table.name}.{column.name} of type {other}")


async def fill(connection: AsyncConnection, table: Table, words: str, **given_: Any) -> int:
    """One row whose texts all name the person; returns how many of its columns do."""
    number = next(NUMBERS)
    values = {column.name: filled(table, column, words, number) for column in table.c}
    await connection.execute(insert(table).values(values | given_))
    said = json.dumps(values, default=str, ensure_ascii=False)
    return said.count(words)


async def no_foreign_keys(connection: AsyncConnection) -> None:
    """The rows are made up: what they point to is not there."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
    else:
        await connection.execute(text("PRAGMA defer_foreign_keys = ON"))


async def dump(connection: AsyncConnection) -> Mapping[str, str]:
    """All that each table says, escapes of JSON undone, in small letters."""
    found = {}
    for table in metadata.sorted_tables:
        rows = [list(row) for row in await connection.execute(select(table))]
        found[table.name] = repr(rows).replace("\\\\u00eb", "ë").replace("\\xc3\\xab", "ë").lower()
    return found


def test_each_table_has_a_tenant_or_a_reason() -> None:
    """A table that comes later is looked through, or somebody has thought of it."""
    bare = {table.name for table in metadata.sorted_tables if "tenant_id" not in table.c}
    nullable = {
        table.name
        for table in LOOKED_THROUGH
        if "tenant_id" in table.c and table.c.tenant_id.nullable
    }

    assert bare == WITHOUT_TENANT
    assert nullable >= OWNERLESS
    assert {table.name for table in metadata.sorted_tables} >= KEPT


@pytest.mark.parametrize("address", [ADA, PHONE, FOREIGN])
async def test_no_table_is_missed(office: Any, address: str) -> None:
    """Every text column of every table that is looked through, with a tenant and without one."""
    words = address.removeprefix("+")
    async with office.database.engine.connect() as connection:
        await no_foreign_keys(connection)
        number = 0
        for table in LOOKED_THROUGH:
            number += await fill(connection, table, words, tenant_id=office.tenant_id)
            if table.c.tenant_id.nullable:
                other = words.upper() if address != FOREIGN else f"{words} "
                number += await fill(connection, table, other, tenant_id=None)
        before = await dump(connection)
        await remove_traces(connection, office.tenant_id, {channel_of(address): address}, set())
        after = await dump(connection)
        await connection.rollback()

    named = {name for name, said in before.items() if words in said}
    assert named >= OWNERLESS | {"outbox_event", "webhook_delivery", "sms_reply", "tracked_url"}
    assert number > 80
    assert {name for name, said in after.items() if words in said} == set()
    assert all(MARK in after[name] or after[name] == "[]" for name in named)


async def incoming(office: Any, *sources: str) -> None:
    """Texts, parts, receipts and mails that nobody knows the owner of."""
    async with office.database.write() as session:
        for number, source in enumerate(sources):
            common = {"bind": "b", "source": source, "destination": "12345"}
            session.add(InboundMessage(**common, received_at=NOW, text="from Ada"))
            session.add(
                InboundPart(
                    **common,
                    reference=f"udh8:{number}",
                    parts=2,
                    part=1,
                    octets="41",
                    received_at=NOW,
                )
            )
            session.add(Receipt(received_at=NOW, channel="sms", address=source, raw="text:Ada"))


async def left(office: Any) -> Sequence[tuple[str, str]]:
    rows = await office.rows(select(InboundMessage.source, InboundMessage.text))
    parts = await office.rows(select(InboundPart.source))
    receipts = await office.rows(select(Receipt.address, Receipt.raw))
    return sorted([*map(tuple, rows), *((one, "part") for (one,) in parts), *map(tuple, receipts)])


async def test_texts_of_nobody_are_forgotten_however_the_number_is_spelled(office: Any) -> None:
    """As an SMSC brings it: with a plus, without, with two zeros, as it is dialled at home."""
    own = (PHONE, PHONE[1:], f"00{PHONE[1:]}", "015123456789", "15123456789")
    others = ("+4915123456780", "115123456789", "+4315123456789")
    await incoming(office, *own, *others)

    done = await forget(office.database, tenant="acme", address=PHONE, actor="test")

    assert done.traces == {"inbound_message": 5, "inbound_part": 5, "receipt": 5}
    assert await left(office) == sorted(
        [
            *[(MARK, "")] * 10,
            *[(one, said) for one in others for said in ("from Ada", "part", "text:Ada")],
        ]
    )


async def test_mails_that_fit_nothing_are_forgotten(office: Any) -> None:
    """Whatever case and form of the domain has the address; a longer one is somebody else's."""
    raws = [f"To: {one}\n\nhi".encode() for one in (FOREIGN, "ZOË@bücher.example", "x" + FOREIGN)]
    async with office.database.write() as session:
        for number, raw in enumerate(raws):
            session.add(
                MailReport(
                    digest=str(number),
                    source="test",
                    received_at=NOW,
                    kind="unknown",
                    state="unmatched",
                    report={"subject": raw.decode()},
                    raw=raw,
                )
            )

    await forget(office.database, tenant="acme", address=FOREIGN, actor="test")

    rows = await office.rows(select(MailReport.raw, MailReport.report).order_by(MailReport.digest))
    marked = f"To: {MARK}\n\nhi"
    assert [(raw.decode(), report["subject"]) for raw, report in rows] == [
        (marked, marked),
        (marked, marked),
        (raws[2].decode(), raws[2].decode()),
    ]
