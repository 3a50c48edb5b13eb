"""Whom the numbers belong to that emails may fall back to: asked, and removed, for forgetting.

No index knows such a number: all emails of the tenant's runs that fall back are gone through.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ignition_ext.values import Channel

_NUMBER = {
    "postgresql": "m.data #>> '{fallback.sms,address}'",
    "sqlite": """json_extract(m.data, '$."fallback.sms".address')""",
}
_WITHOUT = {
    "postgresql": "m.data - 'fallback.sms'",
    "sqlite": """json_remove(m.data, '$."fallback.sms"')""",
}
_OF_TENANT = " FROM fallback_run f CROSS JOIN message m WHERE f.tenant_id = :tenant_id"
_EMAILS = " AND m.run_id = f.run_id AND m.channel = 'email'"


def _each(statement: str) -> Mapping[str, TextClause]:
    """A statement for each database, which spell a number, and a document without it, apart."""
    return {
        name: text(statement.replace("NUMBER", _NUMBER[name]).replace("WITHOUT", _WITHOUT[name]))
        for name in _NUMBER
    }


_NUMBERS_OF = _each(
    f"SELECT DISTINCT NUMBER{_OF_TENANT}{_EMAILS}"
    " AND m.address = :address AND NUMBER IS NOT NULL LIMIT 2"
)
_EMAILS_OF = _each(f"SELECT DISTINCT m.address{_OF_TENANT}{_EMAILS} AND NUMBER = :address LIMIT 2")
_REMOVE = _each(
    "UPDATE message AS m SET data = WITHOUT"
    " WHERE m.run_id IN (SELECT run_id FROM fallback_run WHERE tenant_id = :tenant_id)"
    " AND m.channel = 'email' AND NUMBER = :number"
)


async def other_address(
    connection: AsyncConnection, tenant_id: int, channel: Channel, address: str
) -> str | None:
    """The one address on the other channel that emails tie to this one, and to nobody else's.

    Where an email address has had several numbers, or a number is several people's, there is
    none: nobody decides for somebody else.
    """
    there, back = _NUMBERS_OF, _EMAILS_OF
    if channel is Channel.SMS:
        there, back = back, there
    found = await _ask(connection, there, tenant_id, address)
    if len(found) != 1:
        return None
    other = found[0]
    return other if await _ask(connection, back, tenant_id, other) == [address] else None


async def _ask(
    connection: AsyncConnection,
    query: Mapping[str, TextClause],
    tenant_id: int,
    address: str,
) -> list[str]:
    values = {"tenant_id": tenant_id, "address": address}
    rows = await connection.execute(query[connection.dialect.name], values)
    return [row[0] for row in rows]


async def remove_number(connection: AsyncConnection, tenant_id: int, number: str) -> None:
    """Take a telephone number out of the emails that would fall back to it."""
    values = {"tenant_id": tenant_id, "number": number}
    await connection.execute(_REMOVE[connection.dialect.name], values)
