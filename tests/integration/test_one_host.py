"""SQLite is refused to a second host, and PostgreSQL is not."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError
from ignition_ext.one_host import OLD_SECONDS, Host, require_one_host, this_host
from ignition_ext.schema import require_current

OTHER = Host(boot="another-boot", machine="0badc0ffee00", name="node-2")


def test_a_second_host_is_refused_with_a_pointer_to_postgresql(tmp_path: Path) -> None:
    """It is told who uses the file, and both ways out; the first host works on."""
    file = tmp_path / "ignition.db"
    require_one_host(file)

    with pytest.raises(DatabaseError) as refused:
        require_one_host(file, OTHER)

    assert this_host().name in refused.value.message
    assert "postgresql://" in refused.value.mend
    assert "ignition.db-host" in refused.value.mend
    require_one_host(file)


def test_a_restarted_host_and_a_container_on_it_are_the_same_host(tmp_path: Path) -> None:
    """A new kernel on the same machine, another network card under the same kernel."""
    file = tmp_path / "ignition.db"
    require_one_host(file)
    require_one_host(file, replace(this_host(), boot="after-the-restart"))
    require_one_host(file)
    require_one_host(file, replace(this_host(), machine="0242ac110002", name="container"))


@pytest.mark.parametrize("content", ["", "{}", "null", "[1]", "\0"])
def test_a_sign_that_cannot_be_read_keeps_nobody_out(tmp_path: Path, content: str) -> None:
    """It is written anew."""
    file = tmp_path / "ignition.db"
    (tmp_path / "ignition.db-host").write_text(content)
    require_one_host(file)
    with pytest.raises(DatabaseError):
        require_one_host(file, OTHER)


def test_a_host_that_is_gone_is_followed_by_another(tmp_path: Path) -> None:
    """Nobody has to delete anything after a while."""
    file, sign = tmp_path / "ignition.db", tmp_path / "ignition.db-host"
    require_one_host(file, OTHER)
    long_ago = time.time() - OLD_SECONDS - 1
    os.utime(sign, (long_ago, long_ago))
    require_one_host(file)
    with pytest.raises(DatabaseError):
        require_one_host(file, OTHER)


async def test_whoever_opens_the_database_is_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands and tasks alike; PostgreSQL takes any number of hosts."""
    await require_current(database)
    monkeypatch.setattr("ignition_ext.one_host.this_host", lambda: OTHER)
    if database.dialect == "postgresql":
        await require_current(database)
    else:
        with pytest.raises(DatabaseError, match="another host"):
            await require_current(database)
