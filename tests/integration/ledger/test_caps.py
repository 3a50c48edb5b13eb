"""Frequency caps against a model that a person can check: lists of what each address was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ignition_ext.database import Database
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
    """Whatever was claimed, sent, refused or given back before, and whenever that was."""
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
