"""What a person chose: channels, the one liked best, topics.

A channel that is switched off is a suppression with the reason ``opt_out``, as a STOP or an
unsubscribe link leaves one: there is one list that says whom not to write to, and one place that
asks it. Beside it stands only what is not about a whole channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from ignition_ext import audit
from ignition_ext.consent.addresses import normalise
from ignition_ext.consent.forgotten import forgotten
from ignition_ext.consent.persons import addresses_of
from ignition_ext.consent.suppressions import (
    ACTOR_LENGTH,
    SuppressionReason,
    is_postgres,
    lift,
    suppress,
)
from ignition_ext.errors import ConfigurationError, NotFoundError
from ignition_ext.models import Preference, Suppression, Tenant, TenantSetting
from ignition_ext.models.types import utc_now
from ignition_ext.tenants import PREFERENCE_TOPICS
from ignition_ext.values import Channel

SWITCHED_ON, SWITCHED_OFF = "switched on in the preferences", "switched off in the preferences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What is known of a person's wishes.

    Attributes:
        addresses: the person's, by channel; one of them was asked for.
        allowed: whether each of these channels may be used.
        barred: channels that the person did not switch off, and cannot switch on: a mailbox that
            bounces, a complaint, an operator's decision.
        preferred: the channel liked best; None without a choice.
        topics: of the tenant's topics, which are wanted.
    """

    addresses: Mapping[Channel, str]
    allowed: Mapping[Channel, bool]
    barred: frozenset[Channel] = frozenset()
    preferred: Channel | None = None
    topics: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a person chooses; a channel or topic that is not named stays as it is.

    Attributes:
        allowed: channels switched on or off.
        preferred: the channel liked best; None for no choice.
        topics: wanted or not.
    """

    allowed: Mapping[Channel, bool] = field(default_factory=dict)
    preferred: Channel | None = None
    topics: Mapping[str, bool] = field(default_factory=dict)


async def read_preferences(
    session: AsyncSession, *, tenant_id: int, channel: Channel, address: str
) -> Preferences:
    """What the person at an address chose; everything is wanted where nothing was chosen.

    Args:
        session: reading or writing.
        tenant_id: whose recipient.
        channel: the address's.
        address: in any spelling.

    Raises:
        AudienceError: it is no address.
        NotFoundError: there is no such tenant.
    """
    addresses = await _person(session, tenant_id, channel, address)
    reasons = {one: await _reason(session, tenant_id, one, addresses[one]) for one in addresses}
    row = await _row(session, tenant_id, channel, addresses[channel])
    chosen = {} if row is None else row.topics
    topics = await tenant_topics(session, tenant_id)
    return Preferences(
        addresses=addresses,
        allowed={one: reason is None for one, reason in reasons.items()},
        barred=frozenset(
            one
            for one, reason in reasons.items()
            if reason not in (None, SuppressionReason.OPT_OUT)
        ),
        preferred=Channel(row.preferred) if row is not None and row.preferred else None,
        topics={topic: bool(chosen.get(topic, True)) for topic in topics},
    )


async def set_preferences(
    session: AsyncSession,
    *,
    tenant_id: int,
    channel: Channel,
    address: str,
    choices: Choices,
    actor: str,
) -> None:
    """Store what the person at an address chose, for all addresses of that person.

    Switching a channel on takes back the person's own opt-out and nothing else. Audited, without
    addresses; it comes last, so do nothing long after it in the transaction.

    Args:
        session: of ``Database.write()``.
        tenant_id: whose recipient.
        channel: the address's.
        address: in any spelling.
        choices: what changes.
        actor: who, as in the audit log.

    Raises:
        AudienceError: it is no address.
        ConfigurationError: a topic is none of the tenant's, or no address of the person's is
            known for a channel.
        NotFoundError: there is no such tenant.
    """
    addresses = await _person(session, tenant_id, channel, address)
    _require_known("topic", choices.topics, await tenant_topics(session, tenant_id))
    _require_known("channel", choices.allowed, list(addresses))
    changed = False
    for to in addresses.items():
        changed |= await _choose(session, tenant_id, to, choices, actor)
    for one, wanted in choices.allowed.items():
        await _switch(session, tenant_id, (one, addresses[one]), wanted=wanted, actor=actor)
    if changed:
        await audit.record(
            session,
            tenant_id=tenant_id,
            actor=actor,
            action="preference.changed",
            subject=f"preference:{channel.value}",
            after={"preferred": choices.preferred, "topics": dict(choices.topics)},
        )


async def tenant_topics(session: AsyncSession, tenant_id: int) -> Sequence[str]:
    """The topics that a tenant's recipients may choose among; none where it set none."""
    row = await session.get(TenantSetting, (tenant_id, PREFERENCE_TOPICS))
    return [] if row is None else list(row.value)


