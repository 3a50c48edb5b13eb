"""The rejects file: every bad row and field with line and reason, for whoever mends the source.

It is written beside its final name and renamed when whole, and exists only when there is something
in it. Values that a spreadsheet would run as a formula get an apostrophe in front.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path
from typing import Any, TextIO

from ignition_ext.audience.contract import Problem
from ignition_ext.errors import AudienceError

HEADER = ("line", "field", "value", "reason", "kept")
MAX_VALUE = 500
"""Characters of a bad value that are repeated: enough to find it."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rejects_path_of(source: Path) -> Path:
    """``customers.csv`` -> ``customers.rejects.csv``."""
    return source.with_name(f"{source.stem}.rejects.csv")


def spreadsheet_safe(value: str) -> str:
    """A value that no spreadsheet takes for a formula; lone surrogates become ``�``."""
    value = value.encode("utf-8", "replace").decode("utf-8")[:MAX_VALUE]
    return f"'{value}" if value.lstrip(" \n").startswith(_FORMULA) else value


class Rejects:
    """Collects problems; ``commit()`` puts the file in place, ``discard()`` leaves none.

    The file holds personal data: only its owner may read it.

    Args:
        path: the final file; None: nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._writer: Any = None

    def add(self, problem: Problem) -> None:
        """Write one problem.

        Raises:
            AudienceError: the folder cannot be written to.
        """
        if self._path is None:
            return
        if self._file is None:
            self._open(self._path)
        self._writer.writerow(
            (
                problem.line,
                spreadsheet_safe(problem.field),
                spreadsheet_safe(problem.value),
                spreadsheet_safe(problem.reason),
                "yes" if problem.kept else "no",
            )
        )

    def _open(self, path: Path) -> None:
        try:
            descriptor, temporary = tempfile.mkstemp(
                dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
            )
        except OSError as error:
            raise AudienceError(
                f"the rejects file cannot be written: {error.strerror}.",
                path=str(path),
                mend="Give a file in a folder that can be written to (--rejects FILE).",
            ) from error
        self._temporary = Path(temporary)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(HEADER)

    def commit(self) -> Path | None:
        """Put the file in place; returns it, or None when there was nothing to tell."""
        if self._file is None or self._path is None:
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._temporary.replace(self._path)
        return self._path

    def discard(self) -> None:
        """Leave nothing behind; harmless after :meth:`commit`."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._temporary.unlink(missing_ok=True)
