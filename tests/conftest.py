"""Fixtures that every test may use: real databases, a clean environment, no leaks."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ignition_ext.database import Database
from ignition_ext.devtools.postgres import new_database, postgres_server
from ignition_ext.schema import upgrade

# Times say nothing on a shared machine. A developer's run looks elsewhere each time, and a failure
# prints its seed; CI judges a change by the same cases as the one before it.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_MEMORY, _MEMORY_BYTES = Path("/dev/shm"), 6 * 1024**3
"""Where files are kept in memory, and how much has to be free: a run leaves some 2 GiB there."""


def _keep_files_in_memory() -> None:
    """Databases and servers of the tests wait for no disk, where there is room and no other wish.

    Half of the suite's time went into it: each test has a database of its own.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return
    if shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


_keep_files_in_memory()
_GIVEN_POSTGRES = os.environ.get("IGNITION_TEST_POSTGRES_URL")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshots DIR` keeps the pictures that the documentation shows."""
    parser.addoption("--screenshots", default=None, help="folder for pictures of pages")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the shell it runs in."""
    for name in list(os.environ):
        if name.startswith(("IGNITION_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))


async def _migrate(url: str) -> None:
    database = Database(url)
    await upgrade(database)
    await database.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the one given, else our own. None at all is a failure, not a skip."""
    if _GIVEN_POSTGRES:
        yield _GIVEN_POSTGRES
        return
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[tuple[str, str]]:
    """The server, and the name of a migrated database to clone."""
    with new_database(postgres_url) as url:
        asyncio.run(_migrate(url))
        yield postgres_url, url.rpartition("/")[2]


@pytest.fixture
def postgres_database_url(postgres_template: tuple[str, str]) -> Iterator[str]:
    """The URL of a fresh, migrated database on PostgreSQL."""
    server, template = postgres_template
    with new_database(server, template=template) as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database on PostgreSQL, without any schema of ours."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a schema, once on each engine; the SQLite file does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/ignition.db"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
def sqlite_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh, migrated SQLite file."""
    path = tmp_path / "ignition.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database, once on each engine."""
    kind = "sqlite" if request.param == "sqlite" else "postgres"
    url: str = request.getfixturevalue(f"{kind}_database_url")
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database, once on each engine."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's Chromium; a machine without it cannot show pages."""
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium; install Debian's package chromium")
        pytest.skip("there is no chromium; install Debian's package chromium")
    return executable
