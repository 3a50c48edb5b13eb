"""One row of a source becomes a recipient, or a reason why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from ignition_ext.audience.contract import Problem, SourceStats
from ignition_ext.audience.emails import EmailProblem, normalise_email
from ignition_ext.audience.phones import PhoneProblem, normalise_phone, region_of
from ignition_ext.audience.places import normalise_locale, normalise_timezone
from ignition_ext.values import Recipient

MAX_FIELD = 32_767
"""Characters in one field: what a spreadsheet's cell holds. It is copied into every message."""
MAX_EXTERNAL_ID = 200
"""The width of ``recipient.external_id``."""


class _Refused(ValueError):
    """The row's field cannot be used."""


def plain(value: Any) -> Any:
    """A database's value as JSON can hold it: decimals, times and UUIDs as text, bytes refused."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            raise _Refused("binary data cannot be put into a message")
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


class RowReader:
    """Turns rows into recipients by the header's columns.

    Args:
        columns: as :func:`ignition_ext.audience.columns.read_header` gives them.
        region: the tenant's default region for national numbers.
        stats: counts rejected and partial rows.
        report: takes each problem.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        region: str | None,
        stats: SourceStats,
        report: Callable[[Problem], None],
    ) -> None:
        self.columns = tuple(columns)
        self._region, self._stats, self._report = region, stats, report
        self._fields: list[tuple[str, Callable[[str], str]]] = [
            (name, check)
            for name, check in (
                ("locale", _locale),
                ("timezone", _timezone),
                ("external_id", _external_id),
            )
            if name in columns
        ]

    def reject(self, line: int, reason: str, *, field: str = "", value: str = "") -> None:
        """Count and report a row that yields nothing."""
        self._stats.rejected += 1
        self._report(Problem(line=line, field=field, value=value, reason=reason, kept=False))

    def read(self, line: int, values: Sequence[Any]) -> Recipient | None:
        """The recipient of one row; None when there is no usable address (then reported)."""
        if len(values) != len(self.columns):
            reason = f"the row has {len(values)} fields, the header {len(self.columns)}"
            self.reject(line, reason)
            return None
        try:
            data = self._data(values)
        except _Refused as error:
            self.reject(line, str(error))
            return None
        problems: list[tuple[str, str, str]] = []
        email = self._address(data, "email", normalise_email, problems)
        phone = self._address(data, "phone", lambda text: self._number(text, data), problems)
        if email is None and phone is None:
            self._reject_addresses(line, problems)
            return None
        found: dict[str, str] = {}
        for name, check in self._fields:
            text = _text(data[name])
            if text:
                try:
                    found[name] = check(text)
                except _Refused as error:
                    problems.append((name, text, str(error)))
        for field, value, reason in problems:
            self._report(Problem(line=line, field=field, value=value, reason=reason, kept=True))
        self._stats.partial += bool(problems)
        return Recipient(
            email=email,
            phone=phone,
            locale=found.get("locale"),
            timezone=found.get("timezone"),
            external_id=found.get("external_id"),
            data=data,
            line=line,
        )

    def _data(self, values: Sequence[Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, value in zip(self.columns, values, strict=True):
            cell = value.strip() if isinstance(value, str) else plain(value)
            if isinstance(cell, str):
                if len(cell) > MAX_FIELD:
                    raise _Refused(f"{name} has more than {MAX_FIELD} characters")
                if "\0" in cell:
                    raise _Refused(f"{name} holds a NUL character")
                if not cell.isascii() and any("\ud800" <= sign <= "\udfff" for sign in cell):
                    raise _Refused(f"{name} holds bytes that are not text in the file's encoding")
            data[name] = cell
        return data

    def _address(
        self,
        data: dict[str, Any],
        name: str,
        normalise: Callable[[str], str],
        problems: list[tuple[str, str, str]],
    ) -> str | None:
        """The normalised address, put into ``data`` too; an unusable one is taken out of it."""
        written = _text(data.get(name))
        if not written:
            return None
        try:
            data[name] = normalise(written)
        except (EmailProblem, PhoneProblem, _Refused) as error:
            problems.append((name, written, str(error)))
            data[name] = ""
            return None
        return str(data[name])

    def _number(self, text: str, data: dict[str, Any]) -> str:
        country = _text(data.get("country"))
        region = region_of(country) if country else self._region
        try:
            return normalise_phone(text, region)
        except PhoneProblem as error:
            if region is None and country:
                raise _Refused(f"country {country!r} is unknown, and {error}") from error
            raise

    def _reject_addresses(self, line: int, problems: Sequence[tuple[str, str, str]]) -> None:
        if not problems:
            wanted = " and ".join(name for name in ("email", "phone") if name in self.columns)
            self.reject(line, f"{wanted} {'are' if ' ' in wanted else 'is'} empty")
            return
        self._stats.rejected += 1
        for field, value, reason in problems:
            self._report(Problem(line=line, field=field, value=value, reason=reason, kept=False))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _locale(text: str) -> str:
    found = normalise_locale(text)
    if found is None:
        raise _Refused("this is not a language tag (BCP 47) such as de or pt-BR")
    return found


def _timezone(text: str) -> str:
    found = normalise_timezone(text)
    if found is None:
        raise _Refused("this is not a time zone of the IANA database, such as Europe/Berlin")
    return found


def _external_id(text: str) -> str:
    if len(text) > MAX_EXTERNAL_ID:
        raise _Refused(f"longer than {MAX_EXTERNAL_ID} characters")
    return text
