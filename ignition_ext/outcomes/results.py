"""What attempts came to: for each delivery, and for the webhook as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.database import Database, database_now
from ignition_ext.models.outcome import DeliveryState, EndpointState
from ignition_ext.outcomes.leases import LEASE, Due, Leased
from ignition_ext.outcomes.outbox import Announcement, EventName, announce
from ignition_ext.outcomes.posting import Answer
from ignition_ext.outcomes.retries import (
    GONE,
    asked_pause,
    is_delivered,
    is_unavailable,
    next_attempt,
    pause,
)
from ignition_ext.outcomes.tables import DELIVERIES, ENDPOINTS

ACTOR = "flow:outcomes"
FEWEST_FAILURES = 5
"""In a row, before a webhook is switched off: days without traffic are no days of failing."""
REASON_LENGTH = 500

Answers = Mapping[Due, Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the answers of one round say of the webhook."""

    delivered: int
    failed: int
    is_failing: bool
    is_gone: bool
    wait_until: datetime | None
    detail: str


def judge(answers: Answers, now: datetime) -> Verdict:
    """It fails where nothing came through; what it asks for holds in any case."""
    delivered = sum(is_delivered(answer.status) for answer in answers.values())
    refused = [answer for answer in answers.values() if not is_delivered(answer.status)]
    asked = [
        until
        for answer in refused
        if is_unavailable(answer.status)
        and (until := asked_pause(answer.retry_after, now)) is not None
    ]
    last = refused[-1] if refused else Answer(status=0)
    return Verdict(
        delivered=delivered,
        failed=len(refused),
        is_failing=not delivered,
        is_gone=any(answer.status == GONE for answer in refused),
        wait_until=max(asked, default=None),
        detail=f"{last.status or 'no answer'}: {last.detail}"[:REASON_LENGTH],
    )


async def settle(
    database: Database,
    leased: Leased,
    answers: Answers,
    *,
    dead_after: timedelta,
    chance: Callable[[], float],
) -> Verdict:
    """Write down what a round came to and renew the lease, in one transaction.

    What was delivered is so whoever holds the lease by now.
    """
    async with database.write() as session:
        connection = await session.connection()
        now = await database_now(session)
        verdict = judge(answers, now)
        await _settle_deliveries(connection, answers, now, chance)
        query = select(ENDPOINTS).where(ENDPOINTS.c.id == leased.endpoint_id).with_for_update()
        row = (await connection.execute(query)).one()
        values = _standing(row, verdict, now, chance)
        if row.lease_id == leased.lease_id:
            values["lease_until"] = now + LEASE
        reason = _why_dead(row, verdict, values, now, dead_after)
        if reason and row.state == EndpointState.ENABLED:
            values |= {"state": EndpointState.DISABLED, "reason": reason}
        await connection.execute(
            update(ENDPOINTS).where(ENDPOINTS.c.id == leased.endpoint_id).values(**values)
        )
        if "state" in values:
            await _tell_disabled(session, leased, reason)
    return verdict


def _standing(
    row: Row[Any], verdict: Verdict, now: datetime, chance: Callable[[], float]
) -> dict[str, Any]:
    if not verdict.is_failing:
        return {"failures": 0, "failing_since": None, "wait_until": verdict.wait_until}
    failures = row.failures + 1
    return {
        "failures": failures,
        "failing_since": row.failing_since or now,
        "wait_until": max(verdict.wait_until or now, pause(failures, now, chance)),
    }


def _why_dead(
    row: Row[Any],
    verdict: Verdict,
    values: Mapping[str, Any],
    now: datetime,
    dead_after: timedelta,
) -> str:
    if verdict.is_gone:
        return "it answered 410 Gone"
    since = values["failing_since"]
    if since is not None and values["failures"] >= FEWEST_FAILURES and now - since >= dead_after:
        words = f"it failed {values['failures']} times since {since:%Y-%m-%d %H:%M} UTC, the last: "
        return (words + verdict.detail)[:REASON_LENGTH]
    return ""


async def _settle_deliveries(
    connection: AsyncConnection, answers: Answers, now: datetime, chance: Callable[[], float]
) -> None:
    rows = []
    for due, answer in answers.items():
        attempts = due.attempts + 1
        again = None if is_delivered(answer.status) else next_attempt(attempts, now, chance)
        state = DeliveryState.PENDING
        if again is None:
            is_done = is_delivered(answer.status)
            state = DeliveryState.DELIVERED if is_done else DeliveryState.FAILED
        rows.append(
            {
                "key": due.id,
                "to_state": state,
                "made": attempts,
                "again": again or now,
                "answered": answer.status,
                "words": answer.detail,
                "ended": None if again else now,
                # Once it is there nobody needs the addresses in it any more.
                "text": "" if state is DeliveryState.DELIVERED else due.body,
            }
        )
    columns = DELIVERIES.c
    await connection.execute(
        update(DELIVERIES)
        .where(columns.id == bindparam("key"), columns.state == DeliveryState.PENDING)
        .values(
            state=bindparam("to_state"),
            attempts=bindparam("made"),
            next_at=bindparam("again"),
            status=bindparam("answered"),
            detail=bindparam("words"),
            ended_at=bindparam("ended"),
            body=bindparam("text"),
        ),
        rows,
    )


async def _tell_disabled(session: AsyncSession, leased: Leased, reason: str) -> None:
    event = Announcement(
        tenant_id=leased.tenant_id,
        name=EventName.WEBHOOK_DISABLED,
        subject=f"webhook:{leased.endpoint_id}",
        payload={"webhook_id": str(leased.endpoint_id), "reason": reason},
    )
    await announce(session, [event])
    await audit.record(
        session,
        tenant_id=leased.tenant_id,
        actor=ACTOR,
        action="webhook.disabled",
        subject=f"webhook:{leased.endpoint_id}",
        after={"state": EndpointState.DISABLED.value, "reason": reason},
    )
