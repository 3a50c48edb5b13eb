"""A rate card as a value: what a segment to a number costs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ignition_ext.models import PriceKind
from ignition_ext.values import Channel

LONGEST_PREFIX = 15
"""Digits of a whole number by E.164: a card may price a single one."""
_SIGNS = re.compile(r"[\s()./-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One line of a card; ``micros`` are millionths of a unit for one segment."""

    kind: PriceKind
    code: str
    micros: int
    name: str = ""


class Card:
    """A tenant's prices at one version.

    Args:
        prices: its lines, each code at most once a kind.
        email_micros: of one email; None where the card says nothing of them.
    """

    def __init__(
        self,
        *,
        id: int,
        version: int,
        currency: str,
        prices: Iterable[Price],
        email_micros: int | None = None,
    ) -> None:
        self.id, self.version, self.currency = id, version, currency
        self.email_micros = email_micros
        self._prefixes: dict[str, Price] = {}
        self._networks: dict[str, Price] = {}
        for price in prices:
            kept = self._prefixes if price.kind is PriceKind.PREFIX else self._networks
            kept[price.code] = price
        self._lengths: Sequence[int] = sorted({len(one) for one in self._prefixes}, reverse=True)

    @property
    def longest_prefix(self) -> int:
        """Digits of its longest prefix: more of a number need not be known."""
        return max(self._lengths, default=0)

    @property
    def has_networks(self) -> bool:
        """Whether a number's network can decide its price."""
        return bool(self._networks)

    @property
    def cheapest(self) -> int:
        """Millionths of its cheapest segment: with less nothing can be sent; 0 without any."""
        prices = (*self._prefixes.values(), *self._networks.values())
        return min((one.micros for one in prices), default=0)

    def price(self, number: str, network: str = "") -> Price | None:
        """What a segment costs: by the network where it is known and priced, else by prefix.

        Args:
            number: E.164, with or without its ``+``; its first digits may be enough.
            network: MCC and MNC, ``26201`` or ``262-01``; empty where unknown.
        """
        if network and self._networks:
            found = self._networks.get(network_code(network))
            if found is not None:
                return found
        digits = number.removeprefix("+")
        for length in self._lengths:
            found = self._prefixes.get(digits[:length])
            if found is not None:
                return found
        return None

    def segment_micros(self, channel: Channel, number: str, network: str = "") -> int | None:
        """What one segment, or an email, costs; None where the card has no price for it."""
        if channel is Channel.EMAIL:
            return self.email_micros or 0
        found = self.price(number, network)
        return None if found is None else found.micros


def network_code(text: str) -> str:
    """``26201`` for ``262-01``; anything else as it stands, which no card has."""
    return _SIGNS.sub("", text)
