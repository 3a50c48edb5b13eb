"""A row becomes a recipient with what is usable in it; the rest is reported."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from ignition_ext.audience.contract import Problem, SourceStats
from ignition_ext.audience.rows import MAX_FIELD, RowReader
from ignition_ext.values import Recipient

COLUMNS = ("email", "phone", "country", "locale", "timezone", "external_id", "note")


class Reading:
    """A reader whose problems can be looked at."""

    def __init__(self, columns: tuple[str, ...] = COLUMNS) -> None:
        self.problems: list[Problem] = []
        self.stats = SourceStats()
        self.reader = RowReader(columns, region="DE", stats=self.stats, report=self.problems.append)

    def read(self, *values: object) -> Recipient | None:
        return self.reader.read(5, values)

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(problem.field, problem.kept) for problem in self.problems]


@pytest.fixture
def reading() -> Reading:
    return Reading()


def test_a_whole_row(reading: Reading) -> None:
    found = reading.read(
        " A@Example.com ", "0664 123456", "AT", "de_AT", "Europe/Vienna", " X1 ", " hi "
    )

    assert found is not None
    assert (found.email, found.phone) == ("a@example.com", "+43664123456")
    assert (found.locale, found.timezone, found.external_id) == ("de-AT", "Europe/Vienna", "X1")
    assert found.data["email"] == "a@example.com"
    assert found.data["phone"] == "+43664123456"
    assert found.data["note"] == "hi"
    assert found.line == 5
    assert reading.problems == []


def test_a_national_number_belongs_to_the_tenants_region_without_a_country(
    reading: Reading,
) -> None:
    found = reading.read("", "01512 3456789", "", "", "", "", "")

    assert found is not None
    assert found.phone == "+4915123456789"


def test_a_bad_address_beside_a_good_number_is_dropped_and_told(reading: Reading) -> None:
    found = reading.read("nobody", "01512 3456789", "", "", "", "", "")

    assert found is not None
    assert found.email is None
    assert found.data["email"] == ""
    assert reading.told == [("email", True)]
    assert reading.problems[0].value == "nobody"
    assert (reading.stats.partial, reading.stats.rejected) == (1, 0)


def test_bad_extras_are_dropped_and_told(reading: Reading) -> None:
    found = reading.read("a@example.com", "", "", "xx-klingon", "Mars/X", "e" * 201, "")

    assert found is not None
    assert (found.locale, found.timezone, found.external_id) == (None, None, None)
    assert reading.told == [("locale", True), ("timezone", True), ("external_id", True)]


def test_an_unknown_country_never_lets_a_national_number_through(reading: Reading) -> None:
    assert reading.read("", "01512 3456789", "Atlantis", "", "", "", "") is None
    assert reading.read("", "+4915123456789", "Atlantis", "", "", "", "") is not None

    assert "Atlantis" in reading.problems[0].reason


@pytest.mark.parametrize(
    ("values", "field", "reason"),
    [
        (("",) * 7, "", "email and phone are empty"),
        (("a@example.com",), "", "the row has 1 fields, the header 7"),
        (("a@example.com",) * 8, "", "the row has 8 fields"),
        (("bad", *("",) * 6), "email", "@-sign"),
        (("a@example.com", *("",) * 5, "x\0y"), "", "note holds a NUL"),
        (("a@example.com", *("",) * 5, "x\udcfcy"), "", "not text in the file's encoding"),
        (("a@example.com", *("",) * 5, "x" * (MAX_FIELD + 1)), "", "note has more than"),
        (("a@example.com", *("",) * 5, b"\x00"), "", "binary"),
    ],
)
def test_rows_that_yield_nothing(
    reading: Reading, values: tuple[object, ...], field: str, reason: str
) -> None:
    assert reading.read(*values) is None

    assert reading.stats.rejected == 1
    assert reading.told == [(field, False)]
    assert reason in reading.problems[0].reason
    assert reading.problems[0].line == 5


def test_two_bad_addresses_are_one_rejected_row_with_two_problems(reading: Reading) -> None:
    assert reading.read("bad", "12", "", "", "", "", "") is None

    assert reading.told == [("email", False), ("phone", False)]
    assert reading.stats.rejected == 1


def test_a_databases_values_become_json() -> None:
    columns = ("email", "phone", "amount", "at", "day", "key", "tags", "gone", "n", "nan")
    key = UUID(int=7)
    found = Reading(columns).read(
        *("a@example.com", 4915123456789, Decimal("19.90"), datetime(2026, 1, 2, tzinfo=UTC)),
        *(date(2026, 1, 2), key, ["x", Decimal(1)], None, 3, float("nan")),
    )

    assert found is not None
    assert found.data == {
        "email": "a@example.com",
        "phone": "+4915123456789",
        "amount": "19.90",
        "at": "2026-01-02T00:00:00+00:00",
        "day": "2026-01-02",
        "key": str(key),
        "tags": ["x", "1"],
        "gone": None,
        "n": 3,
        "nan": "nan",
    }
