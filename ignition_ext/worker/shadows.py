"""Whether a flow's own folders have modules that the preloaded ones would stand in front of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder

START_ONLY = ("PYTHON", "LD_", "DYLD_", "MALLOC_", "GLIBC_")
"""Beginnings of variables that an interpreter or its C library reads once, when it starts."""


def needs_new_interpreter(wanted: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """The first variable that has another value than ours and would come too late in a child."""
    for name in sorted(wanted.keys() | ours.keys()):
        if name == "PYTHONPATH" or not name.startswith(START_ONLY):
            continue
        if wanted.get(name) != ours.get(name):
            return name
    return None


def shadowed_module(folders: Iterable[str]) -> str | None:
    """The first loaded module that these folders, first on ``sys.path``, have another one for."""
    for folder in folders:
        try:
            entries = os.listdir(folder or os.curdir)
        except OSError:
            continue  # a zip archive, or not there: nothing that we could have loaded in its stead
        for name in {entry.partition(".")[0] for entry in entries} & sys.modules.keys():
            if _is_another(name, folder):
                return name
    return None


def _is_another(name: str, folder: str) -> bool:
    loaded = getattr(sys.modules[name], "__spec__", None)
    if name == "__main__" or loaded is None or loaded.origin in (None, "built-in", "frozen"):
        return False  # these come before every folder in a new interpreter as well
    found = PathFinder.find_spec(name, [folder])
    if found is None or found.origin is None or loaded.origin is None:
        return False  # a folder without code, which gives way to any package
    other: bool = os.path.realpath(found.origin) != os.path.realpath(loaded.origin)
    return other
