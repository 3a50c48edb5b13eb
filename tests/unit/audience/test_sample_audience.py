"""The sample audience is what its generator makes, and holds what its README promises."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import phonenumbers

from ignition_ext.audience.contract import Problem, SourceStats
from ignition_ext.audience.csv_file import CsvFile
from ignition_ext.audience.rows import RowReader
from ignition_ext.audience.seen import SeenAddresses
from ignition_ext.devtools.sample_audience import COLUMNS, sample_csv
from ignition_ext.values import Recipient

SAMPLE = Path(__file__).parents[3] / "deployments" / "acme" / "customers.csv"
SCRIPTS = {
    *("LATIN", "ARABIC", "CJK", "CYRILLIC", "DEVANAGARI", "GREEK", "HEBREW", "HIRAGANA"),
    *("KATAKANA", "HANGUL", "THAI"),
}


def people() -> tuple[list[Recipient], SourceStats, list[Problem]]:
    problems: list[Problem] = []
    stats = SourceStats()
    with CsvFile(SAMPLE) as file:
        reader = RowReader(file.columns, region="DE", stats=stats, report=problems.append)
        read = [reader.read(record.line, record.fields) for record in file.records()]
    found = [recipient for recipient in read if recipient is not None]
    seen = SeenAddresses()
    unique = seen.new_ones(found)
    seen.close()
    stats.duplicates = len(found) - len(unique)
    return unique, stats, problems


def test_the_file_is_what_the_generator_makes() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == sample_csv()
    assert SAMPLE.stat().st_size < 200_000


def test_the_counts_are_those_of_its_readme() -> None:
    unique, stats, _ = people()

    assert len(unique) == 1000
    assert (stats.duplicates, stats.rejected, stats.partial) == (26, 25, 47)


def test_nobody_real_is_addressed() -> None:
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    unique, _, _ = people()

    assert tuple(rows[0]) == COLUMNS
    domains = {person.email.rpartition("@")[2] for person in unique if person.email}
    assert domains == {"example.com", "example.org", "example.net"}


def test_each_address_and_number_stands_once() -> None:
    unique, _, _ = people()

    for addresses in ([p.email for p in unique], [p.phone for p in unique]):
        given = [address for address in addresses if address]
        assert len(given) == len(set(given)) > 900


def test_numbers_come_from_twenty_countries_in_many_forms() -> None:
    unique, _, _ = people()
    numbers = [phonenumbers.parse(person.phone) for person in unique if person.phone]

    assert len({phonenumbers.region_code_for_number(number) for number in numbers}) == 20
    text = SAMPLE.read_text(encoding="utf-8")
    assert all(form in text for form in ("tel:+", ",0049", ",+49 ", "٠١٠", "０９０"))


def test_names_stand_in_many_scripts_and_locales() -> None:
    unique, _, _ = people()
    names = "".join(str(p.data["first_name"]) + str(p.data["last_name"]) for p in unique)

    assert {unicodedata.name(sign).split()[0] for sign in names} >= SCRIPTS
    assert any(unicodedata.category(sign) == "So" for sign in names)
    locales = {person.locale for person in unique}
    assert locales >= {"en", "de", "tr", "ar", "ja", "ru", "el", "hi", "pt-BR", "fr", "es", "zh"}
