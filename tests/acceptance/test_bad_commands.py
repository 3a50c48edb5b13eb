"""Bad input to commands: one message with place and mend on stderr, and a quiet end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

pytestmark = pytest.mark.timeout(600)

LIBRARY_WORDS = ("Traceback", "psycopg.", "sqlite3.", "sqlalche", "httpx", "validate=False")
"""What a person at a terminal must not have to read."""


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("--version",), {}, 0, ""),
        (("frobnicate",), {}, 2, "Unknown command"),
        (("campaign", "frobnicate"), {}, 2, "Unknown command"),
        (("campaign", "list", "--nonsense"), {}, 2, "--nonsense"),
        (("init",), {}, 1, "no Prefect server is named"),
        (("campaign", "list", "--json"), {"DATABASE_URL": "nonsense"}, 1, "DATABASE_URL"),
        (("campaign", "list", "--json"), {"DATABASE_URL": "sqlite:////tmp"}, 1, "is a folder"),
        (("campaign", "list"), {"DATABASE_URL": "postgresql://u:sekret@h:x/y"}, 1, "DATABASE_URL"),
        (("campaign", "list"), {"DATABASE_URL": "mysql://u:sekret@h/y"}, 1, "'mysql'"),
        (("campaign", "list"), {"DATABASE_URL": "postgresql://u:sekret@127.0.0.1:1/y"}, 1, "user"),
        (("campaign", "list", "--json"), {"LEASE_SECONDS": "soon"}, 1, "IGNITION_LEASE_SECONDS"),
        (("campaign", "status", "t/x", "--json"), {}, 1, "t/x"),
        (("template", "push", "nowhere", "--tenant", "t"), {}, 1, "no such folder"),
    ],
    ids=lambda value: "-".join(value) or "plain" if isinstance(value, tuple | dict) else None,
)
def test_commands_tell_bad_input_on_stderr_alone(
    ignition_here: Any,
    sqlite_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    code: int,
    words: str,
) -> None:
    """One `Error:` with a `Mend:`, nothing on stdout, no password, no traceback."""
    given = {"DATABASE_URL": sqlite_database_url} | environment
    for name, value in given.items():
        monkeypatch.setenv(f"IGNITION_{name}", value)
    with temporary_settings({PREFECT_API_URL: None}):
        done = ignition_here(*arguments)

    assert done.code == code
    if code:
        assert done.out == ""
        assert done.err.count("Error: ") == done.err.count("Mend: ") == 1
    assert words in done.err
    assert "sekret" not in done.err
    assert not any(word in done.err for word in LIBRARY_WORDS), done.err


def test_a_closed_pipe_and_an_interrupt_are_quiet(sqlite_database_url: str) -> None:
    """`| head` ends without a word; Ctrl-C ends with 130."""
    command = [str(Path(sys.executable).with_name("ignition"))]
    environment = {**os.environ, "IGNITION_DATABASE_URL": sqlite_database_url}
    reader, writer = os.pipe()
    os.close(reader)
    piped = subprocess.run(
        [*command, "campaign", "list", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(writer)
    assert (piped.returncode, piped.stderr) == (1, b"")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        named = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        process = subprocess.Popen(
            [*command, "init"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, "PREFECT_API_URL": named},
        )
        silent.accept()[0].close()  # it has come so far as to ask Prefect
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip().endswith(b"Interrupted.")
    assert b"Traceback" not in said
