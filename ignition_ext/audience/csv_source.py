"""Recipients from a CSV file, without storing them as an audience."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from ignition_ext.audience.contract import BATCH_ROWS, SourceStats
from ignition_ext.audience.csv_file import CsvFile
from ignition_ext.audience.filter import RowFilter
from ignition_ext.audience.rejects import Rejects
from ignition_ext.audience.rows import RowReader
from ignition_ext.audience.seen import SeenAddresses
from ignition_ext.values import Recipient


class CsvSource:
    """An open CSV file as a source. Files are read in a thread, so that the loop stays free.

    Args:
        path: the file.
        region: the tenant's default region.
        rejects: where bad rows are written; None: nowhere.
        unique: leave out rows whose pair of addresses came before.
        where: a condition; rows are made unique first, as an import does.
        encoding: a Python codec, where the file's own cannot be found.

    Raises:
        AudienceError: it is no CSV file, or the condition is wrong.
    """

    def __init__(
        self,
        path: Path,
        *,
        region: str | None,
        rejects: Path | None,
        unique: bool,
        where: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self.stats = SourceStats()
        self.rejects = Rejects(rejects)
        self.file = CsvFile(path, encoding=encoding)
        self.columns: Sequence[str] = self.file.columns
        self._reader = RowReader(
            self.columns, region=region, stats=self.stats, report=self.rejects.add
        )
        try:
            self._filter = RowFilter(where, self.columns) if where else None
        except BaseException:
            self.file.close()
            raise
        self._seen = SeenAddresses() if unique else None
        self._iterator = self._batches()
        self._lock = threading.Lock()

    async def batches(self) -> AsyncIterator[Sequence[Recipient]]:
        """Recipients in the file's order."""
        while batch := await asyncio.to_thread(self._next):
            self.stats.yielded += len(batch)
            yield batch

    def _next(self) -> Sequence[Recipient] | None:
        with self._lock:
            return next(self._iterator, None)

    def _batches(self) -> Iterator[Sequence[Recipient]]:
        batch: list[Recipient] = []
        for record in self.file.records():
            if record.problem:
                self._reader.reject(record.line, record.problem)
                continue
            recipient = self._reader.read(record.line, record.fields)
            if recipient is not None:
                batch.append(recipient)
            if len(batch) >= BATCH_ROWS:
                if chosen := self._choose(batch):
                    yield chosen
                batch = []
        if chosen := self._choose(batch):
            yield chosen

    def _choose(self, batch: list[Recipient]) -> list[Recipient]:
        if self._seen is not None:
            fresh = self._seen.new_ones(batch)
            self.stats.duplicates += len(batch) - len(fresh)
            batch = fresh
        if self._filter is not None:
            matching = self._filter.matching(batch)
            self.stats.filtered += len(batch) - len(matching)
            batch = matching
        return batch

    def finish(self) -> None:
        """Put the rejects file in place, when there is something in it."""
        self.stats.rejects_path = self.rejects.commit()

    def close(self) -> None:
        """Close everything; rejects that were not put in place are dropped."""
        with self._lock:
            self.rejects.discard()
            self.file.close()
            for helper in (self._seen, self._filter):
                if helper is not None:
                    helper.close()
