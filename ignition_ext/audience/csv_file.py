"""A CSV file opened for reading: encoding and delimiter found, header checked, rows streamed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ignition_ext.audience.columns import HEADER_MEND, read_header
from ignition_ext.audience.delimiter import (
    DELIMITERS,
    SAMPLE_CHARACTERS,
    declared_delimiter,
    find_delimiter,
)
from ignition_ext.audience.encoding import CSV_MEND, find_encoding
from ignition_ext.audience.records import Lines, Record, read_records
from ignition_ext.errors import AudienceError


class CsvFile:
    """Use as a context manager; ``records()`` goes through the file once.

    Attributes:
        columns: the header's names, as templates see them.
        encoding: the Python codec that reads the file.
        size: bytes of the file.

    Raises:
        AudienceError: on entering, when this is no CSV file with an address column and a row.
    """

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self.path = path
        self.encoding = encoding or find_encoding(path)
        self._file: BinaryIO = path.open("rb")
        self.size = path.stat().st_size
        try:
            self._open_text()
        except BaseException:
            self.close()
            raise

    def _open_text(self) -> None:
        # Bytes that are not text become lone surrogates: RowReader rejects just those rows.
        wide = self.encoding.startswith(("utf-16", "utf-32"))
        errors = "replace" if wide else "surrogateescape"
        try:
            text = io.TextIOWrapper(self._file, self.encoding, errors=errors, newline="")
        except LookupError as error:
            raise AudienceError(
                f"{self.encoding!r} is not an encoding that Python knows.",
                path=str(self.path),
                mend="Name one such as utf-8, cp1252, utf-16 or shift_jis.",
            ) from error
        sample = text.read(SAMPLE_CHARACTERS)
        self.delimiter = find_delimiter(sample)
        text.seek(0)
        self._text = text
        self._lines = Lines(text)
        if declared_delimiter(sample):
            next(self._lines)
        self._records = read_records(self._lines, self.delimiter)
        header = next(self._records, None)
        self.columns = self._check_header(header, sample)
        self._ahead = next(self._records, None)
        if self._ahead is None:
            raise AudienceError(
                "the file has a header and no rows.",
                path=str(self.path),
                line=header.line if header else 1,
                mend="Export it again, with its rows.",
            )

    def _check_header(self, header: Record | None, sample: str) -> tuple[str, ...]:
        path = str(self.path)
        if header is None or header.problem:
            what = header.problem if header else "the file holds only blank lines"
            line = header.line if header else 1
            raise AudienceError(f"{what}.", path=path, line=line, mend=CSV_MEND)
        names: Sequence[str] = [header.fields[0].lstrip("\ufeff"), *header.fields[1:]]
        if len(names) == 1 and not any(sign in sample for sign in DELIMITERS) and "@" in names[0]:
            raise AudienceError(
                f"the file begins with an address, {names[0]!r}, not with a header.",
                path=path,
                line=header.line,
                mend="Write the column's name, email, on the first line.",
            )
        if any("\ud800" <= sign <= "\udfff" for name in names for sign in name):
            raise AudienceError(
                "the header is not in the file's encoding.",
                path=path,
                line=header.line,
                mend=f"{HEADER_MEND} {CSV_MEND}",
            )
        return read_header(names, path=path, line=header.line)

    def records(self) -> Iterator[Record]:
        """Each record below the header with the line it begins on; all-empty ones are left out."""
        if self._ahead is not None:
            first, self._ahead = self._ahead, None
            yield from (record for record in (first,) if record.problem or any(record.fields))
        for record in self._records:
            if record.problem or any(record.fields):
                yield record

    @property
    def bytes_read(self) -> int:
        """How far reading has got, for progress bars."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._file.close()

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
