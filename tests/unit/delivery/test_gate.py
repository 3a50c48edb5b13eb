"""The gate: a used-up domain waits beside the others, a long wait goes back to the ledger."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ignition_ext.budgets.budget import Budget
from ignition_ext.budgets.rate import LONGEST_SHARE, Grant, Limit, Line, Want, grant
from ignition_ext.delivery.gate import (
    LONGEST_HOLD_SECONDS,
    MOST_ASIDE,
    PASS_OVER,
    PATIENCE_SECONDS,
    Gate,
    open_gate,
)
from ignition_ext.ledger.contract import ClaimedMessage
from ignition_ext.values import Channel, Delivery, MessageId, OutcomeKind, new_id

START = datetime(2026, 11, 21, tzinfo=UTC)
TENANT = Limit(key="tenant:acme", rate=10_000)


class LinesInMemory:
    """The lines of rates without a database: the same policy by the machine's clock."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.turns = 0

    async def take(self, wants: Sequence[Want]) -> dict[str, Grant]:
        self.turns += 1
        await asyncio.sleep(0)
        now = START + timedelta(seconds=time.monotonic())
        answers = {}
        for want in wants:
            line = self.lines.get(want.limit.key) or Line(
                rate=want.limit.rate, revision=0, share=LONGEST_SHARE, next_at=START
            )
            self.lines[want.limit.key], answers[want.limit.key] = grant(line, want, now)
        return answers

    def use_up(self, key: str, rate: float, seconds: float) -> None:
        """Others have all places of the next seconds."""
        ahead = START + timedelta(seconds=time.monotonic() + seconds)
        self.lines[key] = Line(rate=rate, revision=0, share=LONGEST_SHARE, next_at=ahead)


class Back:
    """The journal's part that gives messages back."""

    def __init__(self) -> None:
        self.held: list[Delivery] = []
        self.calls = 0

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        self.calls += 1
        self.held += deliveries

    async def intend(self, ids: Sequence[MessageId]) -> frozenset[MessageId]:
        return frozenset(ids)

    async def turn(
        self, deliveries: Sequence[Delivery], ids: Sequence[MessageId]
    ) -> frozenset[MessageId]:
        await self.settle(deliveries)
        return frozenset(ids)

    @property
    def waits(self) -> list[float]:
        return [
            one.outcome.retry_after.total_seconds() for one in self.held if one.outcome.retry_after
        ]


def to(domain: str, count: int = 1) -> list[ClaimedMessage]:
    return [
        ClaimedMessage(
            id=MessageId(new_id()),
            channel=Channel.EMAIL,
            address=f"p{number}@{domain}",
            domain=domain,
            locale=None,
            timezone=None,
            attempts=0,
            data={},
        )
        for number in range(count)
    ]


def at(rate: float) -> Callable[[str], Limit]:
    return lambda domain: Limit(key=f"domain:acme:{domain}", rate=rate)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  it is the gate's own doing that is awaited
            await asyncio.sleep(0.01)


class Scene:
    """A gate over some claimed messages."""

    def __init__(self, gate: Gate, back: Back, taken: list[ClaimedMessage], stop: asyncio.Event):
        self.gate, self.back, self.taken, self.stop = gate, back, taken, stop

    async def all(self) -> list[ClaimedMessage]:
        out = []
        while (message := await self.gate.take()) is not None:
            out.append(message)
        return out


@asynccontextmanager
async def scene(
    messages: Sequence[ClaimedMessage],
    *,
    lines: LinesInMemory | None = None,
    common: Sequence[Limit] = (),
    domain: Callable[[str], Limit] | None = None,
) -> AsyncIterator[Scene]:
    source, taken, back, stop = iter(messages), [], Back(), asyncio.Event()

    async def take() -> ClaimedMessage | None:
        message = next(source, None)
        if message is not None:
            taken.append(message)
        return message

    budget = Budget(lines or LinesInMemory())
    async with open_gate(
        budget,
        common=common,
        domains=[domain] if domain else [],
        take=take,
        journal=back,
        stop=stop,
    ) as gate:
        yield Scene(gate, back, taken, stop)


async def test_without_domains_messages_pass_in_order() -> None:
    """At the common rates."""
    messages = to("x.example", 50)
    async with scene(messages, common=[TENANT]) as stage:
        assert await stage.all() == messages
        assert stage.back.held == []


async def test_common_rates_are_kept() -> None:
    """Twenty a second and a burst: thirty messages take more than half a second."""
    began = time.monotonic()
    async with scene(to("x.example", 30), common=[TENANT, Limit(key="c", rate=20)]) as stage:
        assert len(await stage.all()) == 30
    assert time.monotonic() - began >= 30 / 20 - 1


async def test_a_used_up_domain_does_not_hold_the_others_up() -> None:
    """All of the others go before the second of the slow one."""
    slow, others = to("slow.example", 8), to("fast.example", 8)
    mixed = [one for pair in zip(slow, others, strict=True) for one in pair]

    def limit(domain: str) -> Limit:
        return Limit(key=domain, rate=2000 if domain == "fast.example" else 4)

    async with scene(mixed, domain=limit) as stage:
        order = [message.domain for message in await stage.all()]

    assert Counter(order) == {"slow.example": 8, "fast.example": 8}
    assert order[-5:] == ["slow.example"] * 5
    assert stage.back.held == []


