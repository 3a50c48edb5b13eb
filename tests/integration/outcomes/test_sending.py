"""Webhooks against real HTTP servers: those that take it, fail, hang, redirect, and are gone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import text
from standardwebhooks.webhooks import Webhook

from ignition_ext.audit import tail
from ignition_ext.outcomes import Announcement, EventName, announce, sending
from ignition_ext.outcomes.endpoints import (
    add_test,
    list_endpoints,
    remove_endpoint,
    rotate_secret,
    switch_endpoint,
)
from ignition_ext.outcomes.leases import lease_endpoints
from ignition_ext.outcomes.retries import DELAYS
from ignition_ext.outcomes.routing import route_announced
from ignition_ext.settings import Settings


async def test_an_outcome_reaches_the_webhook_signed(world: Any, hook: Any) -> None:
    """From the ledger to the receiver, whose library believes it."""
    added = await world.add(hook.url)
    run = await world.run("jane@example.com", "joe@example.com")
    await world.send(run)
    await world.derive()

    sent = await world.push()

    assert (sent.delivered, sent.failed, sent.errors) == (1, 0, [])
    (request,) = hook.requests
    document = Webhook(added.secret).verify(request.body, request.headers)
    assert document["type"] == "ignition.message.sent"
    people = [message["address"] for message in document["data"]["messages"]]
    assert sorted(people) == ["jane@example.com", "joe@example.com"]
    assert request.headers["content-type"].startswith("application/json")
    (row,) = await world.deliveries()
    assert (row.state, row.status, row.attempts, row.body) == ("delivered", 204, 1, "")
    assert await world.push() == sending.Sent()


async def test_what_is_announced_goes_to_its_own_tenant(world: Any, hook: Any) -> None:
    """Private facts are for the webhook; another tenant's are not its."""
    await world.add(hook.url, "ignition.recipient.*")
    async with world.database.write() as session:
        await announce(
            session,
            [
                Announcement(
                    tenant_id=tenant,
                    name=name,
                    subject="recipient:5",
                    payload={"channel": "sms"},
                    private={"address": "+4930123456"},
                )
                for tenant in (world.tenant_id, world.tenant_id + 1)
                for name in (EventName.RECIPIENT_OPTED_OUT, EventName.SMS_RECEIVED)
            ],
        )
    assert await route_announced(world.database) == 4
    assert await route_announced(world.database) == 0

    await world.push()

    (request,) = hook.requests
    data = request.document["data"]
    (event,) = data["events"]
    assert data["tenant"] == "acme"
    assert (event["channel"], event["address"]) == ("sms", "+4930123456")
    assert event["subject"] == "recipient:5"


async def due_again(world: Any) -> None:
    """As if the time had passed for which everything waits."""
    async with world.database.engine.begin() as connection:
        past = "2026-01-01 00:00:00.000000"
        await connection.execute(
            text(f"UPDATE webhook_delivery SET next_at = '{past}' WHERE state = 'pending'")
        )
        await connection.execute(
            text("UPDATE webhook_endpoint SET wait_until = NULL, lease_until = NULL")
        )


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nsorry", 500, "sorry"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", 302, ""),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, ""),
        (b"", 0, "Server disconnected"),
        (b"no http at all\r\n\r\n", 0, "illegal"),
        (None, 0, "no answer within"),
    ],
    ids=["fails", "redirects", "refuses", "hangs up", "is no server", "hangs"],
)
async def test_only_2xx_is_success(
    world: Any, hook: Any, answer: bytes | None, status: int, words: str
) -> None:
    """Anything else is tried again with the same id and body, and a signature of its own time."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    hook.answers.append(answer)
    before = datetime.now(UTC)

    first = await world.push(timeout=30 if answer is not None else 1)

    assert (first.delivered, first.failed) == (0, 1)
    (row,) = await world.deliveries()
    assert (row.state, row.attempts, row.status) == ("pending", 1, status)
    assert words in row.detail
    assert row.next_at >= before + DELAYS[0]
    (endpoint,) = await endpoints(world)
    assert (endpoint.failures, endpoint.state) == (1, "enabled")
    assert endpoint.wait_until > before
    assert await world.push() == sending.Sent()

    await due_again(world)
    assert (await world.push()).delivered == 1
    one, other = hook.requests
    assert one.headers["webhook-id"] == other.headers["webhook-id"]
    assert one.body == other.body
    Webhook(added.secret).verify(other.body, other.headers)
    (endpoint,) = await endpoints(world)
    assert (endpoint.failures, endpoint.failing_since) == (0, None)


async def endpoints(world: Any) -> Sequence[Any]:
    async with world.database.read() as session:
        return await list_endpoints(session, "acme")


async def test_an_endless_answer_is_not_read(world: Any, make_receiver: Any) -> None:
    """Its status counts; a receiver cannot fill our memory."""
    endless = b"HTTP/1.1 200 Yes\r\n\r\n" + b"x" * 10_000_000
    async with make_receiver() as hook:
        hook.answer = endless
        added = await world.add(hook.url)
        await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
        await world.push()

    (row,) = await world.deliveries()
    assert (row.state, row.status, row.detail) == ("delivered", 200, "x" * 300)


async def test_retry_after_is_respected(world: Any, hook: Any, answer_of: Any) -> None:
    """Nothing goes there before."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    hook.answer = answer_of(429, "Retry-After: 3600")
    before = datetime.now(UTC)

    await world.push()

    (endpoint,) = await endpoints(world)
    assert endpoint.wait_until >= before + timedelta(minutes=59)


