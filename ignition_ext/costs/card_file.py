"""A rate card as a CSV file: read with the line of each mistake, and written the same."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ignition_ext.costs.card import LONGEST_PREFIX, Price, network_code
from ignition_ext.costs.money import price_text, read_micros
from ignition_ext.errors import RateCardError
from ignition_ext.models import PriceKind

COLUMNS = ("prefix", "network", "price", "name")
MOST_ENTRIES = 200_000
"""Lines of a card: the largest carriers' have some ten thousand. More is another kind of file."""
SHOWN_MISTAKES = 10
NAME_LENGTH = 100
_PREFIX = re.compile(rf"[1-9]\d{{0,{LONGEST_PREFIX - 1}}}")
_NETWORK = re.compile(r"[1-9]\d{4,5}")
_MEND = (
    "Write a line for each prefix or network:"
    " prefix,network,price,name (the price of one segment, such as 0.0075)."
)


def read_card(path: Path) -> list[Price]:
    """The prices of a file, in its order; comma, semicolon or tab between the columns.

    Raises:
        RateCardError: it is no such file; names the first wrong lines.
        OSError: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RateCardError(
            "it is not in UTF-8.", path=str(path), mend="Store it as CSV in UTF-8."
        ) from error
    return parse_card(text, path=str(path))


def parse_card(text: str, *, path: str = "") -> list[Price]:
    """The prices of such a text.

    Raises:
        RateCardError: see :func:`read_card`.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    prices: dict[tuple[PriceKind, str], Price] = {}
    lines: dict[tuple[PriceKind, str], int] = {}
    mistakes: list[tuple[int, str]] = []
    try:
        header = _header(next(rows, []), path)
        for row in rows:
            line = rows.line_num
            if not any(cell.strip() for cell in row):
                continue
            try:
                price = _price(header, row)
                key = (price.kind, price.code)
                if key in prices:
                    raise ValueError(f"{price.kind} {price.code} stands in line {lines[key]} too")
            except ValueError as error:
                mistakes.append((line, str(error)))
                if len(mistakes) > SHOWN_MISTAKES:
                    break
                continue
            prices[key], lines[key] = price, line
            if len(prices) > MOST_ENTRIES:
                raise RateCardError(f"more than {MOST_ENTRIES} lines.", path=path, mend=_MEND)
    except csv.Error as error:
        raise RateCardError(f"{error}.", path=path, line=rows.line_num, mend=_MEND) from error
    _refuse(mistakes, path)
    if not prices:
        raise RateCardError("it has no prices.", path=path, mend=_MEND)
    return list(prices.values())


def _refuse(mistakes: list[tuple[int, str]], path: str) -> None:
    if not mistakes:
        return
    (line, first), rest = mistakes[0], mistakes[1:SHOWN_MISTAKES]
    told = "".join(f"; line {number}: {text}" for number, text in rest)
    more = " …" if len(mistakes) > SHOWN_MISTAKES else "."
    raise RateCardError(f"{first}{told}{more}", path=path, line=line, mend=_MEND)


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _header(cells: Iterable[str], path: str) -> Mapping[str, int]:
    names = [cell.strip().lower() for cell in cells]
    unknown = [name for name in names if name not in COLUMNS]
    if "price" not in names or not {"prefix", "network"} & set(names) or unknown:
        found = ", ".join(names) or "nothing"
        raise RateCardError(f"the header has {found}.", path=path, line=1, mend=_MEND)
    if len(set(names)) != len(names):
        raise RateCardError("a column stands twice.", path=path, line=1, mend=_MEND)
    return {name: index for index, name in enumerate(names)}


def _price(header: Mapping[str, int], row: list[str]) -> Price:
    if len(row) != len(header):
        raise ValueError(f"{len(row)} columns, the header has {len(header)}")
    said = {name: row[index].strip() for name, index in header.items()}
    prefix, network = said.get("prefix", ""), said.get("network", "")
    if bool(prefix) == bool(network):
        raise ValueError("either a prefix or a network, and not both")
    kind = PriceKind.PREFIX if prefix else PriceKind.NETWORK
    code = _prefix(prefix) if prefix else _network(network)
    name = said.get("name", "")
    if len(name) > NAME_LENGTH:
        raise ValueError(f"the name is longer than {NAME_LENGTH} signs")
    return Price(kind=kind, code=code, micros=read_micros(said["price"]), name=name)


def _prefix(text: str) -> str:
    code = re.sub(r"[\s()./-]", "", text).removeprefix("+")
    if not _PREFIX.fullmatch(code) or not code.isascii():
        raise ValueError(f"{text!r} is not the beginning of an international number")
    return code


def _network(text: str) -> str:
    code = network_code(text)
    if not _NETWORK.fullmatch(code) or not code.isascii():
        raise ValueError(f"{text!r} is not a network (MCC-MNC such as 262-01)")
    return code


def card_text(prices: Iterable[Price]) -> str:
    """The file that :func:`read_card` reads as these prices."""
    made = io.StringIO(newline="")
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in prices:
        is_prefix = one.kind is PriceKind.PREFIX
        prefix, network = (f"+{one.code}", "") if is_prefix else ("", one.code)
        writer.writerow((prefix, network, price_text(one.micros), one.name))
    return made.getvalue()
