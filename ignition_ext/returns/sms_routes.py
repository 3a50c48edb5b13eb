"""Whose a text from a handset is, where tenants share an SMSC account.

Each batch of a campaign notes its tenant, bind and sender. A text belongs to

1. the tenant that whoever listens was told to take texts for;
2. the only tenant that sends by the bind under the sender that the text was sent to, and where
   none does so, the only one that sends by the bind at all;
3. of several such tenants, or of all where none is known to send by the bind, the one whose newest
   run of late had a message for the handset;
4. otherwise nobody in particular, and a STOP counts for each of several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.database import Database, database_now
from ignition_ext.models import CampaignRun, Message, SmsRoute
from ignition_ext.values import Channel

ROUTES: Table = SQLModel.metadata.tables[str(SmsRoute.__tablename__)]
LATELY = timedelta(days=90)
"""Runs that are looked through for a message to a handset: people answer what they remember."""
MOST_RUNS = 500
"""Of those runs, the newest; a look into the index each."""
SENDER_LENGTH = 20


async def note_route(database: Database, *, bind: str, sender: str, tenant_id: int) -> None:
    """Remember that a tenant sends by a bind under a sender; called once a batch."""
    insert = postgresql.insert if database.dialect == "postgresql" else sqlite.insert
    async with database.write() as session:
        now = await database_now(session)
        statement = insert(ROUTES).values(
            bind=bind, sender=sender[:SENDER_LENGTH], tenant_id=tenant_id, used_at=now
        )
        await (await session.connection()).execute(
            statement.on_conflict_do_update(
                index_elements=["bind", "sender", "tenant_id"], set_={"used_at": now}
            )
        )


async def owners_of(
    session: AsyncSession, *, bind: str, destination: str, handset: str
) -> Sequence[int]:
    """The tenants that a text may be meant for: one where it can be told, else each.

    Args:
        session: sees the routes.
        bind: that it came to.
        destination: the number or name of ours that it was sent to.
        handset: who sent it, as messages write the number.
    """
    routes = (await session.exec(select(SmsRoute).where(SmsRoute.bind == bind))).all()
    fitting = [route for route in routes if _same(route.sender, destination)]
    tenants = sorted({route.tenant_id for route in fitting or routes})
    if len(tenants) == 1:
        return tenants
    newest = await _newest_sender(session, tenants, handset)
    return tenants if newest is None else [newest]


async def was_written_to(session: AsyncSession, tenant_id: int, handset: str) -> bool:
    """Whether a run of late had a message for the handset."""
    return await _newest_sender(session, [tenant_id], handset) is not None


async def _newest_sender(session: AsyncSession, tenants: Sequence[int], handset: str) -> int | None:
    since = await database_now(session) - LATELY
    runs = (
        select(CampaignRun.id)
        .where(CampaignRun.run_at > since)
        .order_by(col(CampaignRun.run_at).desc())
        .limit(MOST_RUNS)
    )
    if tenants:
        runs = runs.where(col(CampaignRun.tenant_id).in_(tenants))
    query = (
        select(Message.tenant_id)
        .where(
            col(Message.run_id).in_(runs),
            Message.channel == Channel.SMS.value,
            Message.address == handset,
        )
        .order_by(col(Message.run_at).desc())
        .limit(1)
    )
    return (await session.exec(query)).first()


def _same(sender: str, destination: str) -> bool:
    """Whether a sender and what a handset wrote to are one: ``+49 170`` and ``49170``."""
    return _plain(sender) == _plain(destination) != ""


def _plain(name: str) -> str:
    return re.sub(r"[\s+.\-/()]", "", name).casefold()
