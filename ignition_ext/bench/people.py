"""People who do not exist, as many as a benchmark asks for, in several scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ignition_ext.audience.contract import BATCH_ROWS
from ignition_ext.ledger.contract import NewMessage
from ignition_ext.values import Channel

MOST = 10_000_000
"""Seven digits stand behind the prefix of the numbers."""
CROWD = 20_000
"""People in memory at a time: more would keep the garbage collector busy, as no source does."""
DOMAINS = tuple(
    f"{name}.example.{top}" for name in ("mail", "post", "inbox", "home") for top in ("com", "org")
)
_NAMES = (
    ("Ada", "Lovelace", "London", "en"),
    ("Émile", "Zola", "Saint-Étienne", "fr"),
    ("Øystein", "Åsgård", "Tromsø", "nb"),
    ("Ana", "García", "México", "es-MX"),
    ("Günther", "Müller", "Köln", "de"),
    ("Мария", "Иванова", "Казань", "ru"),
    ("محمد", "علي", "القاهرة", "ar"),
    ("王芳", "王", "上海", "zh"),
    ("Ngọc", "Trần", "Đà Nẵng", "vi"),
    ("Grace", "Hopper", "New York", "en-US"),
)


def data_of(number: int) -> Mapping[str, Any]:
    """The columns of one person, as a CSV file would have them."""
    first, last, city, locale = _NAMES[number % len(_NAMES)]
    return {
        "email": f"person{number}@{DOMAINS[number % len(DOMAINS)]}",
        "phone": f"+49151{2_0000000 + number:08d}",
        "first_name": first,
        "last_name": last,
        "city": city,
        "locale": locale,
        "timezone": "Europe/Berlin",
        "plan": "pro" if number % 3 else "team",
        "renewal_date": f"2027-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "amount": f"{number % 500 + 5}.90",
        "currency": "EUR",
        "account_id": f"AC-{number:07d}",
    }


def message_of(number: int, channel: Channel) -> NewMessage:
    """One person's message."""
    data = data_of(number)
    is_email = channel is Channel.EMAIL
    return NewMessage(
        channel=channel,
        address=data["email"] if is_email else data["phone"],
        domain=DOMAINS[number % len(DOMAINS)] if is_email else "49",
        locale=data["locale"],
        timezone=data["timezone"],
        data=data,
    )


def crowds(count: int, channel: Channel) -> Iterator[Sequence[Sequence[NewMessage]]]:
    """So many people in crowds of :data:`CROWD`, each invented whole and in a source's batches.

    Who measures what storing them takes begins when a crowd is there.
    """
    for first in range(0, count, CROWD):
        crowd = [message_of(number, channel) for number in range(first, min(first + CROWD, count))]
        yield [crowd[at : at + BATCH_ROWS] for at in range(0, len(crowd), BATCH_ROWS)]
