"""Numbers in the forms that people write become E.164, or are refused with a reason."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from ignition_ext.audience import PhoneProblem, normalise_phone
from ignition_ext.audience.phones import region_of

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        *(("+4915123456789", None), ("+49 (1512) 345-67.89", "US"), ("01512 3456789", "DE")),
        *(("004915123456789", "DE"), ("004915123456789", "US"), ("01149 1512 3456789", "US")),
        *(("tel:+49-1512-3456789", None), ("٠١٥١٢٣٤٥٦٧٨٩", "DE"), ("+٤٩١٥١٢٣٤٥٦٧٨٩", None)),
        *(("＋４９１５１２３４５６７８９", None), ("\u202a+49 1512 3456789\u202c", None)),
        *(("4915123456789", "DE"), ("49 1512 3456789", "DE")),
        *(("01512/3456789", "DE"), ("  01512\u00a03456789 ", "DE"), ("+49–1512–3456789", None)),
    ],
)
def test_forms_of_one_number(text: str, region: str | None) -> None:
    assert normalise_phone(text, region) == "+4915123456789"


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("", "DE", "not a phone number"),
        ("call me", "DE", "not a phone number"),
        ("1-800-FLOWERS", "US", "not a phone number"),
        ("+49 30 123456 ext. 7", None, "extension"),
        ("tel:+49-30-123456;ext=7", None, "extension"),
        ("(201) 555-0123 x99", "US", "extension"),
        ("4.91512E+12", "DE", "spreadsheet"),
        ("4,91512E+12", "DE", "spreadsheet"),
        ("01512 3456789", None, "country code"),
        ("+999 1234567", None, "country code"),
        ("12", "DE", "no number of this form is in use in DE"),
        ("+49 1", None, "too short"),
        ("+49 1512 34567890123456", None, "too long"),
        ("0900 1234567", "DE", "premium"),
        ("+1 555", None, "no number of this form"),
        ("1" * 61, "DE", "not a phone number"),
        ("+49 1512 3456789\r\nX", None, "not a phone number"),
    ],
)
def test_refused_numbers_say_why(text: str, region: str | None, reason: str) -> None:
    with pytest.raises(PhoneProblem, match=reason):
        normalise_phone(text, region)


@settings(deadline=None)
@given(
    st.sampled_from(REGIONS),
    st.sampled_from([PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE]),
    st.sampled_from(
        [PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966]
    ),
)
def test_the_example_number_of_every_region_is_read_in_every_form(
    region: str, kind: int, form: int
) -> None:
    number = phonenumbers.example_number_for_type(region, kind)
    if number is None:
        return
    written = phonenumbers.format_number(number, form)
    normal = phonenumbers.format_number(number, PhoneNumberFormat.E164)

    assert normalise_phone(written, region) == normal
    assert normalise_phone(normal, None) == normal


@settings(deadline=None)
@given(st.text(alphabet="+0123456789 ()-./٠٩０９xe\n", max_size=40), st.sampled_from(REGIONS))
def test_what_comes_out_is_e164_of_a_number_in_use(text: str, region: str) -> None:
    try:
        found = normalise_phone(text, region)
    except PhoneProblem:
        return

    assert found[0] == "+"
    assert found[1:].isascii()
    assert found[1:].isdigit()
    assert len(found) <= 16
    assert phonenumbers.is_valid_number(phonenumbers.parse(found))
    assert normalise_phone(found, None) == found


@pytest.mark.parametrize(
    ("country", "region"),
    [
        *(("DE", "DE"), ("de", "DE"), (" De ", "DE"), ("DEU", "DE"), ("Germany", "DE")),
        *(("UK", "GB"), ("GBR", "GB"), ("Atlantis", None), ("XX", None), ("", None)),
    ],
)
def test_countries_by_code_or_english_name(country: str, region: str | None) -> None:
    assert region_of(country) == region
