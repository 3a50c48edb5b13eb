"""The words by which people stop, start and ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.returns.keywords import LANGUAGES, Keyword, folded, match_keyword
from ignition_ext.returns.reply_texts import TEXTS, default_text

STOPS = {
    "en": ["STOP", "stop", "Stop!", "unsubscribe", "STOP ALL", "stopall", "Opt-Out", "quit."],
    "de": ["STOPP", "abmelden", "Abbestellen!"],
    "fr": ["ARRÊT", "arret", "Désabonner", "DESINSCRIRE"],
    "es": ["ALTO", "baja", "¡Cancelar!", "desuscribir"],
    "pt": ["sair", "PARAR", "descadastrar"],
    "it": ["ferma", "Disiscrivimi", "BASTA"],
    "nl": ["afmelden", "Uitschrijven"],
    "tr": ["İPTAL", "iptal", "IPTAL", "DUR", "çık", "cik", "ÇIKIŞ"],
    "pl": ["Rezygnuję", "REZYGNUJE", "wypisz", "koniec"],
    "sv": ["avsluta", "AVANMÄL", "stoppa"],
}
STARTS = {
    "en": ["START", "unstop"],
    "de": ["anmelden"],
    "fr": ["Début", "REPRENDRE"],
    "es": ["ALTA"],
    "pt": ["começar", "COMECAR"],
    "it": ["riattiva"],
    "nl": ["aanmelden"],
    "tr": ["BAŞLA", "basla"],
    "pl": ["wznów", "WZNOW"],
    "sv": ["börja", "starta"],
}
HELPS = {
    "en": ["HELP", "help?", "INFO"],
    "de": ["Hilfe"],
    "fr": ["aide"],
    "es": ["AYUDA"],
    "pt": ["ajuda"],
    "it": ["aiuto"],
    "nl": ["hulp"],
    "tr": ["YARDIM", "yardım"],
    "pl": ["pomoc"],
    "sv": ["hjälp", "HJALP"],
}


@pytest.mark.parametrize(
    ("keyword", "language", "text"),
    [
        (keyword, language, text)
        for keyword, table in (
            (Keyword.STOP, STOPS),
            (Keyword.START, STARTS),
            (Keyword.HELP, HELPS),
        )
        for language, texts in table.items()
        for text in texts
    ],
)
def test_keywords_of_ten_languages(keyword: Keyword, language: str, text: str) -> None:
    """Upper and lower case, with accents or without, with a full stop or none."""
    found = match_keyword(text)

    assert found is not None
    assert found.keyword is keyword
    assert language in found.languages


@pytest.mark.parametrize(
    "text",
    [
        "  stop\r\n",
        "s t o p",
        "“STOP”",
        "ＳＴＯＰ",
        "st\u200bop",
        "\ufeffSTOP",
        "STOP \u2764\ufe0f",
        "🛑 stop 🛑",
        "S.T.O.P.",
        "ｓｔｏｐ！",
    ],
)
def test_a_stop_in_any_dress(text: str) -> None:
    """Blanks, punctuation, symbols and invisible characters make no difference."""
    found = match_keyword(text)

    assert found is not None
    assert found.keyword is Keyword.STOP


@pytest.mark.parametrize(
    "text",
    [
        "please stop calling me",
        "non-stop",
        "stop it",
        "I cannot stop",
        "",
        "   ",
        "🛑",
        "nonstop",
        "yes",
        "ok",
        "restart",
        "\ufffd",
        "stop" * 50,
    ],
)
def test_what_says_anything_else_is_for_people(text: str) -> None:
    """Only a whole text is a keyword."""
    assert match_keyword(text) is None


def test_a_tenants_own_words_come_beside_the_built_in_ones() -> None:
    """They cannot change what a known word means."""
    own = {Keyword.STOP: ["Raus damit", "START"], Keyword.HELP: ["raus damit", "wer?"]}

    assert match_keyword("RAUS, DAMIT!", own) is not None
    assert match_keyword("raus damit", own).keyword is Keyword.STOP  # type: ignore[union-attr]
    assert match_keyword("wer", own).keyword is Keyword.HELP  # type: ignore[union-attr]
    assert match_keyword("start", own).keyword is Keyword.START  # type: ignore[union-attr]
    assert match_keyword("raus") is None


def test_the_answer_is_in_the_words_language() -> None:
    """Where several languages have the word, in the tenant's."""
    stop, only_german = match_keyword("stop"), match_keyword("abmelden")
    assert stop is not None
    assert only_german is not None

    assert (stop.language("sv"), stop.language("ja")) == ("sv", "en")
    assert (only_german.language("sv"), only_german.language("de")) == ("de", "de")


def test_every_language_has_its_answers() -> None:
    """Each names the tenant and the word that takes it back, in GSM-7's one or two parts."""
    for keyword, texts in TEXTS.items():
        assert set(texts) == set(LANGUAGES)
        for language in LANGUAGES:
            text = default_text(keyword, language, "Acme")
            assert text.startswith("Acme")
            assert ("START" if keyword is Keyword.STOP else "STOP") in text
            assert len(text) <= 140
    assert default_text(Keyword.STOP, "ja", "Acme") == default_text(Keyword.STOP, "en", "Acme")


@given(st.text(max_size=200))
def test_folding_settles(text: str) -> None:
    """Any text is read without an error, and folding twice is folding once."""
    assert folded(folded(text)) == folded(text)
    match_keyword(text)
