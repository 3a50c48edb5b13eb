"""Forgets a person: all that names one goes, what is counted stays, who opted out stays out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, delete, func, or_, select, update
from sqlmodel import SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext import audit
from ignition_ext.consent.addresses import channel_of, normalise
from ignition_ext.consent.forgotten import forgotten, keep_out, make_key
from ignition_ext.consent.persons import addresses_of
from ignition_ext.consent.suppressions import SUPPRESSIONS, SuppressionReason
from ignition_ext.consent.traces import remove_traces
from ignition_ext.database import Database
from ignition_ext.ledger.erasure import erase, find_messages, stop_claims
from ignition_ext.ledger.fallback_people import other_address
from ignition_ext.models import Audience, Preference, RecipientRow
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

RECIPIENTS: Table = SQLModel.metadata.tables[str(RecipientRow.__tablename__)]
PREFERENCES: Table = SQLModel.metadata.tables[str(Preference.__tablename__)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What forgetting a person did, or would do.

    Attributes:
        addresses: the person's, by channel.
        recipients: rows of audiences that are gone.
        messages: messages without address and content now.
        stopped: of these, how many were still to be sent.
        on_the_wire: messages that are being sent at this moment, and stay: call again.
        traces: rows of other tables that named the person, by table.
        kept_out: the channels on which a keyed hash keeps the person suppressed, with the reason.
    """

    addresses: Mapping[Channel, str]
    recipients: int
    messages: int
    stopped: int
    on_the_wire: int
    traces: Mapping[str, int]
    kept_out: Mapping[Channel, str]


class _Rehearsed(Exception):
    """Ends the transaction of a rehearsal, so that nothing of it stays."""


async def forget(
    database: Database,
    *,
    tenant: str,
    address: str,
    suppress: bool = False,
    dry_run: bool = False,
    actor: str,
) -> Forgotten:
    """Erase a person from a tenant's data, in one transaction.

    The person is the address and the address on the other channel, where a row of an audience, or
    else an email that may fall back to a number, ties the two and nobody else shares them. What was
    suppressed stays so, by a keyed hash.

    Args:
        database: Ignition's.
        tenant: whose data.
        address: an email address or a telephone number.
        suppress: keep the person out by hash also on channels that were not suppressed.
        dry_run: do it all, and then take it back.
        actor: for the audit log, which says how much, and not of whom.

    Raises:
        AudienceError: it is no address.
        NotFoundError: there is no such tenant.
    """
    async with database.read() as session:
        owner = await get_tenant(session, tenant)
    tenant_id = owner.id or 0
    channel = channel_of(address)
    spelled = normalise(channel, address, owner.region)
    if not dry_run:
        # Before all else: a claim that begins after this looks for hashes.
        async with database.write() as session:
            await make_key(session, tenant_id)
    done: list[Forgotten] = []
    try:
        async with database.write() as session:
            done.append(await _forget(session, tenant_id, (channel, spelled), suppress))
            if dry_run:
                raise _Rehearsed
            await _record(session, tenant_id, done[0], actor)
    except _Rehearsed:
        pass
    return done[0]


async def _forget(
    session: AsyncSession, tenant_id: int, whom: tuple[Channel, str], suppress: bool
) -> Forgotten:
    connection = await session.connection()
    await make_key(session, tenant_id)
    addresses = await _own(session, tenant_id, *whom)
    known = await find_messages(connection, tenant_id, addresses)
    # Whole tables are read, so before claims have to wait.
    traces = await remove_traces(connection, tenant_id, addresses, {row.id for row in known})
    await stop_claims(connection, tenant_id)
    kept_out = await _keep_out(session, tenant_id, addresses, suppress)
    erased = await erase(session, tenant_id, addresses)
    for table in (SUPPRESSIONS, PREFERENCES):
        for channel, address in addresses.items():
            await connection.execute(
                delete(table).where(
                    table.c.tenant_id == tenant_id,
                    table.c.channel == channel.value,
                    table.c.address == address,
                )
            )
    return Forgotten(
        addresses=addresses,
        recipients=await _delete_recipients(session, tenant_id, addresses),
        messages=len(erased.ids),
        stopped=erased.stopped,
        on_the_wire=erased.on_the_wire,
        traces=traces,
        kept_out=kept_out,
    )


async def _own(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str
) -> Mapping[Channel, str]:
    """The person's addresses, without one that somebody else uses too."""
    found = await addresses_of(session, tenant_id=tenant_id, channel=channel, address=address)
    own = {channel: address}
    for other, written in found.items():
        back = await addresses_of(session, tenant_id=tenant_id, channel=other, address=written)
        if back.get(channel) == address:
            own[other] = written
    if len(found) == 1:
        # No audience names another: emails may have, which fell back or would have.
        told = await other_address(await session.connection(), tenant_id, channel, address)
        if told is not None:
            own[Channel.SMS if channel is Channel.EMAIL else Channel.EMAIL] = told
    return own


async def _keep_out(
    session: AsyncSession, tenant_id: int, addresses: Mapping[Channel, str], suppress: bool
) -> Mapping[Channel, str]:
    kept: dict[Channel, str] = {}
    for channel, address in addresses.items():
        query = select(SUPPRESSIONS.c.reason).where(
            SUPPRESSIONS.c.tenant_id == tenant_id,
            SUPPRESSIONS.c.channel == channel.value,
            SUPPRESSIONS.c.address == address,
        )
        reason = (await (await session.connection()).execute(query)).scalar_one_or_none()
        reason = reason or (SuppressionReason.OPT_OUT.value if suppress else None)
        if reason is not None:
            await keep_out(session, tenant_id, channel, address, reason=reason)
        standing = await forgotten(session, tenant_id, channel, [address])
        if address in standing:
            kept[channel] = standing[address]
    return kept


async def _delete_recipients(
    session: AsyncSession, tenant_id: int, addresses: Mapping[Channel, str]
) -> int:
    connection = await session.connection()
    columns = {Channel.EMAIL: RECIPIENTS.c.email, Channel.SMS: RECIPIENTS.c.phone}
    tests: list[ColumnElement[bool]] = [
        columns[channel] == address for channel, address in addresses.items()
    ]
    theirs = RECIPIENTS.c.tenant_id == tenant_id, or_(*tests)
    sizes = await connection.execute(
        select(RECIPIENTS.c.audience_id, func.count())
        .join(Audience, col(Audience.id) == RECIPIENTS.c.audience_id)
        .where(*theirs, RECIPIENTS.c.generation == Audience.generation)
        .group_by(RECIPIENTS.c.audience_id)
    )
    for audience_id, number in sizes.all():
        await connection.execute(
            update(Audience)
            .where(col(Audience.id) == audience_id)
            .values(size=col(Audience.size) - number)
        )
    return (await connection.execute(delete(RECIPIENTS).where(*theirs))).rowcount


async def _record(session: AsyncSession, tenant_id: int, done: Forgotten, actor: str) -> None:
    await audit.record(
        session,
        tenant_id=tenant_id,
        actor=actor,
        action="recipient.forgotten",
        subject="recipient",
        after={
            "channels": sorted(channel.value for channel in done.addresses),
            "recipients": done.recipients,
            "messages": done.messages,
            "stopped": done.stopped,
            "on_the_wire": done.on_the_wire,
            "traces": dict(done.traces),
            "kept_out": {channel.value: reason for channel, reason in done.kept_out.items()},
        },
    )
