"""The README's commands, typed as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ignition_ext.devtools.demo_stack import DemoStack

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

ROOT = Path(__file__).parents[2]


def _blocks(section: str) -> list[str]:
    """The shell blocks of a section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", body, re.DOTALL)


def test_the_first_own_campaign_works_as_written(demo_stack: DemoStack, tmp_path: Path) -> None:
    """Files, commands and results are those that the README shows."""
    _up, files, commands = _blocks("Your own campaign in five minutes")
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", files + commands],
        cwd=tmp_path,
        env={**os.environ, **demo_stack.environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "completed (2 sent)" in done.stdout
    assert "ada@example.com" in done.stdout
    assert "grace@example.org" in done.stdout
    assert "not-an-address" not in done.stdout


def test_make_names_the_two_commands() -> None:
    """`make` alone says what `make demo` and `make test` do."""
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert re.search(r"^demo +\S", done.stdout, re.MULTILINE)
    assert re.search(r"^test +\S", done.stdout, re.MULTILINE)


def test_the_demo_accounts_for_every_message(tmp_path: Path) -> None:
    """`ignition demo` starts everything, compares what arrived, and leaves nothing running."""
    shutil.copytree(ROOT / "deployments", tmp_path / "deployments")
    shutil.copy(ROOT / "prefect.yaml", tmp_path)

    done = subprocess.run(
        [Path(sys.executable).with_name("ignition"), "demo", "--recipients", "40"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PREFECT_HOME"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    assert "the mail server holds 40; 0 missing, 0 not in the ledger, 0 twice" in done.stdout
    assert "✗" not in done.stdout