async def test_gone_switches_off(world: Any, hook: Any, answer_of: Any) -> None:
    """410 is final: it is told as an event and audited; switched on again it goes on."""
    added = await world.add(hook.url)
    key = added.endpoint.id
    for _ in range(3):
        await add_test(world.database, tenant="acme", endpoint_id=key)
    hook.answer = answer_of(410)

    await world.push()

    (endpoint,) = await endpoints(world)
    assert (endpoint.state, endpoint.reason) == ("disabled", "it answered 410 Gone")
    (event,) = await world.outbox("ignition.webhook.disabled")
    assert event.payload["webhook_id"] == str(key)
    async with world.database.read() as session:
        newest = await tail(session, tenant="acme", limit=1)
    assert [entry.action for entry in newest] == ["webhook.disabled"]
    hook.answer = answer_of(200)
    await due_again(world)
    assert await world.push() == sending.Sent()
    assert await switch_endpoint(
        world.database, tenant="acme", endpoint_id=key, enabled=True, reason="", actor="test"
    )
    assert (await world.push()).delivered == 3


async def test_what_fails_for_days_is_switched_off(world: Any, hook: Any, answer_of: Any) -> None:
    """After enough failures without a success between them, and not before the days are over."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    hook.answer = answer_of(500)
    for _ in range(6):
        await due_again(world)
        await world.push()
    (endpoint,) = await endpoints(world)
    assert (endpoint.state, endpoint.failures) == ("enabled", 6)
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE webhook_endpoint SET failing_since = '2026-01-01 00:00:00.000000'")
        )

    await due_again(world)
    await world.push()

    (endpoint,) = await endpoints(world)
    assert endpoint.state == "disabled"
    assert "failed 7 times" in endpoint.reason


async def test_a_delivery_ends_after_ten_attempts(world: Any, hook: Any, answer_of: Any) -> None:
    """Its state says so, and the webhook itself goes on."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    hook.answer = answer_of(400, text="not like this")
    for _ in range(12):
        await due_again(world)
        await world.push()

    (row,) = await world.deliveries()
    assert (row.state, row.attempts, row.detail) == ("failed", 10, "not like this")
    assert len(hook.requests) == 10


