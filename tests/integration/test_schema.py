"""The schema: what migrations make, and that models say the same."""

from __future__ import annotations

from ignition_ext.database import Database
from ignition_ext.schema import current_revision, head_revision, require_current


async def test_a_migrated_database_is_at_the_head_revision(database: Database) -> None:
    """Upgrading brings the database to this release's revision, on both engines."""
    await require_current(database)

    assert await current_revision(database) == head_revision()
