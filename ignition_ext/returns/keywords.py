"""The words by which people stop, start and ask, in ten languages. Pure.

A text is a keyword when it says nothing else: upper and lower case, accents, blanks, punctuation
and symbols make no difference. ``STOP!``, ``Arrêt``, ``desinscrire`` and ``s t o p`` are ones,
``please stop calling`` is not: that is for a person to read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "tr", "pl", "sv")
"""In this order a word belongs to the first that has it."""
LONGEST_WORD = 40
"""Characters of a text that are looked at: no keyword is longer, and a novel is none."""


class Keyword(StrEnum):
    """What somebody wants."""

    STOP = "stop"
    START = "start"
    HELP = "help"


_WORDS: Mapping[Keyword, Mapping[str, str]] = {
    Keyword.STOP: {
        "en": "stop, stop all, stopall, unsubscribe, cancel, end, quit, opt out, revoke, remove me",
        "de": "stop, stopp, abmelden, abbestellen, abmeldung, austragen, ende, beenden",
        "fr": "stop, arrêt, arrêter, arrêtez, désabonner, désabonnement, désinscrire,"
        " désinscription, fin",
        "es": "stop, alto, parar, pare, baja, darse de baja, cancelar, detener, desuscribir, fin",
        "pt": "stop, parar, pare, sair, cancelar, remover, descadastrar, fim",
        "it": "stop, ferma, fermare, basta, annulla, cancella, cancellami, disiscrivi,"
        " disiscrivimi, fine",
        "nl": "stop, stoppen, afmelden, uitschrijven, opzeggen, einde",
        "tr": "stop, dur, durdur, iptal, ret, çık, çıkış, son",
        "pl": "stop, koniec, zatrzymaj, rezygnuję, rezygnacja, wypisz, anuluj",
        "sv": "stop, stopp, stoppa, avsluta, avregistrera, avanmäl, slut",
    },
    Keyword.START: {
        "en": "start, unstop, subscribe, resume, opt in",
        "de": "start, anmelden, starten, wieder anmelden",
        "fr": "start, début, démarrer, reprendre, réabonner, commencer",
        "es": "start, alta, darse de alta, iniciar, comenzar, empezar, reanudar",
        "pt": "start, iniciar, começar, voltar, retomar",
        "it": "start, inizia, inizio, riattiva, attiva, riprendi",
        "nl": "start, starten, aanmelden, beginnen, hervatten",
        "tr": "start, başla, başlat, devam",
        "pl": "start, wznów, zapisz, rozpocznij",
        "sv": "start, starta, börja, återuppta, anmäl",
    },
    Keyword.HELP: {
        "en": "help, info",
        "de": "help, hilfe, info",
        "fr": "help, aide, info, infos",
        "es": "help, ayuda, info",
        "pt": "help, ajuda, info",
        "it": "help, aiuto, info",
        "nl": "help, hulp, info",
        "tr": "help, yardım, bilgi",
        "pl": "help, pomoc, info",
        "sv": "help, hjälp, info",
    },
}
_NOT_DECOMPOSED = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe"})
"""Letters that Unicode has no accent for, as people write them on a keypad without them."""
_KEPT = ("L", "N")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A text that is a keyword.

    Attributes:
        keyword: what is wanted.
        languages: those that have the word; none for a tenant's own word.
        word: as it was compared.
    """

    keyword: Keyword
    languages: tuple[str, ...]
    word: str

    def language(self, preferred: str) -> str:
        """The language to answer in: the word's, where several have it the preferred one."""
        if not self.languages or preferred in self.languages:
            return preferred
        return self.languages[0]


def match_keyword(text: str, own: Mapping[Keyword, Collection[str]] | None = None) -> Match | None:
    """The keyword that a whole text is, None where it says anything else.

    Args:
        text: as it came.
        own: a tenant's words besides the built-in ones, which stay.
    """
    if len(text) > LONGEST_WORD * 2:
        return None
    word = folded(text)
    if not word or len(word) > LONGEST_WORD:
        return None
    found = _table().get(word)
    if found is not None:
        return found
    # STOP first: of a word that means two things, the one that can do no harm.
    for keyword in Keyword:
        if any(folded(one) == word for one in (own or {}).get(keyword, ())):
            return Match(keyword=keyword, languages=(), word=word)
    return None


def folded(text: str) -> str:
    """A text as keywords are compared: letters and digits alone, in one case, without accents."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    # Turkish İ becomes i and a dot above by case folding; the dot goes with the other accents.
    apart = unicodedata.normalize("NFD", plain.translate(_NOT_DECOMPOSED))
    return "".join(char for char in apart if unicodedata.category(char)[0] in _KEPT)


@cache
def _table() -> Mapping[str, Match]:
    table: dict[str, Match] = {}
    for keyword, by_language in _WORDS.items():
        for language in LANGUAGES:
            for one in by_language[language].split(","):
                word = folded(one)
                known = table.get(word)
                languages = (*known.languages, language) if known else (language,)
                table[word] = Match(
                    keyword=known.keyword if known else keyword, languages=languages, word=word
                )
    return table
