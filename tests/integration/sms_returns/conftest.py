"""A tenant that sends SMS by a bind, and short words for texts that come to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from ignition_ext.channels.smpp import segment
from ignition_ext.channels.smpp.codec import Address, Deliver
from ignition_ext.channels.smpp.incoming import SmsFragment, read_incoming
from ignition_ext.database import Database
from ignition_ext.models import InboundMessage, InboundPart, OutboxEvent, SmsReply, Suppression
from ignition_ext.returns.sms_inbox import SmsInbox
from ignition_ext.returns.sms_routes import note_route
from ignition_ext.tenants import create_tenant, set_tenant_setting

BIND = "127.0.0.1:2775/acme"
PHONE, SENDER = "+4917012345678", "+4915799912345"


def fragment(
    words: str | bytes,
    *,
    source: str = PHONE,
    to: str = SENDER,
    coding: int = 0,
    esm_class: int = 0,
    bind: str = BIND,
    tlvs: Mapping[int, bytes] | None = None,
) -> SmsFragment:
    """One deliver_sm's."""
    deliver = Deliver(
        source=Address(text=source.lstrip("+"), ton=1 if source[:1] == "+" else 0, npi=1),
        destination=Address(text=to.lstrip("+"), ton=1, npi=1),
        esm_class=esm_class,
        data_coding=coding,
        message=words.encode("latin-1") if isinstance(words, str) else words,
        tlvs=tlvs or {},
    )
    return read_incoming(deliver, bind=bind)


def fragments(words: str, *, reference: int = 1, **facts: Any) -> list[SmsFragment]:
    """A text as a handset sends it, in as many parts as it takes."""
    made = segment(words, reference=reference, max_parts=255)
    esm_class = 0x40 if made.has_header else 0
    return [
        fragment(part, coding=made.data_coding, esm_class=esm_class, **facts) for part in made.parts
    ]


@dataclass
class Office:
    """One database, a tenant, and the inbox of its bind."""

    database: Database
    inbox: SmsInbox
    tenant_id: int

    async def get(self, *words: SmsFragment) -> None:
        await self.inbox.store(words)

    async def rows(self, kind: Any, order: Any = None) -> Sequence[Any]:
        async with self.database.read() as session:
            query = select(kind)
            return (await session.exec(query if order is None else query.order_by(order))).all()

    async def texts(self) -> list[InboundMessage]:
        return list(await self.rows(InboundMessage, col(InboundMessage.id)))

    async def parts(self) -> list[InboundPart]:
        return list(await self.rows(InboundPart))

    async def replies(self) -> list[SmsReply]:
        return list(await self.rows(SmsReply, col(SmsReply.id)))

    async def stopped(self) -> dict[str, str]:
        """The suppressed numbers, with their reason."""
        return {row.address: row.reason for row in await self.rows(Suppression)}

    async def events(self) -> list[OutboxEvent]:
        return list(await self.rows(OutboxEvent, col(OutboxEvent.at)))

    async def setting(self, key: str, value: Any) -> None:
        await set_tenant_setting(self.database, tenant="acme", key=key, value=value, actor="test")

    async def age(self, table: str, column: str, by: timedelta) -> None:
        """Let rows be older, as if time had passed in the database."""
        seconds = by.total_seconds()
        past = (
            f"strftime('%Y-%m-%d %H\\:%M\\:%f000', {column}, '-{seconds} second')"
            if self.database.dialect == "sqlite"
            else f"{column} - interval '{seconds} second'"
        )
        async with self.database.engine.begin() as connection:
            await connection.execute(text(f"UPDATE {table} SET {column} = {past}"))


@pytest.fixture
async def office(database: Database) -> Office:
    """Acme sends by the bind from one number."""
    tenant = await create_tenant(
        database, name="acme", title="Acme", region="DE", locale="de", actor="test"
    )
    assert tenant.id is not None
    await note_route(database, bind=BIND, sender=SENDER, tenant_id=tenant.id)
    return Office(database=database, inbox=SmsInbox(database), tenant_id=tenant.id)


@pytest.fixture
def sms() -> SimpleNamespace:
    """Makers of what handsets send."""
    return SimpleNamespace(fragment=fragment, fragments=fragments)
