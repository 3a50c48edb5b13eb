"""What the fork server has imported before it forks, and how it is seen to be out of date.

Prefect's engine, and what the installed flows, tasks and blocks import of other packages. Never
those three themselves: another project's packages of the same names would be shadowed by them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import ignition_ext

ROOMS = ("flows", "tasks", "blocks")
"""Packages that a project has of its own: imported in the children only."""
ENGINE = (
    "prefect.main",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.runner._workspace_resolver",
    "prefect.runner._workspace_runtime",
    "prefect.runner._workspace_starter",
    "prefect.runner._workspace_supervisor",
    "ignition_ext.worker.child",
    "prefect.deployments.flow_runs",
    "prefect.utilities.visualization",
    "anyio._backends._asyncio",
    "encodings.idna",
    "encodings.unicode_escape",
    "pydantic.v1",
    "rich._emoji_codes",
)
DRIVERS = (
    "aiosqlite",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
)
"""Imported by name when an engine is made, so that no import statement tells of them."""
REHEARSAL = "ignition_ext.worker.rehearsal"
Stamp = tuple[str, int, int]
"""A file, its time of change in nanoseconds and its size."""


def preload(also: Sequence[str] = ()) -> list[str]:
    """Import all that is wanted; returns what could not be imported, each with its reason.

    Args:
        also: further modules, for flows of other projects.
    """
    failed = []
    for name in (*ENGINE, *DRIVERS, *_imported_by_rooms(), *also):
        if name.partition(".")[0] in ROOMS:
            failed.append(f"{name}: a project's own package is never preloaded")
            continue
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
    return failed


def rehearse() -> None:
    """Do once what each child does first: half of its cost is paid the first time only."""
    importlib.import_module(REHEARSAL).rehearse()


def _imported_by_rooms() -> Iterator[str]:
    root = Path(ignition_ext.__file__).parents[1]
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
                yield from _named_by(node)


def _named_by(node: ast.AST) -> Iterator[str]:
    """The modules of other packages that an import statement loads."""
    match node:
        case ast.Import(names=names):
            candidates = [name.name for name in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            candidates = [module, *(f"{module}.{name.name}" for name in names)]
        case _:
            return
    yield from (name for name in candidates if _is_module(name))


def _is_module(name: str) -> bool:
    if name in sys.modules:
        return True
    if name.partition(".")[0] in ROOMS:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False  # a class or function of a module that is no package


def stamps() -> list[Stamp]:
    """Every file that a module was loaded from, as it is now."""
    found = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path is None:
            continue
        try:
            status = os.stat(path)
        except OSError:
            continue  # made up by the module itself
        found.append((path, status.st_mtime_ns, status.st_size))
    return found


def changed_file(loaded: Sequence[Stamp]) -> str | None:
    """The first file that is not what was loaded any more: changed, replaced or gone."""
    for path, changed, size in loaded:
        try:
            status = os.stat(path)
        except OSError:
            return path
        if status.st_mtime_ns != changed or status.st_size != size:
            return path
    return None
