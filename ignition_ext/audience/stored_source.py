"""Recipients of a stored audience, streamed in one read transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import ColumnElement, and_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from ignition_ext.audience.contract import BATCH_ROWS, SourceStats
from ignition_ext.audience.where import compile_where
from ignition_ext.audience.where_dialects import (
    PostgresSpelling,
    SqliteSpelling,
    register_functions,
)
from ignition_ext.models import Audience, RecipientRow
from ignition_ext.values import Recipient


class StoredSource:
    """The import in force when it was opened; a later import does not change what it yields."""

    def __init__(self, session: AsyncSession, audience: Audience, where: str | None) -> None:
        self.columns: Sequence[str] = tuple(audience.columns)
        self.stats = SourceStats()
        self._session = session
        self._sqlite = session.get_bind().dialect.name == "sqlite"
        self._condition: ColumnElement[bool] = and_(
            col(RecipientRow.audience_id) == audience.id,
            col(RecipientRow.generation) == audience.generation,
        )
        if where:
            self._condition = and_(self._condition, self._compiled(where))

    def _compiled(self, where: str) -> ColumnElement[bool]:
        if self._sqlite:
            condition = compile_where(
                where, self.columns, SqliteSpelling(), lambda _, path: f"json_extract(data, {path})"
            )
        else:
            condition = compile_where(
                where,
                self.columns,
                PostgresSpelling(),
                lambda _, name: f"(data ->> CAST({name} AS text))",
            )
        clause: ColumnElement[bool] = text(condition.sql).bindparams(**condition.parameters)  # type: ignore[assignment]  # and_() takes text too
        return clause

    async def batches(self) -> AsyncIterator[Sequence[Recipient]]:
        """Recipients in the order of their import."""
        connection = await self._session.connection()
        if self._sqlite:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            for call in register_functions(raw.driver_connection.create_function):
                await call
        statement = select(RecipientRow).where(self._condition).order_by(col(RecipientRow.id))
        columns = RecipientRow.__table__.c  # type: ignore[attr-defined]  # SQLModel does not say
        result = await connection.stream(
            statement.with_only_columns(
                columns.id,
                columns.email,
                columns.phone,
                columns.locale,
                columns.timezone,
                columns.external_id,
                columns.data,
            ),
            execution_options={"yield_per": BATCH_ROWS},
        )
        async for rows in result.partitions(BATCH_ROWS):
            self.stats.yielded += len(rows)
            yield [
                Recipient(
                    id=row.id,
                    email=row.email or None,
                    phone=row.phone or None,
                    locale=row.locale,
                    timezone=row.timezone,
                    external_id=row.external_id,
                    data=row.data,
                )
                for row in rows
            ]
