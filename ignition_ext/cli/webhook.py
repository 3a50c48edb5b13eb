"""``ignition webhook``: addresses of a tenant's that are told of outcomes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ignition_ext.cli.context import actor, open_database
from ignition_ext.cli.output import note, out, print_json, print_table
from ignition_ext.cli.since import since_of
from ignition_ext.errors import ConfigurationError
from ignition_ext.models.outcome import DeliveryState, WebhookDelivery, WebhookEndpoint
from ignition_ext.outcomes import endpoints, redelivering
from ignition_ext.outcomes.sending import WebhookSender
from ignition_ext.outcomes.signature import delivery_key, webhook_id
from ignition_ext.settings import Settings

app = App(name="webhook", help="Webhooks: addresses that are told of a tenant's outcomes.")

Json = Annotated[bool, Parameter(negative="")]
Positive = Annotated[int, Parameter(validator=Number(gte=1, lte=1000))]
Hours = Annotated[float, Parameter(validator=Number(gte=0, lte=720))]
TEST_SECONDS = 60.0
"""For which `test` waits at most: several times what one attempt may take."""


@app.command
async def add(
    url: str,
    /,
    *,
    tenant: str,
    event: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json: Json = False,
) -> None:
    """Register an address; its secret is shown this once.

    Args:
        url: Where to POST to, with https://.
        tenant: Whose outcomes it is told of.
        event: A name such as ignition.message.bounced, or ignition.message.* for all that begin so;
            may be given several times. Without it the address is told of everything.
        json: Print one JSON document.
    """
    settings = Settings()
    async with open_database(settings) as database:
        added = await endpoints.add_endpoint(
            database, tenant=tenant, url=url, events=event, actor=actor(), settings=settings
        )
    _show_secret(added, json=json)


@app.command(name="list")
async def list_(*, tenant: str, json: Json = False) -> None:
    """List a tenant's webhooks and how they are.

    Args:
        tenant: Whose.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        rows = [_fields(row) for row in await endpoints.list_endpoints(session, tenant)]
    if json:
        print_json(rows)
        return
    for row in rows:
        row["events"] = " ".join(row["events"])
    print_table(rows, "id", "url", "events", "state", "failures", "reason")


@app.command
async def remove(endpoint: UUID, /, *, tenant: str, json: Json = False) -> None:
    """Remove a webhook; what waits for it is not sent any more.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        json: Print one JSON document.
    """
    async with open_database() as database:
        await endpoints.remove_endpoint(
            database, tenant=tenant, endpoint_id=endpoint, actor=actor()
        )
    _say(json, {"id": str(endpoint), "removed": True}, f"Removed the webhook {endpoint}.")


@app.command
async def enable(endpoint: UUID, /, *, tenant: str, json: Json = False) -> None:
    """Switch a webhook on again; what waited for it goes out.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        json: Print one JSON document.
    """
    await _switch(endpoint, tenant, enabled=True, reason="", json=json)


@app.command
async def disable(endpoint: UUID, /, *, tenant: str, reason: str = "", json: Json = False) -> None:
    """Switch a webhook off; it misses what happens until it is switched on.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        reason: For those who look at the list.
        json: Print one JSON document.
    """
    await _switch(endpoint, tenant, enabled=False, reason=reason, json=json)


@app.command
async def rotate(
    endpoint: UUID, /, *, tenant: str, overlap_hours: Hours = 24.0, json: Json = False
) -> None:
    """Give a webhook a new secret, which is shown this once; meanwhile both sign.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        overlap_hours: For which the secret before signs as well.
        json: Print one JSON document.
    """
    settings = Settings()
    async with open_database(settings) as database:
        rotated = await endpoints.rotate_secret(
            database,
            tenant=tenant,
            endpoint_id=endpoint,
            overlap=timedelta(hours=overlap_hours),
            actor=actor(),
            settings=settings,
        )
    _show_secret(rotated, json=json)


@app.command(name="test")
async def send_test(endpoint: UUID, /, *, tenant: str, json: Json = False) -> int:
    """Send an event that tells of nothing, and say what came back; exit 1 if it was not taken.

    What waits for the webhook goes out with it. One that is switched off gets nothing.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        json: Print one JSON document.
    """
    settings = Settings()
    async with open_database(settings) as database:
        key = await endpoints.add_test(database, tenant=tenant, endpoint_id=endpoint)
        async with WebhookSender(database, settings) as sender:
            await sender.send_due(seconds=TEST_SECONDS)
        async with database.read() as session:
            row = await session.get_one(WebhookDelivery, key)
    if json:
        print_json(_delivery(row))
    elif row.attempts == 0:
        note("It was not tried: the webhook is switched off, or left alone after failures.")
    else:
        words = f"{row.status or 'No answer'} {row.detail}".strip()
        note(f"{'Taken' if row.state == DeliveryState.DELIVERED else 'Not taken'}: {words}")
    return 0 if row.state == DeliveryState.DELIVERED else 1


