"""The binds of SMSC accounts in the database: never more than are allowed, over all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Uuid

from ignition_ext.database import Database
from ignition_ext.schema import database_errors
from ignition_ext.statements import load_statements

OWNER_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """Who wants a bind of which account.

    Attributes:
        account: ``host:port/system_id``.
        allowed: how many binds may be open at once, of all who use the account.
        owner: for people: host, process, campaign.
        tenant_id: whose run it is.
    """

    account: str
    allowed: int
    owner: str
    tenant_id: int | None = None


class Slots:
    """Leases on binds; each ends by itself when its holder does not renew it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words = load_statements("ignition_ext.budgets", f"slot.{database.dialect}.sql")

    async def take(self, claimant: Claimant, duration: timedelta) -> UUID | Sequence[str]:
        """A slot's holder id, or who holds them all.

        Raises:
            DatabaseError: the database is away.
        """
        account, holder = claimant.account, uuid4()
        with database_errors(self._database):
            async with self._database.engine.begin() as connection:
                await self._run(connection, "lock", account=account)
                await self._run(connection, "forget_lapsed", account=account)
                held = (await self._run(connection, "read", account=account)).all()
                if len(held) >= claimant.allowed:
                    return [str(owner) for _, owner in held]
                used = {number for number, _ in held}
                await self._run(
                    connection,
                    "take",
                    account=account,
                    number=min(set(range(1, len(used) + 2)) - used),
                    tenant_id=claimant.tenant_id,
                    holder=holder,
                    owner=claimant.owner[:OWNER_LENGTH],
                    seconds=duration.total_seconds(),
                )
        return holder

    async def renew(self, account: str, holder: UUID, duration: timedelta) -> bool:
        """Extend the lease; False when it has lapsed: the bind is no longer ours."""
        seconds = duration.total_seconds()
        with database_errors(self._database):
            async with self._database.engine.begin() as connection:
                done = await self._run(
                    connection, "renew", account=account, holder=holder, seconds=seconds
                )
                return bool(done.rowcount)

    async def leave(self, account: str, holder: UUID) -> None:
        """Give the slot back."""
        with database_errors(self._database):
            async with self._database.engine.begin() as connection:
                await self._run(connection, "leave", account=account, holder=holder)

    async def _run(self, connection: AsyncConnection, name: str, /, **values: Any) -> Any:
        statement = text(self._words[name])
        if "holder" in values:
            statement = statement.bindparams(bindparam("holder", type_=Uuid()))
        return await connection.execute(statement, values)
