"""All that is known to have happened between a tenant and one recipient, in one order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.consent.addresses import channel_of, normalise
from ignition_ext.consent.forgotten import forgotten
from ignition_ext.consent.persons import addresses_of
from ignition_ext.database import Database
from ignition_ext.ledger.erasure import find_messages
from ignition_ext.ledger.fallback_counts import fallbacks_of
from ignition_ext.models import metadata
from ignition_ext.tenants import get_tenant
from ignition_ext.values import Channel

T = metadata.tables
ENDED = {
    "failed": "failed",
    "bounced": "bounced",
    "expired": "expired",
    "uncertain": "may not have arrived",
}
CHUNK = 500
"""Keys in one question: below any database's limit of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened.

    Attributes:
        kind: message, fallback, receipt, report, open, click, text, reply, suppression or
            preference.
        what: a state, status or choice, in a word or two.
        detail: in the words of whoever told it.
        campaign: the campaign's name; None for what is of none.
    """

    at: datetime
    channel: Channel
    kind: str
    what: str
    detail: str = ""
    code: str = ""
    campaign: str | None = None
    message_id: UUID | None = None
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A recipient's.

    Attributes:
        addresses: the person's, by channel.
        kept_out: channels on which only a hash keeps the person suppressed, with the reason.
        moments: the oldest first.
    """

    addresses: Mapping[Channel, str]
    kept_out: Mapping[Channel, str]
    moments: Sequence[Moment]


async def read_timeline(database: Database, *, tenant: str, address: str) -> Timeline:
    """Everything on both channels and in all campaigns, from one state of the database.

    Receipts without a message are looked for in the whole table.

    Args:
        database: Ignition's.
        tenant: whose recipient.
        address: an email address or a telephone number; the person's other one is shown too where
            a row of an audience ties the two.

    Raises:
        AudienceError: it is no address.
        NotFoundError: there is no such tenant.
    """
    async with database.read() as session:
        owner = await get_tenant(session, tenant)
        tenant_id, channel = owner.id or 0, channel_of(address)
        spelled = normalise(channel, address, owner.region)
        addresses = await addresses_of(
            session, tenant_id=tenant_id, channel=channel, address=spelled
        )
        found = await find_messages(await session.connection(), tenant_id, addresses)
        ids = [row.id for row in found]
        links = await fallbacks_of(session, ids)
        ids += [link.sms_id for link in links]
        moments = await _of_messages(session, list(dict.fromkeys(ids)))
        moments += [_of_fallback(link) for link in links]
        for one, written in addresses.items():
            moments += await _of_address(session, tenant_id, one, written)
        return Timeline(
            addresses=addresses,
            kept_out={
                one: reason
                for one, written in addresses.items()
                for reason in (await forgotten(session, tenant_id, one, [written])).values()
            },
            moments=sorted(moments, key=lambda moment: moment.at),
        )


async def _of_messages(session: AsyncSession, ids: Sequence[UUID]) -> list[Moment]:
    moments: list[Moment] = []
    rest = iter(ids)
    while chunk := list(islice(rest, CHUNK)):
        messages = {row.id: row for row in await _rows(session, _messages(chunk))}
        moments += [
            _of_message(row, "message", at=row.created_at, what="pending")
            for row in messages.values()
        ]
        for row in await _rows(session, _events(chunk)):
            words = {"at": row.at, "what": row.new_state, "detail": row.detail, "code": row.code}
            moments.append(_of_message(messages[row.message_id], "message", **words))
        for row in await _rows(session, _tracked(chunk)):
            words = {"at": row.at, "what": row.agent, "detail": row.url or ""}
            moments.append(_of_message(messages[row.message_id], row.kind, **words))
    return moments


def _of_fallback(link: Row[Any]) -> Moment:
    reason = f"instead of an email that {ENDED[link.cause]}"
    return Moment(
        at=link.at,
        channel=Channel.SMS,
        kind="fallback",
        what=link.cause,
        detail=reason if link.failure_class is None else f"{reason}: {link.failure_class}",
        campaign=link.name,
        message_id=link.sms_id,
        run_id=link.sms_run_id,
    )


