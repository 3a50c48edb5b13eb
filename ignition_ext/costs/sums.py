"""What messages come to, by country. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ignition_ext.costs.money import Money, amount_text
from ignition_ext.models import EstimateBasis

_FOUND_BY = {
    EstimateBasis.LAST_PREFLIGHT: "if its texts are as long as pre-flight found them",
    EstimateBasis.LAST_RUN: "if its texts are as long as the last run's",
    EstimateBasis.LEAST: "at least: with one segment a text",
}


@dataclass(slots=True, kw_only=True)
class Sum:
    """What some messages come to.

    Attributes:
        segments: an email is one.
        unpriced: segments of these that the card has no price for.
        micros: of the others.
    """

    messages: int = 0
    segments: int = 0
    unpriced: int = 0
    micros: int = 0

    def add(self, messages: int, segments: int, micros: int | None) -> None:
        """Count messages with so many segments in all, at that price for one."""
        self.messages += messages
        self.segments += segments
        if micros is None:
            self.unpriced += segments
        else:
            self.micros += segments * micros


@dataclass(slots=True, kw_only=True)
class Cost:
    """What a run comes to.

    Attributes:
        currency: of the card.
        card: its version.
        countries: by calling code; emails by an empty one.
        basis: what an expected cost was found by; None for what was accepted.
    """

    currency: str
    card: int
    basis: EstimateBasis | None = None
    countries: dict[str, Sum] = field(default_factory=dict)

    def add(self, country: str, messages: int, segments: int, micros: int | None) -> None:
        """Count messages to a country."""
        self.countries.setdefault(country, Sum()).add(messages, segments, micros)

    @property
    def total(self) -> Sum:
        """All countries together."""
        total = Sum()
        for one in self.countries.values():
            total.messages += one.messages
            total.segments += one.segments
            total.unpriced += one.unpriced
            total.micros += one.micros
        return total

    @property
    def money(self) -> Money:
        """Of all countries."""
        return Money(micros=self.total.micros, currency=self.currency)

    @property
    def document(self) -> dict[str, Any]:
        """For JSON: sums in units with the decimals of the currency, and exact in micros."""
        dearest = sorted(self.countries.items(), key=lambda item: (-item[1].micros, item[0]))
        return {
            "currency": self.currency,
            "rate_card": self.card,
            **({} if self.basis is None else {"basis": self.basis.value}),
            **self._words(self.total),
            "countries": {country: self._words(one) for country, one in dearest},
        }

    def _words(self, one: Sum) -> Mapping[str, Any]:
        return {
            "amount": amount_text(one.micros, self.currency),
            "micros": one.micros,
            "messages": one.messages,
            "segments": one.segments,
            "unpriced": one.unpriced,
        }


def cost_words(document: Mapping[str, Any]) -> str:
    """``costs 0.15 EUR by rate card 3: +49 0.10, +33 0.05; 2 segments have no price``."""
    words = (
        f"costs {document['amount']} {document['currency']} by rate card {document['rate_card']}"
    )
    countries = document["countries"]
    if len(countries) > 1:
        each = (f"+{country} {one['amount']}" for country, one in countries.items())
        words += f": {', '.join(each)}"
    if document["unpriced"]:
        words += f"; {document['unpriced']} segments have no price"
    if (found_by := found_by_words(document.get("basis"))) != "":
        words += f"; {found_by}"
    return words


def found_by_words(basis: str | None) -> str:
    """What an expected cost rests on; empty where each text was made and cut."""
    return _FOUND_BY.get(EstimateBasis(basis), "") if basis else ""
