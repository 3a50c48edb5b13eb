"""Filters that speak the recipient's language: dates, times, numbers and money through Babel.

Each takes what audiences hold: numbers, or text such as ``19.90`` and ``2026-11-21``. A time
without an offset is UTC and is shown in the recipient's time zone; a mere date is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from babel.numbers import UnknownCurrencyError
from jinja2 import Undefined, pass_context
from jinja2.runtime import Context

from ignition_ext.templates.rendering.limits import (
    FORMATS_KEPT,
    MAX_LOCALES,
    MAX_PATTERN_CHARS,
)
from ignition_ext.templates.rendering.numerals import decimal_writer, money_writer

_DAY_CHARS = len("2026-11-21")

VOICE = "@voice"
"""Key of the :class:`Voice` in a template's context; no expression can name it."""


class Speech:
    """A language; the same object for the same language, so that what it has said is found."""

    __slots__ = ("locale",)

    def __init__(self, locale: Locale) -> None:
        self.locale = locale


@lru_cache(maxsize=MAX_LOCALES)
def speech_of(locale: Locale) -> Speech:
    """The language of a locale."""
    return Speech(locale)


@dataclass(frozen=True, slots=True)
class Voice:
    """The language and the clock that a message is written for."""

    speech: Speech
    timezone: ZoneInfo

    @property
    def locale(self) -> Locale:
        """The language's locale."""
        return self.speech.locale


def _voice(context: Context) -> Voice:
    voice: Voice = context.parent[VOICE]
    return voice


def _known(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)  # StrictUndefined raises here, with the variable's name
    if value is None or value == "":
        raise ValueError("the value is empty")
    return value


def _pattern(value: str) -> str:
    if len(value) > MAX_PATTERN_CHARS:
        raise ValueError(f"a format has at most {MAX_PATTERN_CHARS} characters")
    return value


def as_number(value: Any) -> Decimal | int:
    """The number that a column's value means.

    Raises:
        ValueError: it is none.
    """
    value = _known(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None
    if not number.is_finite() or abs(number.adjusted()) > MAX_PATTERN_CHARS:
        raise ValueError(f"{str(value)[:40]!r} is not a number that can be shown")
    return number


def as_moment(value: Any) -> datetime | date:
    """The date or time that a column's value means; ISO 8601 where it is text.

    Raises:
        ValueError: it is none.
    """
    value = _known(value)
    if isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        return date.fromisoformat(text) if len(text) == _DAY_CHARS else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a date or time in ISO 8601") from None


def _local(value: Any, zone: ZoneInfo) -> datetime:
    moment = as_moment(value)
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), tzinfo=zone)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone)


# A page and its text, and many recipients, ask for the same: what a column says is the key, and
# a language is found by its identity, because comparing Babel's locales takes longer than the rest.
@lru_cache(maxsize=FORMATS_KEPT)
def _day(text: str, pattern: str, speech: Speech) -> str:
    return dates.format_date(as_moment(text), _pattern(pattern), speech.locale)


@lru_cache(maxsize=FORMATS_KEPT)
def _decimal(value: str, pattern: str | None, speech: Speech) -> str:
    return _write_decimal(value, pattern, speech)


def _write_decimal(value: Any, pattern: str | None, speech: Speech) -> str:
    form = None if pattern is None else _pattern(pattern)
    return decimal_writer(speech.locale, form)(as_number(value))


@lru_cache(maxsize=FORMATS_KEPT)
def _money(value: str, code: str, pattern: str | None, speech: Speech) -> str:
    return _write_money(value, code, pattern, speech)


def _write_money(value: Any, code: str, pattern: str | None, speech: Speech) -> str:
    form = None if pattern is None else _pattern(pattern)
    number, currency = as_number(value), str(_known(code)).strip().upper()
    if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
        raise ValueError(f"{currency[:40]!r} is not an ISO 4217 currency")
    try:
        return money_writer(speech.locale, currency, form)(number)
    except UnknownCurrencyError:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency") from None


@pass_context
def format_date(context: Context, value: Any, format: str = "medium") -> str:
    """``2026-11-21`` as ``21. November 2026`` with ``format="long"``, or a CLDR pattern."""
    voice = _voice(context)
    if type(value) is str and len(value) == _DAY_CHARS:
        return _day(value, format, voice.speech)
    moment = as_moment(value)
    day = _local(moment, voice.timezone).date() if isinstance(moment, datetime) else moment
    return dates.format_date(day, _pattern(format), voice.locale)


@pass_context
def format_datetime(context: Context, value: Any, format: str = "medium") -> str:
    """Date and time on the recipient's clock."""
    voice = _voice(context)
    local = _local(value, voice.timezone)
    return dates.format_datetime(local, _pattern(format), voice.timezone, voice.locale)


@pass_context
def format_time(context: Context, value: Any, format: str = "short") -> str:
    """Time of day on the recipient's clock."""
    voice = _voice(context)
    local = _local(value, voice.timezone)
    return dates.format_time(local, _pattern(format), voice.timezone, voice.locale)


@pass_context
def format_number(context: Context, value: Any, format: str | None = None) -> str:
    """``1234.5`` as ``1.234,5``."""
    write = _decimal if type(value) is str else _write_decimal
    return write(value, format, _voice(context).speech)


@pass_context
def format_percent(context: Context, value: Any, format: str | None = None) -> str:
    """``0.19`` as ``19 %``."""
    pattern = None if format is None else _pattern(format)
    return numbers.format_percent(as_number(value), pattern, _voice(context).locale)


@pass_context
def format_currency(context: Context, value: Any, code: str, format: str | None = None) -> str:
    """``19.9`` with ``"EUR"`` as ``19,90 €``."""
    write = _money if type(value) is type(code) is str else _write_money
    return write(value, code, format, _voice(context).speech)


@pass_context
def choose_plural(context: Context, value: Any, **forms: str) -> str:
    """The form for a number by the language's rules: ``n|plural(one="day", other="days")``.

    Languages use some of ``zero``, ``one``, ``two``, ``few``, ``many``; ``other`` is needed.
    """
    if "other" not in forms:
        raise ValueError("plural needs a form for other=…")
    return forms.get(_voice(context).locale.plural_form(as_number(value)), forms["other"])


LOCALE_FILTERS: dict[str, Callable[..., Any]] = {
    "date": format_date,
    "datetime": format_datetime,
    "time": format_time,
    "number": format_number,
    "percent": format_percent,
    "currency": format_currency,
    "plural": choose_plural,
}
