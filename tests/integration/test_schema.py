"""The schema: what migrations make, that models say the same, and what a wrong database gives."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import free_port
from ignition_ext.errors import ConfigurationError, DatabaseError
from ignition_ext.models import metadata
from ignition_ext.schema import (
    VERSION_TABLE,
    current_revision,
    head_revision,
    require_current,
    upgrade,
)


async def set_revision(database: Database, revision: str) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            text(f"UPDATE {VERSION_TABLE} SET version_num = :revision"), {"revision": revision}
        )


async def test_a_migrated_database_is_at_the_head_revision(database: Database) -> None:
    """Upgrading brings the database to this release's revision, on both engines."""
    await require_current(database)

    assert await current_revision(database) == head_revision()


async def test_models_and_migrations_agree(database: Database) -> None:
    """Alembic finds nothing to do, and sees neither views nor tables that are not ours."""

    def differences(connection: Connection) -> list[object]:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, metadata))

    async with database.engine.begin() as connection:
        if database.dialect == "postgresql":
            await connection.execute(text("CREATE TABLE public.flow_run (id uuid PRIMARY KEY)"))
        assert await connection.run_sync(differences) == []


async def test_a_database_one_revision_behind_says_what_to_run(database: Database) -> None:
    """Nothing is done to it meanwhile."""
    await set_revision(database, "0001")

    with pytest.raises(DatabaseError, match="revision 0001") as caught:
        await require_current(database)
    assert caught.value.mend == "Run: ignition db upgrade"


async def test_an_empty_database_says_what_to_run(tmp_path: Path) -> None:
    """Rather than a missing table somewhere later."""
    database = Database(f"sqlite:///{tmp_path}/empty.db")

    with pytest.raises(DatabaseError, match="none"):
        await require_current(database)
    await database.close()


async def test_a_newer_database_is_left_alone(database: Database) -> None:
    """This release cannot know what it would break."""
    await set_revision(database, "9999")

    for refused in (require_current(database), upgrade(database)):
        with pytest.raises(DatabaseError, match="9999") as caught:
            await refused
        assert "Install" in caught.value.mend
    async with database.engine.connect() as connection:
        found = await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    assert found.scalar_one() == "9999"


async def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    """The file's path and a mend, no traceback."""
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 1000)
    database = Database(f"sqlite:///{path}")

    for refused in (require_current(database), upgrade(database)):
        with pytest.raises(DatabaseError, match=r"notes\.txt is not an SQLite database"):
            await refused
    await database.close()
    assert path.read_text() == "Dear diary, " * 1000


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Below a file there is no folder."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="file/below"):
        Database(f"sqlite:///{tmp_path}/file/below/ignition.db")


async def test_a_folder_in_the_files_place_is_said(tmp_path: Path) -> None:
    """SQLite could not open it, and its driver's thread would print a traceback besides."""
    with pytest.raises(ConfigurationError, match="is a folder, not a database"):
        Database(f"sqlite:///{tmp_path}")


async def refused(url: str) -> DatabaseError:
    """What `ignition db upgrade` would say."""
    database = Database(url)
    with pytest.raises(DatabaseError) as caught:
        await upgrade(database)
    await database.close()
    return caught.value


async def test_a_server_that_is_away_is_said() -> None:
    """With the address, without the password."""
    error = await refused(f"postgresql://jane:s3cret@127.0.0.1:{free_port()}/ignition")

    assert "127.0.0.1" in error.message
    assert "s3cret" not in str(error)
    assert "IGNITION_DATABASE_URL" in error.mend


async def test_a_wrong_password_is_said(postgres_database_url: str) -> None:
    """In the server's words, without the password."""
    head, _, host = postgres_database_url.rpartition("@")
    user = head.removeprefix("postgresql://").split(":")[0]

    error = await refused(f"postgresql://{user}:wr0ng@{host}")

    assert "authentication failed" in error.message
    assert "wr0ng" not in str(error)


async def test_a_user_who_may_not_create_a_schema_is_told(postgres_url: str) -> None:
    """Databases belong to somebody; others may only connect."""
    role = f"ignition_stranger_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
    try:
        error = await refused(f"postgresql://{role}:x@{postgres_url.rpartition('@')[2]}")
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())

    assert "permission denied" in error.message


async def test_a_user_who_owns_only_the_schemas_can_upgrade(empty_postgres_url: str) -> None:
    """An administrator may make them beforehand and keep the right to create any."""
    role = f"ignition_tenant_{uuid4().hex[:8]}"
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
        for schema in ("ignition", "analytics"):
            connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {role}".encode())
    database = Database(f"postgresql://{role}:x@{empty_postgres_url.rpartition('@')[2]}")
    try:
        assert await upgrade(database) == (None, head_revision())
    finally:
        await database.close()
        with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


async def test_a_failing_migration_changes_nothing(empty_database_url: str) -> None:
    """All steps of an upgrade are one transaction: the first is undone when a later one fails."""
    database = Database(empty_database_url)
    await upgrade(database, "0001")
    async with database.engine.begin() as connection:
        await connection.execute(text("DROP TABLE message_event"))

    with pytest.raises(DatabaseError, match="message_event"):
        await upgrade(database)

    assert await current_revision(database) == "0001"
    async with database.engine.connect() as connection:
        columns = (await connection.execute(text("SELECT * FROM audit_log"))).keys()
    assert "signature" not in columns
    await database.close()


UPGRADE = """
import asyncio, sys
from ignition_ext.database import Database
from ignition_ext.schema import upgrade

async def main(url):
    database = Database(url)
    print("ready", flush=True)
    sys.stdin.readline()
    print(await upgrade(database))
    await database.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("start", [None, "0001"], ids=["first-ever", "from-0001"])
async def test_processes_that_upgrade_at_once_do_it_once(
    empty_database_url: str, start: str | None
) -> None:
    """One does the work, the others wait and find nothing to do."""
    if start is not None:
        database = Database(empty_database_url)
        await upgrade(database, start)
        await database.close()
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", UPGRADE, empty_database_url, stdin=pipe, stdout=pipe
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"

    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert [process.returncode for process in processes] == [0, 0, 0]
    head = head_revision()
    done = [(start, head), (head, head), (head, head)]
    assert sorted(output.decode().strip() for output, _ in outputs) == sorted(map(str, done))
