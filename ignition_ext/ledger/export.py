"""A run's messages as CSV, JSON Lines, JSON or Parquet: page by page, never all at once."""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, BinaryIO
from uuid import UUID

from ignition_ext.errors import ConfigurationError

COLUMNS = (
    "address",
    "state",
    "attempts",
    "code",
    "enhanced",
    "failure_class",
    "detail",
    "provider_id",
    "parts",
    "sent_at",
    "updated_at",
    "message_id",
)
FORMATS = ("csv", "jsonl", "json", "parquet")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PLAIN_NUMBER = re.compile(r"\+[0-9]{1,15}")


def csv_cell(value: Any) -> str:
    """A value for a spreadsheet: what would be run as a formula gets a quote in front.

    A telephone number in E.164 is left as it is: a plus sign and digits alone compute nothing,
    and other programs must be able to read the number back.
    """
    text = "" if value is None else _text(value)
    if text.startswith(_FORMULA) and not _PLAIN_NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def json_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with text in place of times and keys."""
    return {
        name: _text(row[name]) if isinstance(row[name], datetime | UUID) else row[name]
        for name in COLUMNS
    }


class Export(ABC):
    """Writes pages into a binary stream; ``close`` ends the document, not the stream."""

    @abstractmethod
    def write(self, page: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows."""

    @abstractmethod
    def close(self) -> None:
        """Write what ends the document."""


class CsvExport(Export):
    """RFC 4180 with a header, UTF-8, safe to open in a spreadsheet."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._put([COLUMNS])

    def write(self, page: Sequence[Mapping[str, Any]]) -> None:
        self._put([[csv_cell(row[name]) for name in COLUMNS] for row in page])

    def _put(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._stream.write(text.getvalue().encode())

    def close(self) -> None:
        """Nothing ends a CSV file."""


class JsonLinesExport(Export):
    """One JSON object a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, page: Sequence[Mapping[str, Any]]) -> None:
        lines = (json.dumps(json_row(row), ensure_ascii=False) + "\n" for row in page)
        self._stream.write("".join(lines).encode())

    def close(self) -> None:
        """Nothing ends JSON Lines."""


class JsonExport(Export):
    """One JSON list, written as it grows."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._separator = "[\n"

    def write(self, page: Sequence[Mapping[str, Any]]) -> None:
        for row in page:
            text = self._separator + json.dumps(json_row(row), ensure_ascii=False)
            self._stream.write(text.encode())
            self._separator = ",\n"

    def close(self) -> None:
        self._stream.write(b"[]\n" if self._separator == "[\n" else b"\n]\n")


class ParquetExport(Export):
    """Parquet with typed columns, one row group a page."""

    def __init__(self, stream: BinaryIO) -> None:
        try:
            # An optional package without annotations; only who wants Parquet needs it.
            arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError as error:
            raise ConfigurationError(
                "writing Parquet needs pyarrow, which is not installed.",
                mend="Install prefect-ignition[parquet], or choose --format csv or jsonl.",
            ) from error
        kinds = {"attempts": arrow.int32(), "parts": arrow.int32()} | dict.fromkeys(
            ("sent_at", "updated_at"), arrow.timestamp("us", tz="UTC")
        )
        fields = [(name, kinds.get(name, arrow.string())) for name in COLUMNS]
        self._schema = arrow.schema(fields)
        self._table = arrow.Table
        self._writer = parquet.ParquetWriter(stream, self._schema)

    def write(self, page: Sequence[Mapping[str, Any]]) -> None:
        rows = [
            {name: row[name] for name in COLUMNS} | {"message_id": str(row["message_id"])}
            for row in page
        ]
        self._writer.write_table(self._table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def open_export(name: str, stream: BinaryIO) -> Export:
    """The export of a format of :data:`FORMATS` into a stream.

    Raises:
        ConfigurationError: the format is unknown, or needs a package that is not installed.
    """
    kinds: dict[str, type[CsvExport | JsonLinesExport | JsonExport | ParquetExport]] = {
        "csv": CsvExport,
        "jsonl": JsonLinesExport,
        "json": JsonExport,
        "parquet": ParquetExport,
    }
    if name not in kinds:
        raise ConfigurationError(
            f"{name!r} is not a format for messages.", mend=f"Choose one of {', '.join(FORMATS)}."
        )
    return kinds[name](stream)