def _of_message(message: Row[Any], kind: str, **words: Any) -> Moment:
    return Moment(
        kind=kind,
        channel=Channel(message.channel),
        campaign=message.name,
        message_id=message.id,
        run_id=message.run_id,
        **words,
    )


def _messages(ids: Sequence[UUID]) -> Select[Any]:
    message, run, campaign = T["message"], T["campaign_run"], T["campaign"]
    return (
        select(message, campaign.c.name)
        .outerjoin(run, run.c.id == message.c.run_id)
        .outerjoin(campaign, campaign.c.id == run.c.campaign_id)
        .where(message.c.id.in_(ids))
    )


def _events(ids: Sequence[UUID]) -> Select[Any]:
    event = T["message_event"]
    query = select(event).where(event.c.message_id.in_(ids))
    return query.order_by(event.c.message_id, event.c.seq)


def _tracked(ids: Sequence[UUID]) -> Select[Any]:
    event, url = T["tracking_event"], T["tracked_url"]
    joined = select(event, url.c.url).outerjoin(url, url.c.id == event.c.url_id)
    return joined.where(event.c.message_id.in_(ids))


async def _of_address(
    session: AsyncSession, tenant_id: int, channel: Channel, address: str
) -> list[Moment]:
    moments: list[Moment] = []
    for source in SOURCES:
        if source.channel in (None, channel):
            query = source.query(tenant_id, channel, address)
            moments += [source.moment(row, channel) for row in await _rows(session, query)]
    return moments


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A table that knows addresses, and which of its columns say when and what.

    Attributes:
        channel: whose addresses it knows; None where a column says it.
    """

    kind: str
    table: str
    channel: Channel | None
    at: str
    what: str
    detail: str
    address: str = "address"
    others: Sequence[str] = ()

    def query(self, tenant_id: int, channel: Channel, address: str) -> Select[Any]:
        """The table's rows about an address; those that belong to no tenant yet are shown too."""
        table = T[self.table]
        # Gateways leave the plus sign of a number out.
        theirs = table.c[self.address].in_((address, address.removeprefix("+")))
        of_tenant = or_(table.c.tenant_id == tenant_id, table.c.tenant_id.is_(None))
        query = select(table).where(of_tenant, theirs)
        return query if self.channel else query.where(table.c.channel == channel.value)

    def moment(self, row: Row[Any], channel: Channel) -> Moment:
        """A row as what happened."""
        values = row._mapping
        return Moment(
            at=values[self.at],
            channel=channel,
            kind=self.kind,
            what=str(values[self.what] or ""),
            detail=_words(values[self.detail]),
            **{name: values[name] for name in self.others},
        )


SOURCES = (
    _Source(
        kind="suppression",
        table="suppression",
        channel=None,
        at="created_at",
        what="reason",
        detail="detail",
    ),
    _Source(
        kind="preference",
        table="preference",
        channel=None,
        at="updated_at",
        what="preferred",
        detail="topics",
    ),
    _Source(
        kind="report",
        table="mail_report",
        channel=Channel.EMAIL,
        at="received_at",
        what="kind",
        detail="detail",
        others=("code", "message_id"),
    ),
    _Source(
        kind="receipt",
        table="receipt",
        channel=Channel.SMS,
        at="received_at",
        what="status",
        detail="raw",
        others=("code", "message_id"),
    ),
    _Source(
        kind="text",
        table="inbound_message",
        channel=Channel.SMS,
        at="received_at",
        what="action",
        detail="text",
        address="source",
    ),
    _Source(
        kind="reply",
        table="sms_reply",
        channel=Channel.SMS,
        at="updated_at",
        what="state",
        detail="text",
        address="destination",
        others=("code",),
    ),
)


def _words(value: Any) -> str:
    """A text as it is; chosen topics as a list of them."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {'yes' if wanted else 'no'}" for name, wanted in value.items())
    return str(value or "")


async def _rows(session: AsyncSession, query: Select[Any]) -> Sequence[Row[Any]]:
    return (await (await session.connection()).execute(query)).all()
