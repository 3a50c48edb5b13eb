"""Which encoding a text file is in, and whether it is a text file at all.

A byte order mark decides; then UTF-16 without one shows by its NULs; then UTF-8, checked over the
whole file in constant memory (what is valid UTF-8 and not ASCII is UTF-8); only then is an old
code page guessed by charset-normalizer from the file's lines that are not ASCII.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

from ignition_ext.errors import AudienceError

SAMPLE_BYTES = 65_536
"""Looked at to tell text from binary, and to guess a code page: more does not guess better."""
CHUNK_BYTES = 1 << 20
UTF8_TOLERANCE = 20
"""A file with this many good sequences for each bad one is UTF-8 with some damaged rows."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMATS = (
    (b"PK\x03\x04", "a spreadsheet (XLSX, ODS) or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (XLS)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
)
_TEXT_FORMATS = (
    ("{", "JSON"),
    ("[", "JSON"),
    ("<", "HTML or XML"),
    ("%!PS", "PostScript"),
    ("{\\rtf", "RTF"),
)
_CODE_PAGES = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("koi8_r", "cp866", "cp932", "gb18030", "big5", "cp949", "euc_jp", "mac_roman"),
]
_LATIN = {
    "cp1252": frozenset("äöüÄÖÜßéèêëàâçôîïùûœÉÈÀÇñÑáíóúÁÍÓÚãõÃÕåÅæÆøØ€–—“”„‘’«»°§"),
    "cp1250": frozenset("ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰöüÖÜäôľĺŕăâîşţ"),
    "cp1254": frozenset("ğĞıİşŞöÖüÜçÇâîûÂ"),
    "cp1257": frozenset("āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽąęėįųĄĘĖĮŲõäöüÕÄÖÜ"),
    "mac_roman": frozenset("äöüÄÖÜßéèêëàâçôîïùûœñáíóúãõåæø"),
}
"""Letters that names in each page's languages are made of; in a tie the page named first wins."""
CSV_MEND = "Save it as CSV in UTF-8 and try again."


def find_encoding(path: Path) -> str:
    """The Python codec that reads ``path``.

    ``utf-8`` may come back for a file with a few bad bytes: the reader rejects those rows.

    Raises:
        AudienceError: it is missing, empty, a directory, or not text.
    """
    try:
        with path.open("rb") as file:
            sample = file.read(SAMPLE_BYTES)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AudienceError(
            f"cannot be read: {reason}.", path=str(path), mend="Check the path and its permissions."
        ) from error
    if not sample:
        raise AudienceError("the file is empty.", path=str(path), mend=CSV_MEND)
    for mark, what in _FORMATS:
        if sample.startswith(mark):
            raise _not_csv(path, what)
    encoding = _by_mark(sample) or _by_nuls(sample) or _by_content(path)
    _refuse_other_text(path, sample.decode(encoding, "replace"))
    return encoding


def _not_csv(path: Path, what: str) -> AudienceError:
    return AudienceError(f"this is not CSV but {what}.", path=str(path), line=1, mend=CSV_MEND)


def _by_mark(sample: bytes) -> str | None:
    return next((name for mark, name in _MARKS if sample.startswith(mark)), None)


def _by_nuls(sample: bytes) -> str | None:
    """UTF-16 without a mark: delimiters and digits leave NULs on one side of each pair."""
    pairs = len(sample) // 2
    even, odd = sample[0 : pairs * 2 : 2].count(0), sample[1 : pairs * 2 : 2].count(0)
    if pairs and odd > pairs * 0.3 and even < pairs * 0.05:
        return "utf-16-le"
    if pairs and even > pairs * 0.3 and odd < pairs * 0.05:
        return "utf-16-be"
    return None


def _by_content(path: Path) -> str:
    good, bad, lines = _scan(path)
    if not bad or good >= bad * UTF8_TOLERANCE:
        return "utf-8"
    best = from_bytes(lines, cp_isolation=_CODE_PAGES).best()
    if best is None or best.encoding in _LATIN:
        return max(_LATIN, key=lambda page: _likely_letters(lines, page))
    return best.encoding


def _likely_letters(lines: bytes, page: str) -> int:
    """How well a code page of the Latin script fits: names are too short for statistics."""
    try:
        text = lines.decode(page)
    except UnicodeDecodeError:
        return -len(lines)
    letters = _LATIN[page]
    return sum(1 if sign in letters else -1 for sign in text if sign > "\x7f")


def _scan(path: Path) -> tuple[int, int, bytes]:
    """UTF-8 sequences that are right and wrong, and a bounded sample of the non-ASCII lines."""
    good = bad = 0
    sample = bytearray()
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            text = decoder.decode(chunk)
            if text.isascii():
                continue
            escaped = sum(map(text.count, _ESCAPES)) if _has_escapes(text) else 0
            bad += escaped
            good += len(text) - len(text.encode("ascii", "ignore")) - escaped
            if len(sample) < SAMPLE_BYTES:
                for line in chunk.splitlines(keepends=True):
                    if not line.isascii() and len(sample) < SAMPLE_BYTES:
                        sample += line[: SAMPLE_BYTES - len(sample)]
        tail = decoder.decode(b"", final=True)
    return good, bad + len(tail), bytes(sample)


_ESCAPES = [chr(code) for code in range(0xDC80, 0xDD00)]


def _has_escapes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _refuse_other_text(path: Path, text: str) -> None:
    start = text.lstrip("\ufeff \t\r\n")
    for mark, what in _TEXT_FORMATS:
        if start.startswith(mark):
            raise _not_csv(path, what)
    controls = sum(sign < " " and sign not in "\t\r\n" for sign in text)
    if controls * 20 > len(text):
        raise _not_csv(path, "binary data")
    if not start:
        raise AudienceError("the file holds only blank space.", path=str(path), mend=CSV_MEND)
