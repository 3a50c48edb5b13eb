"""Frequency caps against a model that a person can check: lists of what each address was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from ignition_ext.database import Database
from ignition_ext.ledger import capped
from ignition_ext.ledger.capped import prune_capped
from ignition_ext.tenants import set_tenant_setting
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

PEOPLE = ["ada@example.com", "bob@example.com"]
STATES = {
    OutcomeKind.ACCEPTED: "sent",
    OutcomeKind.DEFERRED: "deferred",
    OutcomeKind.REJECTED: "failed",
    OutcomeKind.UNCERTAIN: "uncertain",
}
COUNTED = {"sent", "uncertain"}
CAPS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=2)
RUNS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("send"), RUNS, st.sampled_from(sorted(STATES))),
    st.tuples(st.just("claim"), RUNS, st.none()),
    st.tuples(st.just("release"), RUNS, st.none()),
    st.tuples(st.just("days"), st.integers(1, 3), st.none()),
    st.tuples(st.just("prune"), RUNS, st.none()),
)


class Model:
    """What each address was sent, by run, and when."""

    def __init__(self, caps: list[tuple[int, int]]) -> None:
        self.caps, self.today = caps, 0
        self.states: dict[tuple[int, str], str] = {}
        self.sent_on: dict[tuple[int, str], int] = {}

    def claim(self, run: int) -> set[str]:
        """Who may be claimed; the others become suppressed."""
        claimed = set()
        for address in PEOPLE:
            if self.states[run, address] in ("pending", "deferred"):
                over = any(self.count(run, address, days) >= most for most, days in self.caps)
                self.states[run, address] = "suppressed" if over else "claimed"
                claimed |= set() if over else {address}
        return claimed

    def count(self, run: int, address: str, days: int) -> int:
        return sum(
            state == "claimed"
            or (state in COUNTED and self.sent_on[other, one] > self.today - days)
            for (other, one), state in self.states.items()
            if one == address and other != run
        )


class Example:
    """One example: up to four runs to the same people, in the ledger and in the model."""

    def __init__(self, scene: Any, caps: list[tuple[int, int]]) -> None:
        self.scene, self.model = scene, Model(caps)
        self.runs: dict[int, Any] = {}
        self.leases: dict[int, Any] = {}

    async def step(self, what: str, number: int, kind: Any) -> None:
        if what == "days":
            await self.scene.days_pass(number)
            self.model.today += number
            return
        if what == "prune":
            await self.scene.execute("DELETE FROM outcome_cursor WHERE name = 'capped_messages'")
            await prune_capped(self.scene.database)
            return
        await self.open(number)
        if what == "release":
            await self.release(number)
            return
        held = await self.claim(number)
        if what == "send":
            await self.send(number, held, kind)

    async def open(self, number: int) -> None:
        if number not in self.runs:
            self.runs[number] = await self.scene.run(*PEOPLE)
            self.model.states |= {(number, address): "pending" for address in PEOPLE}

    async def claim(self, number: int) -> dict[str, Any]:
        """What the run's sender holds: of a claim before, or of one now."""
        if number not in self.leases:
            lease, ids = await self.scene.claim(self.runs[number])
            assert set(ids) == self.model.claim(number)
            if not ids:
                return {}
            self.leases[number] = lease, ids
        return dict(self.leases[number][1])

    async def send(self, number: int, held: dict[str, Any], kind: OutcomeKind) -> None:
        if not held:
            return
        run, (lease, _) = self.runs[number], self.leases.pop(number)
        await self.scene.ledger.intend(run, lease, list(held.values()))
        failure = None if kind is OutcomeKind.ACCEPTED else FailureClass.SYSTEM
        for address, key in held.items():
            outcome = Outcome(kind=kind, failure_class=failure, charges_attempt=False)
            await self.scene.settle(run, lease, key, outcome)
            self.model.states[number, address] = STATES[kind]
            self.model.sent_on[number, address] = self.model.today

    async def release(self, number: int) -> None:
        if number in self.leases:
            lease, ids = self.leases.pop(number)
            await self.scene.ledger.release(self.runs[number], lease)
            self.model.states |= {(number, address): "pending" for address in ids}

    async def check(self) -> None:
        for number, run in self.runs.items():
            states = await self.scene.states(run)
            assert states == {one: self.model.states[number, one] for one in PEOPLE}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_claim_admits_just_whom_the_model_admits(
    request: pytest.FixtureRequest, engine: str, make_scene: Callable[..., Any]
) -> None:
    """Whatever was claimed, sent, refused, given back or pruned before, and whenever that was."""
    url: str = request.getfixturevalue(
        "sqlite_database_url" if engine == "sqlite" else "postgres_database_url"
    )
    with asyncio.Runner() as runner:
        database = Database(url)
        scene = runner.run(make_scene(database))

        async def tried(caps: list[tuple[int, int]], steps: list[tuple[str, int, Any]]) -> None:
            await scene.execute("DELETE FROM capped_message")
            value = [{"messages": messages, "days": days} for messages, days in caps]
            await set_tenant_setting(
                database, tenant="acme", key="caps.email", value=value, actor="test"
            )
            example = Example(scene, caps)
            for step in steps:
                await example.step(*step)
            await example.check()

        @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
        @given(caps=CAPS, steps=st.lists(STEPS, min_size=4, max_size=16))
        def model_holds(caps: list[tuple[int, int]], steps: list[tuple[str, int, Any]]) -> None:
            runner.run(tried(caps, steps))

        try:
            model_holds()
        finally:
            runner.run(database.close())


