"""The circuits of all servers in the database, shared by all runs and nodes."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.budgets.circuit import CircuitState, Passed, Refused, enter, failed
from ignition_ext.database import Database, database_now
from ignition_ext.errors import NotFoundError
from ignition_ext.models import Circuit, CircuitTrouble
from ignition_ext.schema import database_errors

REASON_LENGTH = 1000
STALE = timedelta(hours=1)
"""Trouble of which nobody has heard for so long is no longer the same trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What a circuit stands before.

    Attributes:
        server: ``host:port``.
        user: who logs in there, empty for nobody.
        secret: with what; only compared with what was refused before.
        tenant_id: whose run it is.
    """

    server: str
    user: str = ""
    secret: str = ""
    tenant_id: int | None = None

    @property
    def login_key(self) -> str:
        """The circuit of the login."""
        return f"{self.server}/{self.user}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCircuit:
    """Why a server may not be asked now.

    Attributes:
        key: ``host:port``, or ``host:port/user`` where the login is wrong.
        wait: when to ask again.
        failing: how long it has not worked.
        reason: the last error.
    """

    key: str
    trouble: CircuitTrouble
    failures: int
    wait: timedelta
    failing: timedelta
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What a failure made of the circuit; ``opened`` when it was that very failure."""

    key: str
    failures: int
    opened: timedelta | None
    failing: timedelta


class Circuits:
    """One sender's view of all circuits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._me = uuid4()

    async def enter(self, door: Door) -> OpenCircuit | None:
        """Ask to use a server; None when it may be asked, perhaps as the one probe.

        Raises:
            DatabaseError: the database is away.
        """
        with database_errors(self._database):
            # Most of the time all is well, and no lock is taken to see that.
            async with self._database.read() as session:
                rows = await _rows(session, door)
            if not rows:
                return None
            async with self._database.write() as session:
                now = await database_now(session)
                for row in await _rows(session, door, lock=True):
                    state = _state(row)
                    if row.login and not _is_login(row.login, door):
                        await session.delete(row)  # somebody changed the password: try it
                        continue
                    after, answer = enter(state, self._me, now)
                    match answer:
                        case Refused(wait=wait):
                            return _open(row, wait, now)
                        case Passed():
                            _store(row, after, now)
        return None

    async def fail(self, door: Door, trouble: CircuitTrouble, reason: str) -> Noted:
        """Note that a server could not be used."""
        is_login = trouble is CircuitTrouble.LOGIN
        key = door.login_key if is_login else door.server
        login = _digest(door) if is_login else ""
        with database_errors(self._database):
            async with self._database.write() as session:
                await _lock(session, key)
                now = await database_now(session)
                row = await session.get(Circuit, key, with_for_update=True)
                before = None if row is None or _is_stale(row, now) else _state(row)
                after = failed(before, trouble, reason[:REASON_LENGTH], self._me, now, login=login)
                if row is None:
                    row = Circuit(server=key, tenant_id=door.tenant_id, **asdict(after))
                    session.add(row)
                _store(row, after, now)
                opened = None
                if after.open_until and after.trips > (before.trips if before else 0):
                    opened = after.open_until - now
        return Noted(
            key=key,
            failures=after.failures,
            opened=opened,
            failing=now - after.failing_since,
        )

    async def succeed(self, door: Door) -> Sequence[str]:
        """Note that a server works; returns the circuits that were open until now."""
        with database_errors(self._database):
            async with self._database.read() as session:
                if not await _rows(session, door):
                    return []
            async with self._database.write() as session:
                rows = await _rows(session, door, lock=True)
                for row in rows:
                    await session.delete(row)
                return [row.server for row in rows if row.open_until is not None]


async def list_circuits(session: AsyncSession) -> Sequence[Circuit]:
    """Every server with trouble, by name."""
    return (await session.exec(select(Circuit).order_by(col(Circuit.server)))).all()


async def reset_circuits(database: Database, server: str, *, actor: str) -> Sequence[str]:
    """Let a server be asked again at once: ``host:port`` with all its logins, or one login.

    The trouble of a tenant's run is audited with that tenant.

    Raises:
        NotFoundError: there is no trouble with it.
    """
    async with database.write() as session:
        rows = [
            row
            for row in await list_circuits(session)
            if row.server == server or row.server.startswith(f"{server}/")
        ]
        if not rows:
            raise NotFoundError(
                f"there is no trouble with {server}.", mend="Run: ignition server list"
            )
        for row in rows:
            await session.delete(row)
            if row.tenant_id is not None:
                await audit.record(
                    session,
                    tenant_id=row.tenant_id,
                    actor=actor,
                    action="server.reset",
                    subject=f"server:{row.server}",
                    before={"failures": row.failures, "trouble": row.trouble},
                )
        return [row.server for row in rows]


async def _rows(session: AsyncSession, door: Door, *, lock: bool = False) -> Sequence[Circuit]:
    query = (
        select(Circuit)
        .where(col(Circuit.server).in_([door.server, door.login_key]))
        .order_by(col(Circuit.server).desc())  # a wrong login is said first: it can be mended
    )
    return (await session.exec(query.with_for_update() if lock else query)).all()


async def _lock(session: AsyncSession, key: str) -> None:
    """Keep others from adding the same row meanwhile; SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await (await session.connection()).execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 9))"), {"key": key}
        )


def _state(row: Circuit) -> CircuitState:
    return CircuitState(
        trouble=CircuitTrouble(row.trouble),
        failures=row.failures,
        trips=row.trips,
        open_until=row.open_until,
        probe=row.probe,
        probe_until=row.probe_until,
        login=row.login,
        reason=row.reason,
        failing_since=row.failing_since,
    )


def _store(row: Circuit, state: CircuitState, now: datetime) -> None:
    for name, value in asdict(state).items():
        setattr(row, name, value)
    row.changed_at = now


def _is_stale(row: Circuit, now: datetime) -> bool:
    return max(row.changed_at, row.open_until or row.changed_at) < now - STALE


def _open(row: Circuit, wait: timedelta, now: datetime) -> OpenCircuit:
    return OpenCircuit(
        key=row.server,
        trouble=CircuitTrouble(row.trouble),
        failures=row.failures,
        wait=wait,
        failing=now - row.failing_since,
        reason=row.reason,
    )


def _digest(door: Door, salt: bytes | None = None) -> str:
    """The refused login, slow to guess from: 16 MB and some 50 ms a try (RFC 7914)."""
    salt = salt or os.urandom(16)
    words = f"{door.user}\0{door.secret}".encode()
    digest = hashlib.scrypt(words, salt=salt, n=2**14, r=8, p=1, dklen=32)
    return f"{salt.hex()}${digest.hex()}"


def _is_login(stored: str, door: Door) -> bool:
    salt = bytes.fromhex(stored.partition("$")[0])
    return hmac.compare_digest(stored, _digest(door, salt))
