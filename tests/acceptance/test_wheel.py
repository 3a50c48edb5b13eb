"""The wheel: what an engineer installs on a node that has no checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_PROBE = """
import importlib.metadata as m, json
ours = [p for p in m.entry_points(group="prefect.collections") if p.dist.name == "prefect-ignition"]
loaded = {p.name: p.load().__file__ for p in ours}
import flows.campaign, tasks, ignition_ext
from importlib.resources import files
sql = sorted(p.name for p in files("ignition_ext.ledger").iterdir() if p.name.endswith(".sql"))
print(json.dumps({"loaded": loaded, "flows": flows.campaign.__file__, "sql": sql}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be released."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    """Neither tests nor infra nor a tenant's files leak into what is installed."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        names = set(archive.namelist())

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "flows",
        "tasks",
        "blocks",
        "ignition_ext",
    }
    assert "ignition_ext/migrations/versions/0001_first_tables.py" in names
    assert "ignition_ext/migrations/env.py" in names


def test_an_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Entry points, flows and SQL files load from the wheel in a foreign folder."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:  # a pure wheel is installed by unpacking it
        archive.extractall(site)
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROBE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["flows"] == str(site / "flows" / "campaign.py")
    assert found["loaded"]["ignition"].startswith(str(site / "blocks"))
    assert found["loaded"]["ignition_worker"].startswith(str(site / "ignition_ext"))
    assert found["sql"]