@app.command
async def deliveries(
    endpoint: UUID,
    /,
    *,
    tenant: str,
    state: DeliveryState | None = None,
    limit: Positive = 50,
    json: Json = False,
) -> None:
    """List a webhook's newest deliveries, the newest first.

    Args:
        endpoint: Its id.
        tenant: Whose it is.
        state: Only those that are pending, delivered or failed.
        limit: How many at most.
        json: Print one JSON document.
    """
    async with open_database() as database, database.read() as session:
        await endpoints.get_endpoint(session, tenant, endpoint)
        found = await endpoints.list_deliveries(session, endpoint, state=state, limit=limit)
        rows = [_delivery(row) for row in found]
    if json:
        print_json(rows)
    else:
        columns = ("id", "name", "outcomes", "state", "attempts", "status", "next_at", "detail")
        print_table(rows, *columns)


@app.command
async def redeliver(
    endpoint: UUID,
    /,
    *,
    tenant: str,
    delivery: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    since: str | None = None,
    json: Json = False,
) -> None:
    """Let failed deliveries go out again, with the same webhook-id and body.

    The flow `outcomes` or `ignition outcomes relay` sends them, each with all its attempts anew.

    Args:
        endpoint: The webhook's id.
        tenant: Whose it is.
        delivery: The id of a failed one, as `deliveries` and the header webhook-id have it; may be
            given several times.
        since: All that failed of those made since then: a duration such as 2d, or a time such as
            2026-11-21T08:00Z.
        json: Print one JSON document.
    """
    if not delivery and since is None:
        raise ConfigurationError(
            "nothing says what is to be sent again.",
            mend="Name deliveries with --delivery ID, or all from a time on with --since 2d.",
        )
    async with open_database() as database:
        done = await redelivering.redeliver(
            database,
            tenant=tenant,
            endpoint_id=endpoint,
            ids=[_key(one) for one in delivery],
            since=since_of(since),
            actor=actor(),
        )
    words = f"{done.count} deliveries go out again."
    if not done.is_enabled:
        words = f"{done.count} deliveries go out again when the webhook is switched on."
    document = {"id": str(endpoint), "redelivered": done.count, "enabled": done.is_enabled}
    _say(json, document, words)


def _key(written: str) -> UUID:
    try:
        return delivery_key(written)
    except ValueError as error:
        raise ConfigurationError(
            f"{written!r} is no delivery.",
            mend="Give an id of `ignition webhook deliveries`, such as msg_019aa5c0….",
        ) from error


async def _switch(endpoint: UUID, tenant: str, *, enabled: bool, reason: str, json: bool) -> None:
    async with open_database() as database:
        changed = await endpoints.switch_endpoint(
            database,
            tenant=tenant,
            endpoint_id=endpoint,
            enabled=enabled,
            reason=reason,
            actor=actor(),
        )
    state = "on" if enabled else "off"
    said = f"The webhook is switched {state}." if changed else f"It was {state} already."
    _say(json, {"id": str(endpoint), "enabled": enabled, "changed": changed}, said)


def _show_secret(given: endpoints.NewSecret, *, json: bool) -> None:
    endpoint = given.endpoint
    if json:
        print_json({**_fields(endpoint), "secret": given.secret})
        return
    # Not as a table: that would break the secret on a narrow terminal.
    for name, value in (("id", endpoint.id), ("url", endpoint.url), ("secret", given.secret)):
        out.print(f"{name:7}{value}", markup=False, soft_wrap=True)
    note("The secret is not shown again. The receiver needs it to verify what comes.")


def _say(json: bool, document: dict[str, Any], words: str) -> None:
    if json:
        print_json(document)
    else:
        note(words)


def _fields(row: WebhookEndpoint) -> dict[str, Any]:
    shown = {"id", "url", "events", "state", "reason", "failures", "failing_since", "created_at"}
    return {
        "id": str(row.id),
        **row.model_dump(include=shown - {"id"}),
    }


def _delivery(row: WebhookDelivery) -> dict[str, Any]:
    shown = {"name", "outcomes", "state", "attempts", "status", "detail", "created_at", "ended_at"}
    waits = row.state == DeliveryState.PENDING
    return {
        "id": webhook_id(row.id),
        **row.model_dump(include=shown),
        "next_at": row.next_at if waits else None,
    }
