"""Circuits in a real database: all senders see the same, and one probes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from ignition_ext.budgets.circuit import FIRST_OPEN, THRESHOLD
from ignition_ext.budgets.circuits import Circuits, Door, list_circuits, reset_circuits
from ignition_ext.channels.transport import Journal
from ignition_ext.database import Database
from ignition_ext.delivery.guard import CircuitChange, Guard, GuardedTransport
from ignition_ext.errors import (
    AuthenticationFailed,
    ChannelError,
    ConnectFailed,
    MustWait,
    NotFoundError,
    ProtocolViolation,
)
from ignition_ext.models import AuditLog, Circuit, CircuitTrouble
from ignition_ext.tenants import create_tenant
from ignition_ext.values import Delivery, MessageId, Outcome, OutcomeKind, new_id

SERVER = "mail.example:25"
DOOR = Door(server=SERVER, user="acme", secret="old")
DOWN = CircuitTrouble.CONNECTION
Open = Callable[..., Awaitable[None]]


async def lapse(database: Database) -> None:
    """The time that a circuit is open has passed."""
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE circuit SET open_until = changed_at"))


async def trip(database: Database, door: Door = DOOR) -> None:
    for _ in range(THRESHOLD):
        await Circuits(database).fail(door, DOWN, "Connection refused.")


async def test_all_senders_see_an_open_circuit(database: Database) -> None:
    """It opens at the third failure, whoever met which."""
    noted = [await Circuits(database).fail(DOOR, DOWN, "no") for _ in range(THRESHOLD)]
    found = await Circuits(database).enter(Door(server=SERVER, user="globex"))

    assert [one.opened is not None for one in noted] == [False, False, True]
    assert found is not None
    assert (found.key, found.failures, found.reason) == (SERVER, THRESHOLD, "no")
    assert timedelta(0) < found.wait <= FIRST_OPEN
    assert await Circuits(database).enter(Door(server="other.example:25")) is None


async def test_of_many_at_once_one_probes(database: Database) -> None:
    """When the time has come; its success lets all in."""
    await trip(database)
    await lapse(database)
    all_circuits = [Circuits(database) for _ in range(8)]
    answers = await asyncio.gather(*(one.enter(DOOR) for one in all_circuits))

    assert answers.count(None) == 1
    probe = all_circuits[answers.index(None)]
    assert list(await probe.succeed(DOOR)) == [SERVER]
    assert [await one.enter(DOOR) for one in all_circuits] == [None] * 8


async def test_failures_at_once_are_all_counted(database: Database) -> None:
    """Also the first ones, which add the row."""
    await asyncio.gather(*(Circuits(database).fail(DOOR, DOWN, "no") for _ in range(6)))
    async with database.read() as session:
        (row,) = await list_circuits(session)

    assert (row.failures, row.trips) == (6, 1)


async def test_a_wrong_login_stops_that_account_alone(database: Database) -> None:
    """The other tenant's on the same server goes on, and so does a corrected password."""
    await Circuits(database).fail(DOOR, CircuitTrouble.LOGIN, "535 no")
    assert await Circuits(database).enter(DOOR) is not None
    assert await Circuits(database).enter(Door(server=SERVER, user="globex", secret="x")) is None
    changed = Door(server=SERVER, user="acme", secret="new")

    assert await Circuits(database).enter(changed) is None
    async with database.read() as session:
        assert await list_circuits(session) == []


async def test_the_stored_login_is_no_password(database: Database) -> None:
    """It is a salted digest: two alike look different."""
    for _ in range(2):
        await Circuits(database).fail(DOOR, CircuitTrouble.LOGIN, "535 no")
        async with database.read() as session:
            (row,) = await list_circuits(session)
        assert "old" not in row.login
        assert len(row.login) < 200
    first = row.login
    await Circuits(database).fail(DOOR, CircuitTrouble.LOGIN, "535 no")
    async with database.read() as session:
        (row,) = await list_circuits(session)
    assert row.login != first


async def test_a_reset_lets_everyone_in_and_is_audited(database: Database) -> None:
    """With the tenant whose run met the trouble."""
    tenant = await create_tenant(database, name="acme", actor="test")
    door = Door(server=SERVER, user="acme", tenant_id=tenant.id)
    await trip(database, door)
    await Circuits(database).fail(door, CircuitTrouble.LOGIN, "535 no")

    assert list(await reset_circuits(database, SERVER, actor="jane")) == [
        SERVER,
        f"{SERVER}/acme",
    ]
    assert await Circuits(database).enter(door) is None
    async with database.read() as session:
        rows = await session.exec(select(AuditLog).where(AuditLog.action == "server.reset"))
        assert {(row.actor, row.subject) for row in rows} == {
            ("jane", f"server:{SERVER}"),
            ("jane", f"server:{SERVER}/acme"),
        }
    with pytest.raises(NotFoundError, match="no trouble with other"):
        await reset_circuits(database, "other", actor="jane")


