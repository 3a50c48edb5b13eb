"""Alembic's environment: runs on the connection that ``ignition_ext.schema`` hands over."""

from __future__ import annotations

from alembic import context

from ignition_ext.database import POSTGRES_SCHEMA
from ignition_ext.models import metadata


def run() -> None:
    connection = context.config.attributes["connection"]
    on_postgres = connection.dialect.name == "postgresql"
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table="ignition_schema_version",
        version_table_schema=POSTGRES_SCHEMA if on_postgres else None,
        transactional_ddl=True,
        compare_type=True,
    )
    context.run_migrations()


run()
