"""Failed deliveries sent again by an operator: the same request, with the id that it had."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from ignition_ext.audit import tail
from ignition_ext.errors import ConflictError, NotFoundError
from ignition_ext.outcomes.endpoints import switch_endpoint
from ignition_ext.outcomes.redelivering import Redelivered, redeliver
from ignition_ext.values import new_id

BAD = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


async def failed(world: Any, hook: Any, *people: str) -> list[UUID]:
    """One delivery for each of them, all of which have failed for good."""
    hook.answer = BAD
    for person in people:
        await world.send(await world.run(person))
        await world.derive()
    for _ in people:
        await change(world, "UPDATE webhook_delivery SET attempts = 9 WHERE state = 'pending'")
        await at_once(world)
        await world.push()
    rows = await world.deliveries()
    assert {row.state for row in rows} == {"failed"}
    hook.answer = GOOD
    hook.requests.clear()
    await at_once(world)
    return [row.id for row in rows]


async def at_once(world: Any) -> None:
    """The pause is over that a webhook has after a failure."""
    await change(world, "UPDATE webhook_endpoint SET wait_until = NULL")


async def change(world: Any, statement: str) -> None:
    async with world.database.write() as session:
        await (await session.connection()).execute(text(statement))


async def again(world: Any, endpoint: UUID, **which: Any) -> Redelivered:
    return await redeliver(
        world.database, tenant="acme", endpoint_id=endpoint, actor="jane", **which
    )


async def audited(world: Any) -> list[Any]:
    async with world.database.read() as session:
        rows = await tail(session, limit=100)
    return [row.after for row in rows if row.action == "webhook.redelivered"]


async def test_it_is_the_same_request(world: Any, hook: Any) -> None:
    """Id and body as they were, so that a receiver passes over what it had; signed anew."""
    added = await world.add(hook.url)
    (key,) = await failed(world, hook, "jane@example.com")
    (before,) = await world.deliveries()

    done = await again(world, added.endpoint.id, ids=[key])
    (waiting,) = await world.deliveries()
    sent = await world.push()

    assert done == Redelivered(count=1, is_enabled=True)
    assert (waiting.state, waiting.attempts, waiting.ended_at) == ("pending", 0, None)
    assert (sent.delivered, sent.failed) == (1, 0)
    (request,) = hook.requests
    assert request.headers["webhook-id"] == f"msg_{key.hex}"
    assert request.body.decode() == before.body
    assert Webhook(added.secret).verify(request.body, request.headers)
    assert await audited(world) == [{"count": 1, "deliveries": [f"msg_{key.hex}"]}]


async def test_all_from_a_time_on(world: Any, hook: Any) -> None:
    """By when they were made; what was taken or waits stays as it is, another webhook's too."""
    added, other = await world.add(hook.url), await world.add(f"{hook.url}/other")
    await failed(world, hook, "old@example.com", "new@example.com")
    hours = datetime.now(UTC) - timedelta(hours=2)
    async with world.database.write() as session:
        rows = await world.deliveries()
        old = next(
            row for row in rows if "old@" in row.body and row.endpoint_id == added.endpoint.id
        )
        old.created_at = hours - timedelta(hours=1)
        session.add(old)
    await world.send(await world.run("late@example.com"))
    await world.derive()

    done = await again(world, added.endpoint.id, since=hours)
    repeated = await again(world, added.endpoint.id, since=hours)

    assert (done.count, repeated.count) == (1, 0)
    mine = [row for row in await world.deliveries() if row.endpoint_id == added.endpoint.id]
    assert sorted(row.state for row in mine) == ["failed", "pending", "pending"]
    theirs = [row for row in await world.deliveries() if row.endpoint_id == other.endpoint.id]
    assert sorted(row.state for row in theirs) == ["failed", "failed", "pending"]
    (told,) = await audited(world)
    assert (told["count"], told["since"]) == (1, hours.isoformat())


async def test_one_that_fails_again_has_all_its_attempts(world: Any, hook: Any) -> None:
    """It is not given up after one more."""
    added = await world.add(hook.url)
    (key,) = await failed(world, hook, "jane@example.com")
    hook.answer = BAD

    await again(world, added.endpoint.id, ids=[key])
    await world.push()

    (row,) = await world.deliveries()
    assert (row.state, row.attempts) == ("pending", 1)


async def test_one_that_is_off_is_told_when_it_is_on(world: Any, hook: Any) -> None:
    """Nothing goes to a webhook that is switched off."""
    added = await world.add(hook.url)
    (key,) = await failed(world, hook, "jane@example.com")
    switch = {"tenant": "acme", "endpoint_id": added.endpoint.id, "reason": "", "actor": "jane"}
    await switch_endpoint(world.database, enabled=False, **switch)

    done = await again(world, added.endpoint.id, ids=[key])
    await world.push()
    assert (done.is_enabled, hook.requests) == (False, [])
    await switch_endpoint(world.database, enabled=True, **switch)
    await world.push()

    assert len(hook.requests) == 1


async def test_what_has_not_failed_is_refused(world: Any, hook: Any) -> None:
    """Taken, still on its way, or not there: it is said, and nothing changes."""
    added = await world.add(hook.url)
    (gone,) = await failed(world, hook, "jane@example.com")
    await world.send(await world.run("joe@example.com"))
    await world.derive()
    waiting = next(row.id for row in await world.deliveries() if row.state == "pending")

    with pytest.raises(ConflictError, match="has not failed"):
        await again(world, added.endpoint.id, ids=[gone, waiting])
    await world.push()
    with pytest.raises(ConflictError, match="was taken"):
        await again(world, added.endpoint.id, ids=[waiting])
    with pytest.raises(NotFoundError, match="no delivery"):
        await again(world, added.endpoint.id, ids=[new_id()])
    with pytest.raises(NotFoundError, match="no webhook"):
        await again(world, new_id(), ids=[gone])

    assert sorted(row.state for row in await world.deliveries()) == ["delivered", "failed"]
    assert await audited(world) == []
