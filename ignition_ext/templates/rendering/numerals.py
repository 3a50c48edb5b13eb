"""Numbers as a language writes them, by Babel's data; the usual ones without Babel's time.

Babel works out a pattern for each number anew, in some 50 µs, and amounts differ from recipient to
recipient. Here the pattern is worked out once and checked against Babel; what does not agree with
it (exponents, paddings, negative or huge numbers) is left to Babel.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

from babel import Locale, numbers

from ignition_ext.templates.rendering.limits import FORMATS_KEPT

Number = Decimal | int
Write = Callable[[Number], str]

_MOST_DIGITS = 15
"""Whole digits of a usual number; beyond, the decimal context's precision begins to matter."""

_PROBES = tuple(
    map(
        Decimal,
        [
            *("0", "1", "0.004", "0.005", "0.015", "0.5", "9.995", "12.5", "999.99", "999.9995"),
            *("1000", "1234.5", "9999", "10000", "99999.999", "123456.789", "1234567.891"),
            *("12345678.25", "1234567890.125"),
        ],
    )
)
"""Halves and edges of groups, where ways to write a number part."""


@lru_cache(maxsize=FORMATS_KEPT)
def decimal_writer(locale: Locale, pattern: str | None) -> Write:
    """Writes numbers as ``format_decimal`` does."""

    def by_babel(number: Number) -> str:
        return numbers.format_decimal(number, pattern, locale)

    form = locale.decimal_formats[None] if pattern is None else numbers.parse_pattern(pattern)
    return _checked(by_babel, locale, form.grouping, form.frac_prec)


@lru_cache(maxsize=FORMATS_KEPT)
def money_writer(locale: Locale, currency: str, pattern: str | None) -> Write:
    """Writes amounts as ``format_currency`` does."""

    def by_babel(number: Number) -> str:
        return numbers.format_currency(number, currency, pattern, locale)

    form = (
        locale.currency_formats["standard"] if pattern is None else numbers.parse_pattern(pattern)
    )
    digits = numbers.get_currency_precision(currency)
    return _checked(by_babel, locale, form.grouping, (digits, digits))


def _checked(
    by_babel: Write, locale: Locale, grouping: tuple[int, int], digits: tuple[int, int]
) -> Write:
    """A quick writer, if there is one that agrees with Babel, else Babel."""
    point, comma = numbers.get_decimal_symbol(locale), numbers.get_group_symbol(locale)
    fewest, most = digits
    if grouping != (3, 3) or not 0 <= fewest <= most <= _MOST_DIGITS:
        return by_babel
    quantum = Decimal(1).scaleb(-most)

    def core(number: Number) -> str:
        value = Decimal(number).quantize(quantum, ROUND_HALF_EVEN)
        whole, _, fraction = f"{value:,f}".partition(".")
        kept = fraction[:fewest] + fraction[fewest:].rstrip("0")
        return whole.replace(",", comma) + (point + kept if kept else "")

    one = core(1)
    before, found, after = by_babel(1).partition(one)
    if not found:
        return by_babel

    def quickly(number: Number) -> str:
        if number < 0 or (isinstance(number, Decimal) and number.is_signed()):
            return by_babel(number)
        if number >= 10**_MOST_DIGITS:
            return by_babel(number)
        return f"{before}{core(number)}{after}"

    agrees = all(quickly(probe) == by_babel(probe) for probe in _PROBES)
    return quickly if agrees else by_babel
