"""The checks of ``ignition doctor``, from the inside out: environment, database, Prefect."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    entry_points,
    version,
)
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from ignition_ext.audit.keys import key_path, trusted_keys
from ignition_ext.budgets.circuits import list_circuits
from ignition_ext.cli.budget_checks import check_budgets
from ignition_ext.cli.context import ask
from ignition_ext.cli.link_checks import check_links
from ignition_ext.cli.return_checks import check_returns
from ignition_ext.cli.webhook_checks import check_webhooks
from ignition_ext.errors import IgnitionError
from ignition_ext.health.check import Check, failed, hint, passed
from ignition_ext.health.facts import check_database, check_runs
from ignition_ext.models import Circuit
from ignition_ext.settings import Settings

DISTRIBUTION = "prefect-ignition"
PACKAGES = ("flows", "tasks", "blocks", "ignition_ext")
OLDEST_PYTHON = (3, 11)


async def check_everything() -> AsyncIterator[Check]:
    """All checks in order; each stands for itself, so that one run shows all that is wrong."""
    yield check_python(sys.version_info[:3])
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        yield failed("distribution", f"{DISTRIBUTION} is not installed.", "Run: pip install -e .")
    else:
        for check in check_requirements(installed):
            yield check
        for check in check_packages(installed):
            yield check
        for check in check_entry_points():
            yield check
    settings = Settings()
    yield check_audit_key(settings)
    yield check_links(settings)
    yield await check_database(settings)
    for check in await check_servers(settings):
        yield check
    for check in await check_webhooks(settings):
        yield check
    for check in await check_budgets(settings):
        yield check
    for check in await check_returns(settings):
        yield check
    yield await check_runs(settings)
    from ignition_ext.cli.prefect_checks import check_prefect

    async for check in check_prefect():
        yield check


def check_python(running: tuple[int, int, int]) -> Check:
    """Python itself."""
    shown = ".".join(map(str, running))
    if running[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return failed("python", f"{shown} is too old.", f"Use Python {wanted} or newer.")
    return passed("python", shown)


def check_requirements(installed: Distribution) -> Iterator[Check]:
    """Every requirement of the distribution against what is installed, pins included."""
    wrong = 0
    requirements = [Requirement(text) for text in installed.requires or []]
    wanted = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    for requirement in wanted:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        if not found or not requirement.specifier.contains(found, prereleases=True):
            wrong += 1
            yield failed(
                "packages",
                f"{requirement.name} is {found or 'missing'}, wanted {requirement.specifier}.",
                f'Run: pip install "{requirement}"',
            )
    if not wrong:
        shown = ", ".join(f"{name} {version(name)}" for name in ("prefect", "fastapi"))
        yield passed("packages", f"{len(wanted)} requirements hold ({shown})")


def check_packages(installed: Distribution) -> Iterator[Check]:
    """That ``flows``, ``tasks`` … are ours: a folder of that name in the way hides them."""
    for name in PACKAGES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        wanted = package_file(installed, name)
        if found is not None and found == wanted:
            yield passed(f"package {name}", str(found.parent))
            continue
        yield failed(
            f"package {name}",
            f"Python finds {found or 'none'}, the distribution has {wanted or 'none'}.",
            f"Work in another folder, or take {found.parent} off PYTHONPATH."
            if found
            else f"Install {DISTRIBUTION} again.",
        )


def package_file(installed: Distribution, name: str) -> Path | None:
    """Where the distribution says that a package is: its record, or a checkout's folder."""
    for file in installed.files or []:
        if str(file) == f"{name}/__init__.py":
            return Path(str(file.locate())).resolve()
    direct = installed.read_text("direct_url.json")
    url = urlsplit(json.loads(direct)["url"]) if direct else None
    if url is None or url.scheme != "file":
        return None
    return (Path(unquote(url.path)) / name / "__init__.py").resolve()


def check_entry_points() -> Iterator[Check]:
    """Each entry point of ours, loaded: Prefect itself would only print a warning."""
    ours = [
        entry_point
        for entry_point in entry_points(group="prefect.collections")
        if entry_point.dist is not None and entry_point.dist.name == DISTRIBUTION
    ]
    if not ours:
        yield failed(
            "entry points",
            f"{DISTRIBUTION} has none in prefect.collections.",
            f"Install {DISTRIBUTION} again.",
        )
    for entry_point in ours:
        name = f"entry point {entry_point.name}"
        try:
            entry_point.load()
        except Exception as error:
            yield failed(
                name,
                f"{entry_point.value} does not load: {type(error).__name__}: {error}",
                "Mend that import; until then blocks are missing on servers and workers.",
            )
        else:
            yield passed(name, entry_point.value)


def check_audit_key(settings: Settings) -> Check:
    """The key that signs audit rows: readable, ours, and nobody else's."""
    path = key_path(settings)
    if not path.exists():
        return hint("audit key", f"{path} is not there yet.", "It is made on first use.")
    try:
        (identity,) = trusted_keys(settings=settings)
    except IgnitionError as error:
        return failed("audit key", error.message, error.mend)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return failed("audit key", f"{path} can be read by others.", f"Run: chmod 600 {path}")
    return passed("audit key", f"{path} ({identity})")


async def check_servers(settings: Settings) -> list[Check]:
    """The servers that runs had trouble with; nothing is asked of them here."""
    rows = await ask(settings, list_circuits)
    if rows is None:
        return []
    return [_check_server(row) for row in rows] or [passed("servers", "none is in trouble")]


def _check_server(row: Circuit) -> Check:
    name = f"server {row.server}"
    if row.open_until is None:
        detail = f"{row.failures} failures in a row, the last: {row.reason}"
        return hint(name, detail, "It is left alone when that goes on.")
    return failed(
        name,
        f"left alone until {row.open_until:%Y-%m-%d %H:%M:%S} UTC after {row.failures} failures"
        f" in a row, the last: {row.reason}",
        f"Mend it, then run: ignition server reset {row.server}",
    )
