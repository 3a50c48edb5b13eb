"""How fast a run sent, read from its messages."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Integer, cast, extract, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.delivery.chart import Pace
from ignition_ext.models import Message
from ignition_ext.values import RunRef

SLICES = 60
"""Points of the curve: as many as its width can show apart."""


async def read_pace(session: AsyncSession, run: RunRef) -> Pace | None:
    """Messages sent in at most :data:`SLICES` equal parts of the time; None when none was sent."""
    of_run = (
        col(Message.run_id) == run.id,
        col(Message.run_at) == run.run_at,
        col(Message.sent_at).is_not(None),
    )
    first, last = (
        await session.exec(
            select(func.min(Message.sent_at), func.max(Message.sent_at)).where(*of_run)
        )
    ).one()
    if first is None or last is None:
        return None
    width = max(1, -(-(int((last - first).total_seconds()) + 1) // SLICES))
    # Whole seconds since 1970 on both databases; SQLite's STRFTIME knows no fractions.
    second = cast(func.floor(extract("epoch", col(Message.sent_at))), Integer)
    index = ((second - int(first.timestamp())) // width).label("slice")
    rows = await session.exec(select(index, func.count()).where(*of_run).group_by(index))
    counted = {int(slice_): count for slice_, count in rows}
    return Pace(
        slices=[counted.get(number, 0) for number in range(max(counted) + 1)],
        slice_seconds=width,
        begin=_clock(first),
        end=_clock(last),
    )


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S UTC")
