"""What a bounce or complaint means for the address: who is written to no more, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.channels.reports import ReportKind
from ignition_ext.channels.reports.status import judge
from ignition_ext.channels.smtp.classify import names_bad_address
from ignition_ext.consent.suppressions import SuppressionReason, suppress
from ignition_ext.models import TenantSetting
from ignition_ext.returns.mail_rows import REPORTS, MatchedBy, RowState
from ignition_ext.tenants import SOFT_BOUNCES, SOFT_DAYS
from ignition_ext.values import Channel, FailureClass

DEFAULT_SOFT_BOUNCES, DEFAULT_SOFT_DAYS = 5, 14
SOFT_CLASSES = frozenset(
    {FailureClass.MAILBOX, FailureClass.CONNECTION, FailureClass.SYSTEM, FailureClass.ADDRESS}
)
"""Failures that say something of the address. ``address`` is here for what is no proof that it
does not exist; policy, content and sender are our fault and never count."""
ACTOR = "bounces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """One message that came back, as far as its address is concerned."""

    tenant_id: int
    address: str
    kind: ReportKind
    failure_class: FailureClass | None
    status: str
    is_hard: bool
    by: MatchedBy


@dataclass(frozen=True, slots=True)
class _Verdict:
    tenant_id: int
    reason: SuppressionReason
    detail: str


async def judge_addresses(session: AsyncSession, returned: Sequence[Returned]) -> int:
    """Suppress what must not be written to any more; returns how many addresses are new.

    The reports are stored and settled already, in this transaction or before it.
    """
    limits = {
        tenant_id: await _soft_limit(session, tenant_id)
        for tenant_id in sorted({one.tenant_id for one in returned})
    }
    counts: dict[tuple[int, str], int] = {}
    for tenant_id, (_, days) in limits.items():
        soft = [one for one in returned if one.tenant_id == tenant_id and _is_soft(one)]
        counts |= await _count_soft(session, tenant_id, {one.address for one in soft}, days)
    verdicts: dict[_Verdict, dict[str, None]] = {}
    for one in returned:
        verdict = _at_once(one)
        if verdict is None and _is_soft(one):
            count = counts.get((one.tenant_id, one.address), 0)
            verdict = _by_count(one.tenant_id, count, *limits[one.tenant_id])
        if verdict is not None:
            verdicts.setdefault(verdict, {})[one.address] = None
    new = 0
    for verdict, addresses in verdicts.items():
        new += await suppress(
            session,
            tenant_id=verdict.tenant_id,
            channel=Channel.EMAIL,
            addresses=list(addresses),
            reason=verdict.reason,
            detail=verdict.detail,
            actor=ACTOR,
        )
    return new


def is_hard_refusal(code: str, enhanced: str, words: str) -> bool:
    """Whether a refusal during a run says for good that the address does not exist.

    A bare 550 says nothing by itself: old servers use it for anything. Then the words decide.
    """
    if enhanced:
        return code.startswith("5") and names_bad_address(enhanced)
    return judge("", f"{code} {words}").is_hard


def _at_once(one: Returned) -> _Verdict | None:
    # Whoever knows an address can write a report about it: without token or id nobody is struck
    # off the list for a single one.
    if one.by is MatchedBy.RECIPIENT:
        return None
    if one.kind is ReportKind.COMPLAINT:
        return _Verdict(one.tenant_id, SuppressionReason.COMPLAINT, "complained to the provider")
    if one.kind is ReportKind.BOUNCE and one.is_hard:
        told = one.status or "no such address"
        return _Verdict(one.tenant_id, SuppressionReason.BOUNCE, f"the address is refused: {told}")
    return None


def _is_soft(one: Returned) -> bool:
    return one.kind is ReportKind.BOUNCE and one.failure_class in SOFT_CLASSES


def _by_count(tenant_id: int, count: int, most: int, days: int) -> _Verdict | None:
    if count < most:
        return None
    detail = f"{most} messages came back within {days} days"
    return _Verdict(tenant_id, SuppressionReason.BOUNCE, detail)


async def _count_soft(
    session: AsyncSession, tenant_id: int, addresses: set[str], days: int
) -> dict[tuple[int, str], int]:
    """How many messages to each address came back within the days."""
    if not addresses:
        return {}
    rows = REPORTS.c
    statement = (
        select(rows.address, func.count(rows.message_id.distinct()))
        .where(
            rows.tenant_id == tenant_id,
            rows.address.in_(sorted(addresses)),
            rows.received_at > datetime.now(UTC) - timedelta(days=days),
            rows.state == RowState.SETTLED.value,
            rows.kind == ReportKind.BOUNCE.value,
            rows.failure_class.in_([known.value for known in SOFT_CLASSES]),
        )
        .group_by(rows.address)
    )
    found = await (await session.connection()).execute(statement)
    return {(tenant_id, address): int(count) for address, count in found}


async def _soft_limit(session: AsyncSession, tenant_id: int) -> tuple[int, int]:
    statement = select(col(TenantSetting.key), col(TenantSetting.value)).where(
        col(TenantSetting.tenant_id) == tenant_id,
        col(TenantSetting.key).in_([SOFT_BOUNCES, SOFT_DAYS]),
    )
    found = (await (await session.connection()).execute(statement)).all()
    values: Mapping[str, int] = {key: int(value) for key, value in found}
    return (
        values.get(SOFT_BOUNCES, DEFAULT_SOFT_BOUNCES),
        values.get(SOFT_DAYS, DEFAULT_SOFT_DAYS),
    )