async def test_each_message_comes_once_in_the_order_of_its_domain() -> None:
    """However they were put aside; hundreds of domains take few transactions."""
    messages = [one for number in range(400) for one in to(f"d{number}.example", 2)]
    lines = LinesInMemory()
    async with scene(messages, lines=lines, domain=at(100), common=[TENANT]) as stage:
        out = await stage.all()

    assert sorted(out, key=lambda one: one.id) == sorted(messages, key=lambda one: one.id)
    for number in range(400):
        domain = f"d{number}.example"
        assert [one.address for one in out if one.domain == domain] == [
            f"p0@{domain}",
            f"p1@{domain}",
        ]
    assert lines.turns < 100


async def test_a_long_wait_goes_back_to_the_ledger() -> None:
    """Beyond patience each is due about when it has its turn, and none is kept."""
    async with scene(to("slow.example", 200), domain=at(0.5)) as stage:
        assert await stage.gate.take() is not None
        waiting = asyncio.create_task(stage.gate.take())
        await wait_until(lambda: len(stage.back.held) >= 180)
        stage.stop.set()
        await waiting
        waits = stage.back.waits
        assert all(one.outcome.kind is OutcomeKind.UNSENT for one in stage.back.held)

    assert waits == sorted(waits)
    assert waits[0] == PATIENCE_SECONDS
    assert waits[-1] <= 200 / 0.5
    assert waits[-1] >= 200 / 0.5 - 2 * PATIENCE_SECONDS


async def test_what_other_nodes_used_up_goes_back_too() -> None:
    """Nothing of the lease is left to wait for."""
    lines = LinesInMemory()
    lines.use_up("domain:acme:slow.example", 10, seconds=100)
    async with scene(
        [*to("slow.example", 5), *to("fast.example", 1)], lines=lines, domain=at(10)
    ) as stage:
        out = await stage.all()

    assert [one.domain for one in out] == ["fast.example"]
    assert len(stage.back.held) == 5
    assert min(stage.back.waits) >= 90


async def test_nothing_is_held_for_long() -> None:
    """A rate that is raised counts soon."""
    lines = LinesInMemory()
    lines.use_up("domain:acme:slow.example", 0.001, seconds=50_000)
    async with scene(to("slow.example", 3), lines=lines, domain=at(0.001)) as stage:
        assert await stage.all() == []

    assert stage.back.waits == [LONGEST_HOLD_SECONDS] * 3


async def test_one_domain_alone_is_not_moved_through_the_ledger() -> None:
    """Behind so many of a kind the gate waits instead of reading on."""
    messages = to("slow.example", 10 * PASS_OVER)
    async with scene(messages, domain=at(2)) as stage:
        assert await asyncio.wait_for(stage.gate.take(), 30) is not None
        assert await asyncio.wait_for(stage.gate.take(), 30) is not None

        assert len(stage.taken) <= PASS_OVER + 2 * PATIENCE_SECONDS + 10
        assert stage.back.calls <= PASS_OVER / 100


async def test_a_campaign_that_must_wait_long_ends_its_batch() -> None:
    """And says when to come back; no worker waits for it."""
    lines = LinesInMemory()
    lines.use_up("campaign:acme/news", 0.01, seconds=300)
    async with scene(
        to("x.example", 3), lines=lines, common=[Limit(key="campaign:acme/news", rate=0.01)]
    ) as stage:
        assert await stage.all() == []
        assert stage.gate.resume_in is not None
        assert 250 < stage.gate.resume_in <= 300
        assert stage.taken == []


async def test_a_stop_ends_every_wait() -> None:
    """Those put aside stay claimed: the batch gives them back."""
    async with scene(to("slow.example", 5), domain=at(0.1), common=[TENANT]) as stage:
        assert await stage.gate.take() is not None
        waiting = [asyncio.create_task(stage.gate.take()) for _ in range(3)]
        await asyncio.sleep(0)
        stage.stop.set()

        assert await asyncio.wait_for(asyncio.gather(*waiting), 30) == [None] * 3


async def test_a_raised_rate_is_used_at_once() -> None:
    """The new one comes with the next answer, from whoever set it."""
    lines = LinesInMemory()
    lines.use_up("domain:acme:x.example", 1000, seconds=0)
    line = lines.lines["domain:acme:x.example"]
    lines.lines["domain:acme:x.example"] = replace(line, revision=2)
    async with scene(to("x.example", 40), lines=lines, domain=at(1)) as stage:
        out = await asyncio.wait_for(stage.all(), 30)

    assert len(out) + len(stage.back.held) == 40
    assert len(out) > 20


async def test_two_rates_of_domains_are_both_kept() -> None:
    """The campaign's own, and the tenant's over all campaigns."""
    lines = LinesInMemory()
    lines.use_up("tenant's x.example", 100, seconds=90)
    messages = [*to("x.example", 2), *to("y.example", 2)]
    source, back, stop = iter(messages), Back(), asyncio.Event()

    async def take() -> ClaimedMessage | None:
        return next(source, None)

    async with open_gate(
        Budget(lines),
        common=[TENANT],
        domains=[
            lambda domain: Limit(key=f"campaign's {domain}", rate=50),
            lambda domain: Limit(key=f"tenant's {domain}", rate=100),
        ],
        take=take,
        journal=back,
        stop=stop,
    ) as gate:
        out = [await gate.take(), await gate.take(), await gate.take()]

    assert [message and message.domain for message in out] == ["y.example", "y.example", None]
    assert len(back.held) == 2
    assert set(lines.lines) >= {"campaign's y.example", "tenant's y.example", "tenant:acme"}


async def test_many_messages_to_few_fast_domains_all_go() -> None:
    """None is held just because more were read than could be put aside before the first answer."""
    messages = [one for _ in range(2 * MOST_ASIDE) for one in to("x.example")]
    async with scene(messages, domain=at(100_000), common=[TENANT]) as stage:
        out = await asyncio.wait_for(stage.all(), 60)

    assert out == messages
    assert stage.back.held == []
