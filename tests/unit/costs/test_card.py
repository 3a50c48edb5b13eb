"""Rate cards: which line prices a number, how a file is read, and how money is rounded."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.costs.card import Card, Price
from ignition_ext.costs.card_file import card_text, parse_card
from ignition_ext.costs.money import (
    MICROS,
    Money,
    amount_text,
    checked_currency,
    price_text,
    read_micros,
    to_minor_units,
)
from ignition_ext.errors import ConfigurationError, RateCardError
from ignition_ext.models import PriceKind
from ignition_ext.values import Channel

DIGITS = st.text("123", min_size=1, max_size=6)
"""Few digits, so that prefixes often begin others."""


def card(*prices: Price, email_micros: int | None = None) -> Card:
    return Card(id=1, version=1, currency="EUR", prices=prices, email_micros=email_micros)


def prefix(code: str, micros: int = 1) -> Price:
    return Price(kind=PriceKind.PREFIX, code=code, micros=micros)


def network(code: str, micros: int = 1) -> Price:
    return Price(kind=PriceKind.NETWORK, code=code, micros=micros)


@given(st.sets(DIGITS, min_size=1, max_size=30), DIGITS)
def test_the_longest_prefix_prices_a_number(codes: set[str], number: str) -> None:
    """As a scan through all lines finds it."""
    fitting = [code for code in codes if number.startswith(code)]
    longest = max(fitting, key=len, default=None)

    found = card(*map(prefix, codes)).price(f"+{number}")

    assert (None if found is None else found.code) == longest


@given(st.sets(DIGITS, min_size=1, max_size=30), DIGITS)
def test_as_many_digits_as_the_longest_prefix_are_enough(codes: set[str], number: str) -> None:
    """Sums are made by them, so that a million numbers are a few groups."""
    prices = card(*map(prefix, codes))

    assert prices.price(number) == prices.price(number[: prices.longest_prefix])


def test_a_known_network_goes_before_the_prefix() -> None:
    """And one without a price leaves it to the prefix."""
    prices = card(prefix("49", 5), network("26201", 7))

    assert prices.segment_micros(Channel.SMS, "+491701234567", "262-01") == 7
    assert prices.segment_micros(Channel.SMS, "+491701234567", "26299") == 5
    assert prices.segment_micros(Channel.SMS, "+491701234567") == 5
    assert prices.segment_micros(Channel.SMS, "+331") is None


def test_emails_cost_what_the_card_says_or_nothing() -> None:
    """A card of text messages does not stop emails."""
    assert card(prefix("49"), email_micros=200).segment_micros(Channel.EMAIL, "a@b.c") == 200
    assert card(prefix("49")).segment_micros(Channel.EMAIL, "a@b.c") == 0


@pytest.mark.parametrize(
    ("micros", "currency", "shown"),
    [
        (4_999, "EUR", "0.00"),
        (5_000, "EUR", "0.01"),
        (14_999, "EUR", "0.01"),
        (15_000, "EUR", "0.02"),
        (150 * MICROS, "EUR", "150.00"),
        (499_999, "JPY", "0"),
        (500_000, "JPY", "1"),
        (1_500, "KWD", "0.002"),
    ],
)
def test_half_a_minor_unit_goes_up(micros: int, currency: str, shown: str) -> None:
    """Once, when a sum is shown."""
    assert amount_text(micros, currency) == shown
    assert str(Money(micros=micros, currency=currency)) == f"{shown} {currency}"


@given(st.integers(0, 10**18), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_rounding_is_that_of_decimal_arithmetic(micros: int, currency: str) -> None:
    """For any amount and any number of decimals."""
    decimals = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}[currency]
    exact = Context(prec=60).divide(Decimal(micros), Decimal(MICROS))

    expected = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)

    assert Decimal(to_minor_units(micros, currency)).scaleb(-decimals) == expected


@given(st.integers(0, 10**12))
def test_a_price_is_read_as_it_is_written(micros: int) -> None:
    """To the last of its six decimals."""
    assert read_micros(price_text(micros)) == micros


@pytest.mark.parametrize("text", ["", "free", "-1", "0.0000001", "NaN", "1e30"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Rather than rounded."""
    with pytest.raises(ValueError, match=r"amount|decimals|much"):
        read_micros(text)


def test_a_currency_is_one_of_iso_4217() -> None:
    """In capitals, whatever was typed."""
    assert checked_currency("eur") == "EUR"
    with pytest.raises(ConfigurationError, match="'EURO'"):
        checked_currency("EURO")


PRICES = st.lists(
    st.one_of(
        st.builds(
            Price,
            kind=st.just(PriceKind.PREFIX),
            code=st.from_regex(r"\A[1-9][0-9]{0,14}\Z"),
            micros=st.integers(0, 10**9),
            name=st.sampled_from(["", "Germany", 'a "b", c;d', "Ä\u00df"]),
        ),
        st.builds(
            Price,
            kind=st.just(PriceKind.NETWORK),
            code=st.from_regex(r"\A[1-9][0-9]{4,5}\Z"),
            micros=st.integers(0, 10**9),
        ),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda one: (one.kind, one.code),
)


@given(PRICES)
def test_a_written_card_is_read_as_the_same(prices: list[Price]) -> None:
    """What export writes, import takes."""
    assert parse_card(card_text(prices)) == prices


def test_a_spreadsheets_file_is_read() -> None:
    """Semicolons, decimal commas, signs within numbers, empty lines."""
    text = "Prefix;Price;Name\r\n+49 (0);x\r\n".replace(
        "+49 (0);x\r\n", "+49 170;0,0075;D1\r\n\r\n"
    )

    assert parse_card(text) == [Price(kind=PriceKind.PREFIX, code="49170", micros=7_500, name="D1")]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 1, "the header has nothing"),
        ("number,price\n49,1\n", 1, "the header has number, price"),
        ("prefix,price\n", 0, "no prices"),
        ("prefix,price\n49,0.1\n+4x,0.1\n", 3, "'+4x' is not the beginning"),
        ("prefix,price\n49,0.1\n049,0.1\n", 3, "'049' is not the beginning"),
        ("prefix,price\n49,0.1\n\n49,0.2\n", 4, "prefix 49 stands in line 2 too"),
        ("prefix,price\n49,cheap\n", 2, "'cheap' is not an amount"),
        ("prefix,price\n49,0.1,x\n", 2, "3 columns"),
        ("prefix,network,price\n49,26201,1\n", 2, "either a prefix or a network"),
        ("network,price\n26x,1\n", 2, "'26x' is not a network"),
        ('prefix,price\n"49,1\n', 2, "unexpected end"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, says: str) -> None:
    """The first one's line, and more of them in words."""
    with pytest.raises(RateCardError) as caught:
        parse_card(text, path="rates.csv")

    assert caught.value.line == line
    assert says in caught.value.message
    assert caught.value.mend
