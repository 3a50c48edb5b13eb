"""Numbers are written as Babel writes them."""

from __future__ import annotations

from decimal import Decimal

from babel import Locale, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from ignition_ext.templates.rendering.numerals import decimal_writer, money_writer

_LOCALES = [
    Locale.parse(name)
    for name in (
        *("en", "en_GB", "en_IN", "de", "de_AT", "de_CH", "fr", "fr_CH", "es", "es_MX", "pt_BR"),
        *("pt_PT", "it", "pl", "ru", "uk", "tr", "el", "ar", "ar_EG", "fa", "he", "hi", "bn", "th"),
        *("zh", "ja", "ko", "sv", "nb", "da", "fi", "cs", "hu", "bg", "vi", "id"),
    )
]
_LOCALE = st.sampled_from(_LOCALES)
_NUMBER = st.one_of(
    st.decimals(-(10**17), 10**17, allow_nan=False, places=2),
    st.decimals(-1000, 100_000, allow_nan=False, places=5),
    st.integers(-(10**20), 10**20),
    st.sampled_from([Decimal("-0.00"), Decimal("1E+3"), Decimal("0E-7"), Decimal("999.995"), 0]),
)


@settings(max_examples=400, deadline=None)
@given(
    locale=_LOCALE,
    number=_NUMBER,
    pattern=st.sampled_from([None, "#,##0.00", "0.##", "#,##,##0.###", "000.0", "0.00E0", "# %"]),
)
def test_decimals_are_babels(locale: Locale, number: Decimal | int, pattern: str | None) -> None:
    """In each language, with the patterns that letters use and with odd ones."""
    written = decimal_writer(locale, pattern)(number)

    assert written == numbers.format_decimal(number, pattern, locale)


@settings(max_examples=400, deadline=None)
@given(
    locale=_LOCALE,
    number=_NUMBER,
    currency=st.sampled_from(
        ["EUR", "USD", "GBP", "JPY", "KRW", "KWD", "CHF", "INR", "ILS", "CLF"]
    ),
    pattern=st.sampled_from([None, None, "¤#,##0.00", "#,##0.00 ¤¤", "¤¤¤ 0"]),
)
def test_amounts_are_babels(
    locale: Locale, number: Decimal | int, currency: str, pattern: str | None
) -> None:
    """Each currency with its own number of digits."""
    written = money_writer(locale, currency, pattern)(number)

    assert written == numbers.format_currency(number, currency, pattern, locale)
