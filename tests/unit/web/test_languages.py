"""The pages' words: complete in every language, and the reader's is found."""

from __future__ import annotations

from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.devtools.sample_audience import _COUNTRIES
from ignition_ext.web.languages import accepted_tags, choose_language, languages

ENGLISH = languages()["en"].words


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("tag", list(languages()))
def test_a_language_is_complete(tag: str) -> None:
    """The same words as English, with the same values in them."""
    words = languages()[tag].words

    assert list(words) == list(ENGLISH)
    for key, text in words.items():
        assert text.strip()
        assert places(text) == places(ENGLISH[key])


def test_the_sample_audience_is_spoken_to() -> None:
    """Every locale of the people that the demo writes to."""
    for country in _COUNTRIES:
        tag = choose_language(None, "", country.locale).tag
        assert tag.partition("-")[0] == country.locale.partition("-")[0]


@given(asked=st.text(max_size=20), accepted=st.text(max_size=80), default=st.text(max_size=20))
def test_some_language_is_always_found(asked: str, accepted: str, default: str) -> None:
    """Whatever a browser sends."""
    assert choose_language(asked, accepted, default).tag in languages()


def test_what_is_liked_best_comes_first() -> None:
    """By weight, then by order; what is not accepted is left out."""
    assert accepted_tags("da, en-gb;q=0.8, en;q=0.7, de;q=0, fr;q=0.9") == [
        *("da", "fr", "en-gb", "en"),
    ]


def test_a_value_cannot_become_markup() -> None:
    """A tenant's name is shown as it is, apart from the direction around it."""
    said = languages()["ar"].say("done", tenant="<b>Acme</b> {0}", address="a…@b.example")

    assert "&lt;b&gt;Acme&lt;/b&gt; {0}" in said
    assert said.count("<bdi>") == 2
