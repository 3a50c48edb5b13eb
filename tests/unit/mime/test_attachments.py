"""Files that may go with a message, and those that may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ignition_ext.errors import ConfigurationError
from ignition_ext.templates.attachments import (
    MAX_TOTAL_BYTES,
    Attachment,
    check_total,
    load_attachment,
)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("terms.PDF", b"%PDF-1.4", "application/pdf"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a.csv", b"", "text/csv"),
        ("meeting.ics", b"", "text/calendar"),
        ("noextension", b"", "application/octet-stream"),
        ("forwarded.eml", b"", "application/octet-stream"),
        ("data.json.gz", b"", "application/octet-stream"),
        ("x.unheardof", b"", "application/octet-stream"),
    ],
)
def test_type_comes_from_the_name(name: str, content: bytes, kind: str) -> None:
    """The same on every machine."""
    assert Attachment(name=name, content=content).type == kind


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("setup.exe", b"MZ", "refuse files of this kind"),
        ("macro.JS", b"", "refuse files of this kind"),
        ("logo.png", b"GIF89a", "not image/png"),
        ("logo.png", b"", "not image/png"),
        ("terms.pdf", b"<html>", "not application/pdf"),
        ("../secret.txt", b"", "not a file name"),
        ("a\\b.txt", b"", "not a file name"),
        ("", b"", "not a file name"),
        (" ", b"", "not a file name"),
        ("ü" * 200 + ".txt", b"", "255 bytes"),
    ],
)
def test_files_that_are_refused(name: str, content: bytes, words: str) -> None:
    """With the file's name, before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        Attachment(name=name, content=content)


def test_a_given_type_must_be_one() -> None:
    """It stands in a header."""
    assert Attachment(name="x", content=b"", content_type="Text/Plain").type == "text/plain"
    with pytest.raises(ConfigurationError, match="not a MIME type"):
        Attachment(name="x", content=b"", content_type='text/plain; charset="x"')


def test_a_file_is_read(tmp_path: Path) -> None:
    """Name without folder, content as it is."""
    path = tmp_path / "Größe.txt"
    path.write_bytes(b"\x00\xff")

    assert load_attachment(path) == Attachment(name="Größe.txt", content=b"\x00\xff")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Its whole path is said."""
    with pytest.raises(ConfigurationError, match=r"nothing\.pdf: cannot be attached"):
        load_attachment(tmp_path / "nothing.pdf")


def test_too_much_together(tmp_path: Path) -> None:
    """One by one and as a sum."""
    half = Attachment(name="a.bin", content=bytes(MAX_TOTAL_BYTES // 2 + 1))
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(MAX_TOTAL_BYTES + 1)

    check_total([half])
    with pytest.raises(ConfigurationError, match="mailboxes take"):
        check_total([half, half])
    with pytest.raises(ConfigurationError, match=r"large\.bin"):
        load_attachment(large)
