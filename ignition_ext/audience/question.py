"""One question to the operator's own database, answered by yes or no."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ignition_ext.audience.sql_source import CONNECT_SECONDS, source_url, verbatim
from ignition_ext.errors import AudienceError

ANSWER_SECONDS = 300
"""A run waits so long for its condition; a query that takes longer belongs into a table."""


async def ask_database(url: str, query: str, *, block: str) -> bool:
    """Whether the query's only row begins with true.

    The connection can only read.

    Raises:
        AudienceError: the database refused, or did not answer with one truth value.
    """
    parsed = source_url(url, block)
    postgres = parsed.get_backend_name() == "postgresql"
    options: dict[str, Any] = (
        {
            "connect_timeout": CONNECT_SECONDS,
            "options": f"-c statement_timeout={ANSWER_SECONDS * 1000}",
        }
        if postgres
        else {}
    )

    def ask() -> bool:
        engine = create_engine(parsed, poolclass=NullPool, connect_args=options)
        if not postgres:
            event.listen(engine, "connect", _only_read)
        try:
            with engine.connect().execution_options(postgresql_readonly=True) as connection:
                result = connection.execute(text(verbatim(query.strip().rstrip(";"))))
                rows = result.fetchmany(2) if result.returns_rows else []
        except SQLAlchemyError as error:
            raise _failure(error, block, parsed.password) from None
        return _truth([tuple(row) for row in rows], block)

    return await asyncio.to_thread(ask)


def _truth(rows: list[tuple[Any, ...]], block: str) -> bool:
    if len(rows) != 1:
        raise AudienceError(
            f"block {block!r}: the condition's query returns {'no' if not rows else 'several'}"
            " rows.",
            mend="Write one that returns one row: SELECT count(*) > 0 FROM …",
        )
    value = rows[0][0]
    if isinstance(value, bool) or (isinstance(value, int | float | Decimal) and value in (0, 1)):
        return bool(value)
    raise AudienceError(
        f"block {block!r}: the condition's query returns {value!r}, which is neither true nor"
        " false.",
        mend="Write a comparison: SELECT count(*) > 0 FROM …",
    )


def _only_read(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _failure(error: SQLAlchemyError, block: str, password: object) -> AudienceError:
    origin = error.orig if isinstance(error, DBAPIError) else error
    said = getattr(getattr(origin, "diag", None), "message_primary", None) or str(origin)
    if password:
        said = said.replace(str(password), "***")
    return AudienceError(
        f"block {block!r}: {' '.join(said.split())}",
        mend="Check the condition's query, and the database that the block names.",
    )
