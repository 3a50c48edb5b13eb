"""SQLite serves one host: its locks do not reach over a network, and its clock is that host's.

A small file beside the database says which host uses it. It is no lock, only a sign that is old
after a while: a host that is gone for good keeps nobody out for longer than that.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from ignition_ext.errors import DatabaseError

OLD_SECONDS = 15 * 60
"""Longer than the clocks of two hosts are likely to be apart, and a host restarts within it."""
RENEW_SECONDS = 30
"""The sign is written anew no more often than this."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Host:
    """One running host. Containers on it are the same host: they share its kernel and its files.

    Attributes:
        boot: this run of the kernel, empty where the system does not say.
        machine: the network card's number, which outlasts a restart.
        name: for people.
    """

    boot: str
    machine: str
    name: str

    def is_same(self, other: Host) -> bool:
        """Whether both are one machine, restarted or not."""
        return (bool(self.boot) and self.boot == other.boot) or self.machine == other.machine


def this_host() -> Host:
    """The host that this process runs on."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return Host(boot=boot, machine=f"{uuid.getnode():012x}", name=socket.gethostname())


def require_one_host(database: Path, host: Host | None = None) -> None:
    """Note that this host uses the SQLite file.

    Args:
        database: the file.
        host: who uses it; by default this host.

    Raises:
        DatabaseError: another host used it a short while ago.
    """
    host = host or this_host()
    sign = database.with_name(f"{database.name}-host")
    found, age = _read(sign)
    if found is None or age > OLD_SECONDS:
        _write(sign, host)
    elif not host.is_same(found):
        raise DatabaseError(
            f"the SQLite file {database} is in use on another host: {found.name},"
            f" {max(age, 0):.0f} s ago. SQLite serves one host only.",
            mend="For several hosts set IGNITION_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DB on"
            f" each. If {found.name} uses the file no more, delete {sign.name} beside it.",
        )
    elif found != host or age > RENEW_SECONDS:
        _write(sign, host)


def _read(sign: Path) -> tuple[Host | None, float]:
    try:
        values = json.loads(sign.read_text())
        age = time.time() - sign.stat().st_mtime
        return Host(**{key: str(values[key]) for key in ("boot", "machine", "name")}), age
    except (OSError, ValueError, TypeError, KeyError):
        return None, 0.0


def _write(sign: Path, host: Host) -> None:
    partial = sign.with_name(f"{sign.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        partial.write_text(json.dumps(asdict(host)))
        os.replace(partial, sign)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DatabaseError(
            f"{sign} cannot be written: {error.strerror or error}.",
            mend="SQLite writes beside its file: let this user write to that folder.",
        ) from error
