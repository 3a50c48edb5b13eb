"""Answers to keywords: written down with the keyword, sent once at most by a listening bind.

A reply is a message without a run. It has a row of its own, ``sms_reply``, with one of these
states: pending → sending → sent, failed or uncertain; pending → expired or suppressed. What a
listener that died had under way is uncertain and stays so. No receipt is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, assert_never

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.smpp.message import SmsEnvelope
from ignition_ext.consent.forgotten import forgotten
from ignition_ext.costs.answers import charge_answer
from ignition_ext.database import Database, database_now
from ignition_ext.ledger.rows import CODE_LENGTH, DETAIL_LENGTH, ID_LENGTH, clean
from ignition_ext.models import InboundMessage, ReplyState, SmsReply, Suppression
from ignition_ext.returns.keywords import Keyword
from ignition_ext.schema import database_errors
from ignition_ext.values import Channel, Delivery, MessageId, OutcomeKind

logger = logging.getLogger(__name__)

ONCE_IN = timedelta(hours=24)
"""A number is answered the same keyword once in this time, however often it says so; also how
long an answer waits for a bind to be sent by."""
MOST_ATTEMPTS = 3
"""Of an answer that the SMSC refuses for now."""
LOOK_SECONDS = 5.0
"""Between two looks for answers that texts on other binds of the account are worth."""
Send = Callable[[SmsEnvelope], Awaitable[Delivery]]


async def plan_reply(
    session: AsyncSession,
    row: InboundMessage,
    *,
    tenant_id: int,
    keyword: Keyword,
    language: str,
    text: str,
) -> int:
    """Write an answer down, unless the number had the same lately or must not be written to."""
    now = await database_now(session)
    lately = select(SmsReply.id).where(
        SmsReply.tenant_id == tenant_id,
        SmsReply.destination == row.source,
        SmsReply.keyword == keyword.value,
        SmsReply.created_at > now - ONCE_IN,
    )
    if (await session.exec(lately.limit(1))).first() is not None:
        return 0
    if not await _may_be_answered(session, tenant_id, row.source, keyword):
        return 0
    session.add(
        SmsReply(
            created_at=now,
            tenant_id=tenant_id,
            inbound_id=row.id,
            bind=row.bind,
            source=row.destination[:20],
            destination=row.source,
            keyword=keyword.value,
            language=language[:8],
            text=text,
            updated_at=now,
        )
    )
    await session.flush()
    return 1


async def _may_be_answered(
    session: AsyncSession, tenant_id: int, address: str, keyword: Keyword
) -> bool:
    """Whether a number may be written to; after a STOP once more, to confirm it."""
    query = select(Suppression.reason).where(
        Suppression.tenant_id == tenant_id,
        Suppression.channel == Channel.SMS.value,
        Suppression.address == address,
    )
    reason = (await session.exec(query)).first()
    if reason is None:
        # Whoever was forgotten stands there by a hash alone.
        kept_out = await forgotten(session, tenant_id, Channel.SMS, [address])
        reason = kept_out.get(address)
    return reason is None or (keyword is Keyword.STOP and reason == "opt_out")


class Replies:
    """Sends the answers of one bind, one after the other.

    Args:
        database: Ignition's.
        bind: ``host:port/system_id``.
        send: sends one text; raises ``ConnectionError`` while it cannot.
        seconds_a_part: the least time between two parts, by the bind's rate.
    """

    def __init__(
        self, database: Database, bind: str, send: Send, *, seconds_a_part: float = 0
    ) -> None:
        self._database, self._bind, self._send = database, bind, send
        self._seconds_a_part = seconds_a_part
        self._some = asyncio.Event()

    def wake(self) -> None:
        """An answer was written down."""
        self._some.set()

    async def forget_lost(self) -> int:
        """What a listener before this one had under way is uncertain; returns how many."""
        return await self._mark(ReplyState.SENDING, ReplyState.UNCERTAIN, "its sender was lost")

    async def expire(self) -> int:
        """What waited too long is not sent any more; returns how many."""
        words = "no bind to send by within a day"
        return await self._mark(ReplyState.PENDING, ReplyState.EXPIRED, words, older=ONCE_IN)

    async def run(self, bound: asyncio.Event) -> None:
        """Send what is written down while ``bound``, until cancelled."""
        while True:
            await bound.wait()
            self._some.clear()
            try:
                while bound.is_set() and await self._send_one():
                    pass
            except Exception:
                logger.exception("answers to keywords wait")
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._some.wait()
            except TimeoutError:
                continue

    async def _send_one(self) -> bool:
        """Send the oldest; False when there is none, or nothing can be sent now."""
        reply = await self._begin()
        if reply is None:
            return False
        if reply.state == ReplyState.SUPPRESSED:
            return True
        envelope = SmsEnvelope(
            message_id=MessageId(reply.id),
            source=reply.source,
            destination=reply.destination,
            text=reply.text,
            wants_receipt=False,
        )
        try:
            delivery = await self._send(envelope)
        except ConnectionError as error:
            await self._end(reply, ReplyState.PENDING, detail=str(error), attempts=0)
            return False
        await self._settle(reply, delivery)
        await asyncio.sleep(self._seconds_a_part * max(len(delivery.parts), 1))
        return delivery.outcome.kind is not OutcomeKind.DEFERRED

    async def _begin(self) -> SmsReply | None:
        """Mark the oldest as being sent: from now on it is not sent again."""
        with database_errors(self._database):
            async with self._database.write() as session:
                now = await database_now(session)
                query = (
                    select(SmsReply)
                    .where(
                        SmsReply.bind == self._bind,
                        SmsReply.state == ReplyState.PENDING.value,
                        SmsReply.created_at > now - ONCE_IN,
                    )
                    .order_by(col(SmsReply.attempts), col(SmsReply.created_at))
                    .limit(1)
                )
                reply = (await session.exec(query)).first()
                if reply is None:
                    return None
                may = await _may_be_answered(
                    session, reply.tenant_id, reply.destination, Keyword(reply.keyword)
                )
                reply.state = ReplyState.SENDING if may else ReplyState.SUPPRESSED
                reply.updated_at = now
                session.add(reply)
        return reply

    async def _settle(self, reply: SmsReply, delivery: Delivery) -> None:
        outcome = delivery.outcome
        match outcome.kind:
            case OutcomeKind.ACCEPTED:
                state = ReplyState.SENT
            case OutcomeKind.REJECTED:
                state = ReplyState.FAILED
            case OutcomeKind.UNCERTAIN:
                state = ReplyState.UNCERTAIN
            case OutcomeKind.DEFERRED | OutcomeKind.UNSENT:
                is_last = reply.attempts + 1 >= MOST_ATTEMPTS
                state = ReplyState.FAILED if is_last else ReplyState.PENDING
            case _:
                assert_never(outcome.kind)
        await self._end(
            reply,
            state,
            code=outcome.code,
            detail=outcome.text,
            provider_id=outcome.provider_id,
            delivery=delivery,
        )

    async def _end(
        self,
        reply: SmsReply,
        state: ReplyState,
        *,
        code: str = "",
        detail: str = "",
        provider_id: str = "",
        delivery: Delivery | None = None,
        attempts: int = 1,
    ) -> None:
        values: dict[str, Any] = {
            "state": state.value,
            "attempts": reply.attempts + attempts,
            "code": clean(code, CODE_LENGTH),
            "detail": clean(detail, DETAIL_LENGTH),
            "provider_id": clean(provider_id, ID_LENGTH),
            "parts": 0 if delivery is None else len(delivery.parts),
        }
        with database_errors(self._database):
            async with self._database.write() as session:
                if delivery is not None:
                    values |= await _charge(session, reply, delivery)
                now = await database_now(session)
                statement = (
                    update(SmsReply)
                    .where(col(SmsReply.id) == reply.id)
                    .values(**values, updated_at=now)
                )
                await session.exec(statement)

    async def _mark(
        self, old: ReplyState, new: ReplyState, detail: str, *, older: timedelta = timedelta(0)
    ) -> int:
        with database_errors(self._database):
            async with self._database.write() as session:
                now = await database_now(session)
                statement = (
                    update(SmsReply)
                    .where(
                        col(SmsReply.bind) == self._bind,
                        col(SmsReply.state) == old.value,
                        col(SmsReply.created_at) <= now - older,
                    )
                    .values(state=new.value, detail=detail, updated_at=now)
                )
                return int((await session.exec(statement)).rowcount)


async def _charge(session: AsyncSession, reply: SmsReply, delivery: Delivery) -> dict[str, Any]:
    """What is to be written down of an answer's cost; budgets are told of it."""
    kinds = [part.outcome.kind for part in delivery.parts]
    accepted = kinds.count(OutcomeKind.ACCEPTED)
    uncertain = kinds.count(OutcomeKind.UNCERTAIN)
    if not accepted + uncertain:
        return {}
    cost = await charge_answer(
        session,
        tenant_id=reply.tenant_id,
        number=reply.destination,
        accepted=accepted,
        uncertain=uncertain,
    )
    values: dict[str, Any] = {"segments": reply.segments + accepted}
    if cost is None or not accepted:
        return values
    micros = None if cost.micros is None else (reply.micros or 0) + cost.micros
    return values | {
        "card_id": cost.card,
        "currency": cost.currency,
        "micros": micros,
        "charged_at": await database_now(session),
    }
