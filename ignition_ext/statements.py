"""Loads SQL: named, commented statements in ``.sql`` files beside the code that runs them.

A file is a sequence of ``-- name: verb_object`` lines, each followed by one statement. They are
written with the driver's own parameters, so that they can be pasted into psql or sqlite3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load_statements(package: str, *names: str) -> Mapping[str, str]:
    """The statements of some files of a package by name, read once in a process.

    Raises:
        ValueError: a name stands twice.
    """
    statements: dict[str, str] = {}
    for name in names:
        text = (files(package) / name).read_text(encoding="utf-8")
        pieces = _NAME.split(text)
        for key, body in zip(pieces[1::2], pieces[2::2], strict=True):
            if key in statements:
                raise ValueError(f"{name}: {key} stands twice")
            statements[key] = body.strip().rstrip(";")
    return statements
