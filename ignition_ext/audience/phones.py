"""Phone numbers in any national or international form, as E.164 (ITU-T E.164, RFC 3966)."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from babel.core import Locale, get_global
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

_BIDI = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SHAPE = re.compile(r"(?:tel:)?\s*[+＋]?[\d\s().\-/·\u2010-\u2015\u2212]+", re.IGNORECASE)
_SPREADSHEET = re.compile(r"\d[.,]\d+E\+?\d+", re.IGNORECASE)
MAX_NUMBER = 60
"""Characters looked at: a tel: URI with every ornament stays below; longer text is no number."""
_REASONS = {
    NumberParseException.INVALID_COUNTRY_CODE: "the country code is not in use, or is missing",
    NumberParseException.NOT_A_NUMBER: "this is not a phone number",
    NumberParseException.TOO_SHORT_AFTER_IDD: "the number ends after the international prefix",
    NumberParseException.TOO_SHORT_NSN: "the number is too short",
    NumberParseException.TOO_LONG: "the number is too long",
}


class PhoneProblem(ValueError):
    """A number cannot be written to; the text says why."""


@lru_cache(maxsize=1)
def _territory_names() -> dict[str, str]:
    return {name.casefold(): code for code, name in Locale("en").territories.items()}


@lru_cache(maxsize=2048)
def region_of(country: str) -> str | None:
    """The ISO 3166 two-letter region of ``de``, ``DEU``, ``UK`` or ``Germany``; None if unknown."""
    text = country.strip()
    code = text.upper()
    if code not in phonenumbers.SUPPORTED_REGIONS:
        aliases = get_global("territory_aliases").get(code)
        code = aliases[0] if aliases else _territory_names().get(text.casefold(), "")
    return code if code in phonenumbers.SUPPORTED_REGIONS else None


def _parse(text: str, region: str | None) -> PhoneNumber:
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException as error:
        reason = _REASONS.get(error.error_type, "this is not a phone number")
        raise PhoneProblem(reason) from error


def _without_plus(digits: str, region: str | None) -> PhoneNumber | None:
    """The number of ``4915123456789``, as gateways write it: international, its ``+`` left out.

    In regions with long and short numbers such digits can be a national number too; where those
    are dialled with a trunk prefix (0 in Germany) and it is missing, they are not one.
    """
    if region is None:
        return None
    code = str(phonenumbers.country_code_for_region(region))
    trunk = phonenumbers.ndd_prefix_for_region(region, True)
    if not trunk or digits.startswith(trunk) or not digits.startswith(code):
        return None
    try:
        number = _parse(f"+{digits}", None)
    except PhoneProblem:
        return None
    return number if phonenumbers.number_type(number) != PhoneNumberType.UNKNOWN else None


def _check_shape(text: str) -> None:
    if _SPREADSHEET.fullmatch(text):
        raise PhoneProblem("a spreadsheet rounded this number; format the column as text")
    if len(text) > MAX_NUMBER:
        raise PhoneProblem("this is not a phone number")
    if _SHAPE.fullmatch(text) is None:
        try:
            extension = phonenumbers.parse(text, "US").extension
        except NumberParseException:
            extension = None
        if extension:
            raise PhoneProblem("a number with an extension cannot receive SMS")
        raise PhoneProblem("this is not a phone number")


def normalise_phone(text: str, region: str | None) -> str:
    """A number as ``+`` and digits.

    Args:
        text: national or international (``+``, ``00`` or the region's prefix), in any script's
            digits, or a ``tel:`` URI.
        region: ISO 3166 code that a national form belongs to; None accepts only international.

    Raises:
        PhoneProblem: it is no number, is not in use, has an extension, or is a premium number.
    """
    text = _BIDI.sub("", text).strip()
    _check_shape(text)
    digits = re.sub(r"\D", "", text)
    try:
        bare = _without_plus(digits, region) if text[:1].isdigit() else None
        number = bare or _parse(text, region)
        kind = phonenumbers.number_type(number)
    except PhoneProblem:
        if not digits.startswith("00"):
            raise
        kind = PhoneNumberType.UNKNOWN
    if kind == PhoneNumberType.UNKNOWN and digits.startswith("00"):
        # Regions with another international prefix (011, 8~10) get 00 from their address books.
        number = _parse(f"+{digits[2:]}", None)
        kind = phonenumbers.number_type(number)
    if kind == PhoneNumberType.UNKNOWN:
        where = phonenumbers.region_code_for_country_code(number.country_code or 0)
        raise PhoneProblem(f"no number of this form is in use in {where}")
    if kind == PhoneNumberType.PREMIUM_RATE:
        raise PhoneProblem("premium-rate numbers are not written to")
    formatted: str = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return formatted
