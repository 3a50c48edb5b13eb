"""Audiences of any size, for the demo's ``--recipients``, the tests and the benchmarks."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ignition_ext.devtools.sample_audience import COLUMNS

MAX_RECIPIENTS = 10_000_000
"""Seven digits stand behind the prefix of the numbers."""
_NAMES = ("Ada", "Émile", "Øystein", "Željka", "Мария", "محمد", "王芳", "ソフィア", "Ngọc", "Ana")
_LOCALES = ("en", "fr", "nb", "hr", "ru", "ar", "zh", "ja", "vi", "es-MX")


def rows(count: int) -> Iterator[dict[str, str]]:
    """``count`` people who do not exist, each with a valid address and number of their own."""
    for index in range(count):
        name = _NAMES[index % len(_NAMES)]
        yield {
            "email": f"person{index}@example.com",
            "phone": f"+49151{2_0000000 + index:08d}",
            "first_name": name,
            "last_name": f"Number {index}",
            "locale": _LOCALES[index % len(_LOCALES)],
            "timezone": "Europe/Berlin",
            "country": "DE",
            "city": "Berlin",
            "plan": "pro",
            "renewal_date": f"2027-{index % 12 + 1:02d}-{index % 28 + 1:02d}",
            "amount": f"{index % 500 + 5}.90",
            "currency": "EUR",
            "account_id": f"AC-{index:07d}",
        }


def write_audience(path: Path, count: int) -> None:
    """Write a CSV file of ``count`` recipients with the sample audience's columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows(count))
