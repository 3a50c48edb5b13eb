"""Records of a delimited file with the physical lines that they begin on (RFC 4180).

A quote that is never closed would swallow the rest of a file. Here a record ends after
``MAX_RECORD_LINES``; then only its first line is lost and reading goes on with the second.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

MAX_LINE = 1 << 20
"""Characters of one physical line: longer ones are not CSV, and would have to fit in memory."""
MAX_RECORD_LINES = 200
"""Lines of one record: a quoted letter fits; an open quote does not cost more than its line."""


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of one record, or the reason why it has none."""

    line: int
    fields: Sequence[str]
    problem: str = ""


class _TooManyLines(Exception):
    pass


class _LineTooLong(Exception):
    pass


class Lines:
    """Physical lines of a text stream, which can be given back."""

    def __init__(self, stream: TextIO, *, first: int = 1) -> None:
        self.number = first - 1
        self._stream = stream
        self._taken: list[str] = []
        self._returned: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= MAX_RECORD_LINES:
            raise _TooManyLines
        again = bool(self._returned)
        line = self._returned.popleft() if again else self._stream.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self._taken.append(line)
        if len(line) >= MAX_LINE and not line.endswith(("\n", "\r")):
            if not again:
                self._skip_rest()
            raise _LineTooLong
        return line

    def _skip_rest(self) -> None:
        while rest := self._stream.readline(MAX_LINE):
            if rest.endswith(("\n", "\r")):
                return

    def begin(self) -> int:
        """Start a record; returns the number of its first line."""
        self._taken.clear()
        return self.number + 1

    def retry_after_first(self) -> None:
        """Give back everything taken since :meth:`begin` except the first line."""
        again = self._taken[1:]
        self.number -= len(again)
        self._returned.extendleft(reversed(again))


def read_records(lines: Lines, delimiter: str) -> Iterator[Record]:
    """All records; blank lines are left out, damaged records carry their problem."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = lines.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _LineTooLong:
            problem = f"the line has more than {MAX_LINE} characters"
            lines.retry_after_first()
        except _TooManyLines:
            problem = f"a quote is not closed within {MAX_RECORD_LINES} lines"
            lines.retry_after_first()
        except csv.Error as error:
            problem = f"quotes or fields are damaged: {error}"
            lines.retry_after_first()
        else:
            if fields:
                yield Record(start, fields)
            continue
        yield Record(start, (), problem)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
