"""Why messages of a run did not get through, in groups: the dead letters of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Table, func, select
from sqlmodel import SQLModel

from ignition_ext.database import Database
from ignition_ext.models import Message
from ignition_ext.values import MessageState, RunRef

By = Literal["class", "code", "domain"]
_MESSAGES: Table = SQLModel.metadata.tables[str(Message.__tablename__)]
NOT_THROUGH = (
    MessageState.FAILED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
    MessageState.UNCERTAIN,
    MessageState.DEFERRED,
)
"""States that say why; an open message without a refusal has nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Messages that did not get through for one reason.

    Attributes:
        key: the failure class, the server's code, or the domain.
        messages: how many.
        redrivable: those of them in state ``failed``, which a redrive sends again.
        example: what a server said to one of them.
        last_at: when the last of them got its state.
    """

    key: str
    messages: int
    redrivable: int
    example: str
    last_at: datetime


async def failures_by(database: Database, run: RunRef, by: By) -> Sequence[Failures]:
    """The groups of a run's messages that did not get through, the largest first."""
    columns = _MESSAGES.c
    key = _key(by, columns)
    messages = func.count()
    failed = func.count().filter(columns.state == MessageState.FAILED.value)
    query = (
        select(key, messages, failed, func.max(columns.detail), func.max(columns.updated_at))
        .where(
            columns.run_id == run.id,
            columns.state.in_([state.value for state in NOT_THROUGH]),
        )
        .group_by(key)
        .order_by(messages.desc(), key)
    )
    async with database.read() as session:
        rows = await (await session.connection()).execute(query)
    return [
        Failures(key=row[0], messages=row[1], redrivable=row[2], example=row[3], last_at=row[4])
        for row in rows
    ]


def _key(by: By, columns: Any) -> ColumnElement[str]:
    match by:
        case "class":
            # A server that was never reached says nothing: the state is all there is to say.
            key = func.coalesce(columns.failure_class, columns.state)
        case "code":
            said = func.trim(columns.code + " " + columns.enhanced)
            key = func.coalesce(func.nullif(said, ""), columns.state)
        case "domain":
            key = columns.domain
    return cast("ColumnElement[str]", key)
