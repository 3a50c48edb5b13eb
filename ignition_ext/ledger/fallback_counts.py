"""Which emails fell back to text messages, and how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, func, select
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.models import Campaign, CampaignRun, FallbackMessage

CHUNK = 500
"""Keys in one question: below any database's limit of parameters."""
_FALLEN: Table = SQLModel.metadata.tables[str(FallbackMessage.__tablename__)]
_RUNS: Table = SQLModel.metadata.tables[str(CampaignRun.__tablename__)]
_CAMPAIGNS: Table = SQLModel.metadata.tables[str(Campaign.__tablename__)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallen:
    """How many emails of a run fell back so far.

    Attributes:
        by_class: the emails by the class of their last refusal, or by their end.
        text_messages: that go instead of them.
    """

    emails: int
    by_class: Mapping[str, int]
    text_messages: int

    def __str__(self) -> str:
        """``3 emails fell back to 2 text messages (expired 1, mailbox 2)``."""
        classes = ", ".join(f"{name} {count}" for name, count in sorted(self.by_class.items()))
        emails = "1 email" if self.emails == 1 else f"{self.emails} emails"
        texts = (
            "1 text message" if self.text_messages == 1 else f"{self.text_messages} text messages"
        )
        return f"{emails} fell back to {texts} ({classes})"


async def count_fallen(session: AsyncSession, run_id: UUID) -> Fallen | None:
    """How many emails of a run fell back; None where none did.

    Args:
        session: of ``Database.read()``.
        run_id: that of the emails.
    """
    reason = func.coalesce(_FALLEN.c.failure_class, _FALLEN.c.cause)
    mine = _FALLEN.c.run_id == run_id
    connection = await session.connection()
    by_class = select(reason, func.count()).where(mine).group_by(reason).order_by(reason)
    emails = {row[0]: row[1] for row in await connection.execute(by_class)}
    if not emails:
        return None
    texts = select(func.count(_FALLEN.c.sms_id.distinct())).where(mine)
    return Fallen(
        emails=sum(emails.values()),
        by_class=emails,
        text_messages=int((await connection.execute(texts)).scalar_one()),
    )


async def fallbacks_of(session: AsyncSession, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """The rows that say instead of which of some emails a text message goes.

    Each has the campaign's ``name`` too.
    """
    connection = await session.connection()
    found: list[Row[Any]] = []
    for start in range(0, len(ids), CHUNK):
        query = (
            select(_FALLEN, _CAMPAIGNS.c.name)
            .join(_RUNS, _RUNS.c.id == _FALLEN.c.run_id)
            .join(_CAMPAIGNS, _CAMPAIGNS.c.id == _RUNS.c.campaign_id)
            .where(_FALLEN.c.message_id.in_(ids[start : start + CHUNK]))
        )
        found += (await connection.execute(query)).all()
    return found
