"""Alembic's environment: runs on the connection that ``ignition_ext.schema`` hands over."""

from __future__ import annotations

from alembic import context

from ignition_ext.models import metadata
from ignition_ext.schema import VERSION_TABLE


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # Unqualified, like all our tables: on PostgreSQL search_path puts it into our schema, and
        # Alembic compares that schema alone. Prefect's own tables and version stay out of sight.
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        compare_type=True,
    )
    context.run_migrations()


run()
