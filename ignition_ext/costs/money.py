"""Money: whole millionths of a currency's unit, and the one rule by which they are rounded.

Prices and sums are whole numbers, so nothing is lost on the way. A sum is rounded once, when it is
shown: half a minor unit and more goes up.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from babel.numbers import list_currencies

from ignition_ext.errors import ConfigurationError

MICROS = 1_000_000
"""Millionths in a unit: carriers write four or five decimals, and a sum of 10**12 units fits."""
PRICE_DECIMALS = 6
_DECIMALS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Of the minor unit by ISO 4217, where they are not two. (CLDR's differ: they are for shops.)"""


def checked_currency(code: str) -> str:
    """The currency's code in capitals.

    Raises:
        ConfigurationError: ISO 4217 knows no such currency.
    """
    currency = code.strip().upper()
    if currency not in list_currencies():
        raise ConfigurationError(
            f"{code!r} is not a currency.", mend="Use a code of ISO 4217 such as EUR."
        )
    return currency


def minor_decimals(currency: str) -> int:
    """Decimals of the currency's minor unit, by ISO 4217: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _DECIMALS.get(currency, 2)


def to_minor_units(micros: int, currency: str) -> int:
    """Whole minor units (cents); half of one and more goes up, away from zero."""
    value = Decimal(micros).scaleb(minor_decimals(currency) - PRICE_DECIMALS)
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def amount_text(micros: int, currency: str) -> str:
    """``150.00``: in units, with just the decimals that the currency has."""
    decimals = minor_decimals(currency)
    return f"{Decimal(to_minor_units(micros, currency)).scaleb(-decimals):.{decimals}f}"


def price_text(micros: int) -> str:
    """``0.0075``: a price as exact as it is stored."""
    whole, rest = divmod(micros, MICROS)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else str(whole)


def read_micros(text: str) -> int:
    """Millionths of what is written as ``0.0075``, or ``0,0075``.

    Raises:
        ValueError: it is no amount, or more exact than millionths; says so.
    """
    written = text.strip().replace(",", ".")
    try:
        value = Decimal(written)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{text!r} is not an amount")
    if value > MICROS * MICROS:
        raise ValueError(f"{text!r} is too much")
    micros = value.scaleb(PRICE_DECIMALS)
    if micros != micros.to_integral_value():
        raise ValueError(f"{text!r} has more than {PRICE_DECIMALS} decimals")
    return int(micros)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """An amount of one currency."""

    micros: int
    currency: str

    @property
    def minor_units(self) -> int:
        """Rounded: see :func:`to_minor_units`."""
        return to_minor_units(self.micros, self.currency)

    def __str__(self) -> str:
        return f"{amount_text(self.micros, self.currency)} {self.currency}"