class Scripted:
    """A transport that meets these errors one after the other; None sends a message."""

    def __init__(self, *errors: ChannelError | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def deliver(
        self, envelopes: AsyncIterator[str], journal: Journal, stop: asyncio.Event
    ) -> None:
        self.calls += 1
        error = self.errors.pop(0)
        if error is not None:
            raise error
        accepted = Outcome(kind=OutcomeKind.ACCEPTED, code="250")
        await journal.turn([Delivery(message_id=MessageId(new_id()), outcome=accepted)], [])


class NoJournal:
    """Stores nothing: the ledger is not this test's business."""

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return frozenset(ids)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        return None

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        return frozenset(ids)


class Run:
    """One run after the other through one scripted server."""

    def __init__(self, database: Database, patience: timedelta, *errors: ChannelError | None):
        self.server = Scripted(*errors)
        self.told: list[CircuitChange] = []
        self.guard = Guard(Circuits(database), DOOR, patience=patience, tell=self.told.append)

    async def go(self) -> ChannelError | None:
        transport: GuardedTransport[str] = GuardedTransport(self.server, self.guard)

        async def nothing() -> AsyncIterator[str]:
            for words in ():
                yield words

        try:
            await self.guard.require_closed()
            await transport.deliver(nothing(), NoJournal(), asyncio.Event())
        except ChannelError as error:
            return error
        return None


def refused() -> ConnectFailed:
    return ConnectFailed("Connection refused.", server=SERVER)


async def test_an_impatient_run_gets_the_servers_error(database: Database) -> None:
    """At first from the server itself, then without asking it, with the way to mend it."""
    run = Run(database, timedelta(0), refused(), refused(), refused())
    errors = [await run.go() for _ in range(5)]

    assert run.server.calls == THRESHOLD
    assert {type(error) for error in errors} == {ConnectFailed}
    assert "left alone" in str(errors[-1])
    assert "Connection refused" in str(errors[-1])
    assert f"ignition server reset {SERVER}" in str(errors[-1])
    (change,) = run.told
    assert (change.key, change.failures, change.wait) == (SERVER, THRESHOLD, FIRST_OPEN)


async def test_a_patient_run_waits_and_goes_on(database: Database) -> None:
    """It is told when to come again, until the server works."""
    run = Run(database, timedelta(hours=1), refused(), refused(), refused(), None)
    waits = [await run.go() for _ in range(4)]
    assert {type(error) for error in waits} == {MustWait}
    assert run.server.calls == THRESHOLD
    assert isinstance(waits[-1], MustWait)
    assert waits[-1].retry_after is not None
    assert waits[-1].retry_after > timedelta(seconds=10)

    await lapse(database)
    assert await run.go() is None
    assert [change.wait is None for change in run.told] == [False, True]
    async with database.read() as session:
        assert await list_circuits(session) == []


async def test_patience_ends(database: Database) -> None:
    """When the server has not worked for longer than that."""
    run = Run(database, timedelta(minutes=5), refused(), refused(), refused(), refused())
    await run.go()
    async with database.write() as session:
        row = await session.get_one(Circuit, SERVER)
        row.failing_since -= timedelta(minutes=6)

    assert isinstance(await run.go(), ConnectFailed)


async def test_an_old_failure_is_forgotten(database: Database) -> None:
    """What failed yesterday and was not asked since begins anew."""
    await trip(database)
    async with database.write() as session:
        row = await session.get_one(Circuit, SERVER)
        row.changed_at -= timedelta(days=1)
        row.failing_since -= timedelta(days=1)
        row.open_until = row.changed_at + FIRST_OPEN
    noted = await Circuits(database).fail(DOOR, DOWN, "no")

    assert (noted.failures, noted.opened) == (1, None)
    assert noted.failing < timedelta(hours=1)


async def test_a_login_is_tried_once(database: Database) -> None:
    """By whatever number of runs, patient or not."""
    run = Run(database, timedelta(hours=1), AuthenticationFailed("535 no", server=SERVER))
    errors = [await run.go() for _ in range(4)]

    assert run.server.calls == 1
    assert {type(error) for error in errors} == {AuthenticationFailed}
    assert "Correct the login in the block" in str(errors[-1])


async def test_what_is_one_campaigns_own_fault_opens_nothing(database: Database) -> None:
    """A sender address that the server refuses, a certificate that the block does not trust."""
    own = [
        ProtocolViolation("550 not you", server=SERVER),
        ConnectFailed("certificate", server=SERVER, temporary=False),
    ]
    run = Run(database, timedelta(0), *own, *own)
    for _ in range(4):
        await run.go()

    assert run.server.calls == 4
    async with database.read() as session:
        assert await list_circuits(session) == []
