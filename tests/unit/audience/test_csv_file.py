"""CSV files of every make are read right, and what is no CSV is refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ignition_ext.audience.csv_file import CsvFile
from ignition_ext.audience.delimiter import DELIMITERS
from ignition_ext.audience.records import MAX_LINE, MAX_RECORD_LINES
from ignition_ext.errors import AudienceError

CELL = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\x85\u2028\u2029")
    | st.sampled_from(list(',;|"\t\n ')),
    max_size=12,
)
MARKED = ["utf-8-sig", "utf-16", "utf-32"]


def read(path: Path) -> tuple[CsvFile, list[tuple[int, list[str]]]]:
    with CsvFile(path) as file:
        return file, [(record.line, list(record.fields)) for record in file.records()]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.just("a@example.com"), CELL, CELL), min_size=1, max_size=8),
    delimiter=st.sampled_from(DELIMITERS),
    encoding=st.sampled_from(["utf-8", *MARKED]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_delimiter_encoding_and_newline_is_read_back(
    rows: list[tuple[str, str, str]], delimiter: str, encoding: str, newline: str, tmp_path: Path
) -> None:
    text = io.StringIO()
    # The writer does not quote a line feed where lines end with a carriage return.
    quoting = csv.QUOTE_ALL if newline == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerows([("email", "first name", "city"), *rows])
    path = write(tmp_path / "a.csv", text.getvalue(), encoding)

    file, found = read(path)

    assert file.delimiter == delimiter
    assert file.columns == ("email", "first name", "city")
    assert [tuple(fields) for _, fields in found] == rows


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("cp1252", "Jürgen Größler, Straße, François, œuvre — “Zoë” naïve"),
        ("cp1250", "Jiří Dvořák, Růžena Černá, Łukasz Wójcik, Łódź, Plzeň"),
        ("cp1254", "Çağla Yılmaz, Şükrü Öztürk, Işıl Güneş, İzmir"),
        ("cp1251", "Дмитрий Соловьёв, улица Пушкина, город Казань"),
        ("cp932", "佐藤さくらは東京に住んでいます。鈴木健太は大阪です"),
        ("gb18030", "王伟住在北京市，欧阳雨桐住在上海市，张浩然在成都"),
        ("cp1253", "Ελένη Παπαδοπούλου, οδός Ερμού, Θεσσαλονίκη"),
        ("utf-16-le", "Ünal"),
        ("utf-16-be", "Ünal"),
    ],
)
def test_encodings_without_a_mark_are_found(encoding: str, name: str, tmp_path: Path) -> None:
    body = "".join(f'a{n}@example.com,{n},"{name}"\n' for n in range(30))
    path = write(tmp_path / "a.csv", f"email,number,name\n{body}", encoding)

    _, found = read(path)

    assert found[7] == (9, ["a7@example.com", "7", name])


def test_an_encoding_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "email,name\na@example.com,Ħal\n", "iso8859_3")

    with CsvFile(path, encoding="iso8859_3") as file:
        assert next(file.records()).fields == ["a@example.com", "Ħal"]
    with pytest.raises(AudienceError, match="not an encoding"):
        CsvFile(path, encoding="klingon")


def test_utf8_is_checked_beyond_the_first_megabyte(tmp_path: Path) -> None:
    body = "a@example.com,plain\n" * 70_000 + "b@example.com,Zoë\n"
    path = write(tmp_path / "a.csv", f"email,name\n{body}")

    file, found = read(path)

    assert file.encoding == "utf-8"
    assert found[-1] == (70_002, ["b@example.com", "Zoë"])


def test_a_few_damaged_bytes_do_not_change_the_encoding(tmp_path: Path) -> None:
    text = "email,name\n" + "a@example.com,Ünal\n" * 50
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode() + b"b@example.com,M\xfcller\n")

    file, found = read(path)

    assert file.encoding == "utf-8"
    assert found[0][1][1] == "Ünal"
    assert found[-1][1][1] == "M\udcfcller"


def test_lines_are_the_files_own(tmp_path: Path) -> None:
    text = 'email,note\n\na@example.com,"one\ntwo\r\nthree"\nb@example.com,x\n,\nc@example.com,y\n'
    path = write(tmp_path / "a.csv", text)

    _, found = read(path)

    assert [(line, fields[0]) for line, fields in found] == [
        (3, "a@example.com"),
        (6, "b@example.com"),
        (8, "c@example.com"),
    ]


def test_an_open_quote_costs_only_its_own_line(tmp_path: Path) -> None:
    good = "".join(f"a{n}@example.com,x\n" for n in range(MAX_RECORD_LINES * 2))
    path = write(tmp_path / "a.csv", f'email,note\nb@example.com,"open\n{good}')

    with CsvFile(path) as file:
        records = list(file.records())

    assert [record.line for record in records] == list(range(2, MAX_RECORD_LINES * 2 + 3))
    assert [record.line for record in records if record.problem] == [2]
    assert "quote" in records[0].problem


def test_an_open_quote_at_the_end_is_reported(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", 'email,note\na@example.com,x\nb@example.com,"open\nc@d.example,y'
    )

    with CsvFile(path) as file:
        records = list(file.records())

    assert [(record.line, bool(record.problem)) for record in records] == [
        (2, False),
        (3, True),
        (4, False),
    ]


def test_a_line_too_long_for_memory_is_left_out(tmp_path: Path) -> None:
    long = "x" * (MAX_LINE * 2 + 5)
    text = f'email,note\na@example.com,{long}\nb@example.com,"open\n{long}\nc@example.com,y\n'
    path = write(tmp_path / "a.csv", text)

    with CsvFile(path) as file:
        records = list(file.records())

    assert [(record.line, bool(record.problem)) for record in records] == [
        *((2, True), (3, True), (4, True), (5, False)),
    ]


@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
def test_other_delimiters_inside_fields_do_not_mislead(sign: str, tmp_path: Path) -> None:
    others = "".join(other for other in ",;|" if other != sign)
    lines = [sign.join(("name", "email", "amount", "tags"))]
    lines += [
        sign.join((f"Doe{others}Ann", "a@example.com", f"1{others}000{others}00", f"x{others}y"))
        for _ in range(20)
    ]
    path = write(tmp_path / "a.csv", "\n".join(lines))

    file, found = read(path)

    assert file.delimiter == sign
    assert len(found) == 20


def test_a_declared_delimiter_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "sep=;\nemail;note\na@example.com;x,y\n")

    assert read(path)[1] == [(3, ["a@example.com", "x,y"])]


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Mobile\n+4915123456789\n+4915123456780")

    file, found = read(path)

    assert file.columns == ("phone",)
    assert len(found) == 2


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \r\n\n ", "only blank space"),
        (b"email,phone\n", "a header and no rows"),
        (b"email,phone\n\n\n", "a header and no rows"),
        (_zip(), "XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "XLS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"SQLite format 3\0", "SQLite"),
        (json.dumps([{"email": "a@example.com"}]).encode(), "JSON"),
        (b'\xef\xbb\xbf{"email": 1}', "JSON"),
        (b"<html><body>email", "HTML"),
        (bytes(range(256)) * 20, "binary data"),
        (b"name,city\nAnn,Bonn\n", "no email or phone column; found: name, city"),
        (b"a@example.com\nb@example.com\n", "begins with an address"),
        (b"email,E-Mail\na,b\n", "are both 'email'"),
        (b"email,name,Name\na,b,c\n", "are both 'Name'"),
        (b"email,,x\na,b,c\n", "column 2 of the header has no name"),
        (b'email,"a""b"\na,b\n', "holds a quote"),
        (b'email,"a\nb"\na,b\n', "control sign"),
        (b"email," + b"x" * 101 + b"\na,b\n", "more than 100 letters"),
        (b"email," + b",".join(b"c%d" % n for n in range(500)) + b"\na,b\n", "501 columns"),
        (b'"email,phone\na,b\n', "quotes or fields are damaged"),
    ],
    # Not the content: an archive holds the time, and each process would name its test otherwise.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_csv_is_refused_in_one_sentence(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)

    with pytest.raises(AudienceError) as caught:
        CsvFile(path)

    assert message in caught.value.message
    assert caught.value.message.startswith(str(path))
    assert caught.value.mend


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_path_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(AudienceError, match="cannot be read") as caught:
        CsvFile(tmp_path / name)

    assert caught.value.mend


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)
@given(content=st.binary(max_size=300) | st.text('email,;"\n\rx\0', max_size=60).map(str.encode))
def test_no_content_breaks_the_reader(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    try:
        _, found = read(path)
    except AudienceError:
        return

    assert [line for line, _ in found] == sorted({line for line, _ in found})
