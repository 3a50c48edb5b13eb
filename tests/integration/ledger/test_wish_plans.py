"""Whatever a tenant's tables hold, a claim under caps looks up the addresses that it claims."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ignition_ext.ledger.sqlite import stored
from ignition_ext.ledger.statements import load_statements

KEYS = {
    "find_capped": "address",
    "prune_capped": "address",
    "find_unwanted": "address",
    "find_forgotten": "digest",
}


def parameters() -> dict[str, Any]:
    addresses = [f"u{number}@example.com" for number in range(100)]
    ids = [uuid4() for _ in addresses]
    return {
        "tenant_id": 1,
        "channel": "email",
        "addresses": addresses,
        "digests": addresses,
        "ids": ids,
        "pairs": [[address, key] for address, key in zip(addresses, ids, strict=True)],
        "topic": "news",
        "messages": 3,
        "days": 7,
        "run_at": datetime.now(UTC),
    }


async def plan_of(database: Any, name: str) -> str:
    """How a database that has no statistics would run a statement."""
    if database.dialect == "sqlite":
        values = {key: stored(value) for key, value in parameters().items()}
        text = load_statements("wishes.sqlite.sql")[name]
        async with database.driver() as connection:
            rows = await connection.execute_fetchall(f"EXPLAIN QUERY PLAN {text}", values)
            await connection.rollback()
        return "\n".join(row[3] for row in rows)
    text = load_statements("wishes.postgresql.sql")[name]
    async with database.hot.take() as connection:
        cursor = await connection.execute(f"EXPLAIN {text}".encode(), parameters())
        return "\n".join(row[0] for row in await cursor.fetchall())


@pytest.mark.parametrize(("name", "key"), KEYS.items(), ids=list(KEYS))
async def test_each_address_is_looked_up_by_itself(database: Any, name: str, key: str) -> None:
    """The index is asked for tenant, channel and address at once, not for all of a tenant's."""
    plan = await plan_of(database, name)

    if database.dialect == "sqlite":
        assert re.search(rf"\(tenant_id=\? AND channel=\? AND {key}=\?", plan), plan
        assert not re.search(r"SCAN (k|m|p|f|capped_message|message)\b", plan), plan
    else:
        condition = rf"Index Cond: \(\(tenant_id = .*channel.*\({key}\)::text = [ad c]"
        assert re.search(condition, plan), plan
        assert "Seq Scan" not in plan, plan