async def test_dead_webhooks_do_not_hold_up_the_others(
    world: Any, hook: Any, make_receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More that hang than there are places: the living one has its outcome while they hang."""
    monkeypatch.setattr(sending, "HEALTHY_AT_ONCE", 2)
    monkeypatch.setattr(sending, "FAILING_AT_ONCE", 2)
    monkeypatch.setattr(sending, "LOOK_EVERY_SECONDS", 0.05)
    async with make_receiver() as dead:
        dead.answer = None
        for number in range(6):
            added = await world.add(f"{dead.url}/{number}")
            await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
        async with world.database.engine.begin() as connection:
            await connection.execute(text("UPDATE webhook_endpoint SET failures = 1"))
        alive = await world.add(hook.url)
        await add_test(world.database, tenant="acme", endpoint_id=alive.endpoint.id)

        pushing = asyncio.create_task(world.push(timeout=600))
        async with asyncio.timeout(60):
            await hook.came.wait()
            await dead.came.wait()
        assert not pushing.done()
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)


async def test_two_senders_share_and_repeat_nothing(world: Any, hook: Any) -> None:
    """A lease keeps them apart."""
    for number in range(4):
        added = await world.add(f"{hook.url}/{number}")
        for _ in range(30):
            await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)

    results = await asyncio.gather(*(world.push() for _ in range(3)))

    assert sum(sent.delivered for sent in results) == 120
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 120
    assert len(hook.requests) == 120


async def test_a_lease_that_lapsed_is_taken_over(world: Any, hook: Any) -> None:
    """Who held it was killed; before the end nobody else sends."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    assert len(await lease_endpoints(world.database, failing=False, limit=5)) == 1
    assert await world.push() == sending.Sent()

    await due_again(world)
    assert (await world.push()).delivered == 1


async def test_a_removed_or_disabled_webhook_gets_nothing(world: Any, hook: Any) -> None:
    """Also not what waited for it; neither is told of what happens later."""
    removed, disabled = await world.add(hook.url), await world.add(f"{hook.url}/2")
    for added in (removed, disabled):
        await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    key = disabled.endpoint.id
    await remove_endpoint(
        world.database, tenant="acme", endpoint_id=removed.endpoint.id, actor="test"
    )
    await switch_endpoint(
        world.database, tenant="acme", endpoint_id=key, enabled=False, reason="x", actor="test"
    )
    await world.send(await world.run("a@example.com"))
    await world.derive()

    await world.push()

    assert hook.requests == []
    assert len(await world.deliveries()) == 2


async def test_while_a_secret_is_replaced_both_are_believed(world: Any, hook: Any) -> None:
    """After the overlap only the new one."""
    added = await world.add(hook.url)
    key = added.endpoint.id
    for overlap in (timedelta(hours=1), timedelta(0)):
        rotated = await rotate_secret(
            world.database,
            tenant="acme",
            endpoint_id=key,
            overlap=overlap,
            actor="test",
            settings=world.settings,
        )
        await add_test(world.database, tenant="acme", endpoint_id=key)
        await world.push()
        Webhook(rotated.secret).verify(hook.requests[-1].body, hook.requests[-1].headers)
    first, last = (request.headers["webhook-signature"] for request in hook.requests)
    assert (first.count("v1,"), last.count("v1,")) == (2, 1)
    Webhook(added.secret).verify(hook.requests[0].body, hook.requests[0].headers)


@pytest.mark.parametrize(
    "resolved",
    [["127.0.0.1"], ["::ffff:127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["169.254.169.254"], []],
)
async def test_a_name_that_leads_inside_is_not_asked(
    world: Any, hook: Any, resolved: list[str]
) -> None:
    """Whatever it resolved to when it was registered; one wrong address is enough."""
    world.settings = Settings()

    async def resolve(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("rebound.example.com", hook.port)
        return resolved

    added = await world.add(f"https://rebound.example.com:{hook.port}/")
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)

    assert (await world.push(resolve=resolve)).failed == 1
    assert hook.requests == []
    (row,) = await world.deliveries()
    assert "not an address of the public internet" in row.detail or "no address" in row.detail


async def test_tls_is_verified_by_the_name(
    world: Any, make_receiver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was checked is connected to, and its certificate has to be the name's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hooks.example.com").configure_cert(context)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with make_receiver(ssl=context) as hook:
        for name in ("hooks.example.com", "other.example.com"):
            added = await world.add(f"https://{name}:{hook.port}/in")
            await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
        sent = await world.push(resolve=resolve)

    assert (sent.delivered, sent.failed) == (1, 1)
    assert [one.headers["host"] for one in hook.requests] == [f"hooks.example.com:{hook.port}"]
    details = [row.detail for row in await world.deliveries() if row.state == "pending"]
    assert "CERTIFICATE_VERIFY_FAILED" in details[0]


async def test_proxies_of_the_environment_are_not_used(
    world: Any, hook: Any, make_receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect to what it resolves itself."""
    async with make_receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        added = await world.add(hook.url)
        await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
        await world.push()
        assert proxy.requests == []
    assert len(hook.requests) == 1


async def test_a_node_with_another_key_says_so(world: Any, hook: Any) -> None:
    """It fails for that webhook alone, and sends nothing unsigned."""
    added = await world.add(hook.url)
    await add_test(world.database, tenant="acme", endpoint_id=added.endpoint.id)
    async with world.database.engine.begin() as connection:
        await connection.execute(
            text("UPDATE webhook_endpoint SET secret = :other"), {"other": "A" * 60}
        )

    assert (await world.push()).failed == 1
    assert hook.requests == []
    (row,) = await world.deliveries()
    assert "signing key" in row.detail