async def left(scene: Any) -> list[str]:
    async with scene.database.engine.connect() as connection:
        rows = await connection.execute(text("SELECT address FROM capped_message ORDER BY address"))
        return list(rows.scalars())


async def sent_to(scene: Any, *people: str) -> None:
    run = await scene.run(*people)
    lease, ids = await scene.claim(run)
    await scene.ledger.intend(run, lease, list(ids.values()))
    for key in ids.values():
        await scene.settle(run, lease, key, Outcome(kind=OutcomeKind.ACCEPTED))


async def cap(scene: Any, value: Any) -> None:
    await set_tenant_setting(
        scene.database, tenant="acme", key="caps.email", value=value, actor="test"
    )


async def test_what_no_cap_counts_any_more_is_let_go(scene: Any) -> None:
    """After the longest window, also of those that nobody writes to again; once a day."""
    await cap(scene, [{"messages": 1, "days": 1}, {"messages": 9, "days": 3}])
    await sent_to(scene, "old@example.com")
    held = await scene.run("held@example.com")
    await scene.claim(held)
    await scene.days_pass(2)
    await sent_to(scene, *PEOPLE)
    everyone = [*PEOPLE, "held@example.com", "old@example.com"]
    assert (await prune_capped(scene.database), await left(scene)) == (0, everyone)

    await scene.days_pass(2)
    assert (await prune_capped(scene.database), await left(scene)) == (0, everyone)
    await scene.execute("UPDATE outcome_cursor SET moved_at = '2026-01-01 00:00:00.000000'")

    assert await prune_capped(scene.database) == 1
    assert await left(scene) == [*PEOPLE, "held@example.com"]


async def test_a_cap_that_was_taken_off_is_remembered_for_a_month(scene: Any) -> None:
    """One that is set again finds what it counted; two passes at once are one."""
    await cap(scene, {"messages": 1, "days": 1})
    await sent_to(scene, *PEOPLE)
    await cap(scene, None)
    await scene.days_pass(30)
    assert await prune_capped(scene.database) == 0
    await scene.days_pass(2)
    await scene.execute("DELETE FROM outcome_cursor WHERE name = 'capped_messages'")

    removed = await asyncio.gather(*(prune_capped(scene.database) for _ in range(4)))

    assert sorted(removed) == [0, 0, 0, 2]
    assert await left(scene) == []


async def test_pruning_goes_on_slice_by_slice(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows there are; a claim has removed those of the two that it asked for."""
    monkeypatch.setattr(capped, "SLICE", 3)
    await cap(scene, {"messages": 5, "days": 1})
    people = [f"u{number:02}@example.com" for number in range(10)]
    await sent_to(scene, *people)
    await scene.days_pass(2)
    await sent_to(scene, *people[2:4])

    assert await prune_capped(scene.database) == 8
    assert await left(scene) == people[2:4]