async def _person(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str
) -> Mapping[Channel, str]:
    tenant = await session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFoundError(f"there is no tenant {tenant_id}.", mend="Run: ignition tenant list")
    spelled = normalise(channel, address, tenant.region)
    return await addresses_of(session, tenant_id=tenant_id, channel=channel, address=spelled)


async def _reason(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str
) -> str | None:
    query = select(Suppression.reason).where(
        Suppression.tenant_id == tenant_id,
        Suppression.channel == channel.value,
        Suppression.address == address,
    )
    found = (await session.exec(query)).one_or_none()
    if found is not None:
        return found
    return (await forgotten(session, tenant_id, channel, [address])).get(address)


async def _row(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str
) -> Preference | None:
    return (await session.exec(_query(tenant_id, channel, address))).one_or_none()


def _query(tenant_id: int, channel: Channel, address: str) -> SelectOfScalar[Preference]:
    return select(Preference).where(
        Preference.tenant_id == tenant_id,
        Preference.channel == channel.value,
        Preference.address == address,
    )


async def _choose(
    session: AsyncSession, tenant_id: int, to: tuple[Channel, str], choices: Choices, actor: str
) -> bool:
    """Store a liking and topics for one address; returns whether anything changed."""
    channel, address = to
    insert = postgresql.insert if is_postgres(session) else sqlite.insert
    fresh = Preference(tenant_id=tenant_id, channel=channel.value, address=address)
    await (await session.connection()).execute(
        insert(Preference)
        .values(**fresh.model_dump(exclude={"id"}))
        .on_conflict_do_nothing(index_elements=["tenant_id", "channel", "address"])
    )
    locked = _query(tenant_id, channel, address).with_for_update()
    row = (await session.exec(locked.execution_options(populate_existing=True))).one()
    preferred = None if choices.preferred is None else choices.preferred.value
    topics = {**row.topics, **choices.topics}
    if (row.preferred, row.topics) == (preferred, topics):
        return False
    row.preferred, row.topics = preferred, topics
    row.actor, row.updated_at = actor[:ACTOR_LENGTH], utc_now()
    session.add(row)
    return True


async def _switch(
    session: AsyncSession, tenant_id: int, to: tuple[Channel, str], *, wanted: bool, actor: str
) -> None:
    channel, address = to
    if wanted:
        await lift(
            session,
            tenant_id=tenant_id,
            channel=channel,
            addresses=[address],
            actor=actor,
            detail=SWITCHED_ON,
            only_reason=SuppressionReason.OPT_OUT,
        )
    else:
        await suppress(
            session,
            tenant_id=tenant_id,
            channel=channel,
            addresses=[address],
            reason=SuppressionReason.OPT_OUT,
            detail=SWITCHED_OFF,
            actor=actor,
        )


def _require_known(kind: str, named: Mapping[Any, bool], known: Sequence[Any]) -> None:
    strange = [str(name) for name in named if name not in known]
    if strange:
        raise ConfigurationError(
            f"{kind} {', '.join(strange)} cannot be chosen here.",
            mend=f"Choose among: {', '.join(str(name) for name in known) or 'nothing'}.",
        )
