"""Programs by others that judge what Ignition puts on the wire; for the tests only.

``tests/referee`` holds the small ones in Node.js: an SMSC built on npm's ``smpp``, and npm's
``mailparser``. The mail server is ``smtp-sink`` of Debian's package postfix.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from ignition_ext.errors import ConfigurationError

INSTALL_SECONDS = 150
"""A dozen small packages; below the time that a test may take."""
_SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Where Debian puts servers, and which only root has in its PATH."""
_PACKAGES = {
    "node": "nodejs",
    "npm": "npm",
    "smtp-sink": "postfix",
    "postfix": "postfix",
    "dovecot": "dovecot-imapd and dovecot-lmtpd",
}


def find_program(name: str) -> str:
    """The path of a program, also of one that only root has in its ``PATH``.

    Raises:
        ConfigurationError: it is not installed.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), _SYSTEM_FOLDERS))
    found = shutil.which(name, path=path)
    if found is None:
        raise ConfigurationError(
            f"there is no program {name!r} on this machine.",
            mend=f"Install Debian's package {_PACKAGES.get(name, name)}.",
        )
    return found


def install_referee(folder: Path) -> Path:
    """Install the locked packages of the Node.js referees, once however many processes ask.

    Raises:
        ConfigurationError: Node.js or npm is missing, or npm could not install them.
    """
    find_program("node")
    npm = find_program("npm")
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "node_modules"
        if all((installed / package).is_dir() for package in ("smpp", "mailparser")):
            return folder
        done = subprocess.run(
            [npm, "ci", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    finally:
        os.close(lock)
    if done.returncode:
        raise ConfigurationError(
            f"npm ci failed in {folder}: {done.stderr or done.stdout}",
            mend="Run it there by hand; it needs a registry in reach.",
        )
    return folder
