"""One mailbox has one spelling, and the short way agrees with the library."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignition_ext.audience import EmailProblem, normalise_email
from ignition_ext.audience.emails import _through_library

LIKELY = st.text(alphabet=string.ascii_letters + string.digits + "._+-@ü\u0130ß!#' ", max_size=30)
DOMAINS = st.sampled_from(
    ["example.com", "EXAMPLE.org", "bücher.example", "xn--bcher-kva.example", "a.test", "b", "x..y"]
)


def outcome(normalise, text: str) -> str | None:
    try:
        return normalise(text)
    except EmailProblem:
        return None


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("  Joe.Doe+News@Example.COM ", "joe.doe+news@example.com"),
        ("joe@BÜCHER.example", "joe@xn--bcher-kva.example"),
        ("joe@xn--bcher-kva.example", "joe@xn--bcher-kva.example"),
        ("用户@example.com", "用户@example.com"),
        ("Jo\u0065\u0301@example.com", "jo\u00e9@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
    ],
)
def test_spellings_of_a_mailbox_become_one(written: str, normal: str) -> None:
    assert normalise_email(written) == normal


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "a@", "@example.com", "a b@example.com", "a@b@example.com", "a..b@example.com"),
        *("a@localhost", "a@example", "a@-x.example", "Ann <ann@example.com>", "a.@example.com"),
        *("a@example.com\nBcc: b@example.com", "a\r\n@example.com", f"{'a' * 65}@example.com"),
        *(f"a@{'b' * 64}.example", f"a@{'b.' * 130}com", "a@[127.0.0.1]", "a@exa_mple.com"),
    ],
)
def test_what_cannot_be_written_to_is_refused(text: str) -> None:
    with pytest.raises(EmailProblem):
        normalise_email(text)


@settings(deadline=None)
@given(st.one_of(LIKELY, st.builds("{}@{}".format, LIKELY, DOMAINS), st.emails()))
def test_the_short_way_agrees_with_the_library(text: str) -> None:
    assert outcome(normalise_email, text) == outcome(_through_library, text.strip())


@settings(deadline=None)
@given(st.one_of(st.builds("{}@{}".format, LIKELY, DOMAINS), st.emails()))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = outcome(normalise_email, text)

    assert once is None or normalise_email(once) == once


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_line_break_or_space_passes(text: str) -> None:
    found = outcome(normalise_email, f"{text}@example.com")

    assert found is None or not set(found) & set(" \r\n\t\0")
