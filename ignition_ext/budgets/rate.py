"""How the places of one rate are given out: pure, the whole policy of a budget in one place.

A rate of 200 a second has a place each 5 ms. Whoever wants to send is given the next places in
line, some at a time: an interval of the database's time, in which it may send evenly. So all
senders together never exceed the rate, whoever comes first is served first, and each gets the
same share however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LONGEST_SHARE = 0.5
"""Seconds of the rate in one grant: two small transactions a second at any rate. A sender that is
killed wastes no more than two of them."""
SHORTEST_SHARE = 0.001
AHEAD = 1.0
"""Seconds that places may be given out ahead before the shares are made smaller: many senders then
take turns within a second instead of each waiting for all others' half seconds."""
CATCH_UP = 0.1
"""Seconds of places that have passed and are still given out: nobody asked for them in time. More
would be a burst that a carrier's one-second counter notices."""

LONGEST_LINE = timedelta(days=366)
"""A rate may be as small as one likes; times must stay within what the databases know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One rate's line as it is stored.

    Attributes:
        rate: places a second.
        revision: of whoever set the rate.
        share: seconds of the rate that one grant holds at most.
        next_at: the first place that nobody has.
    """

    rate: float
    revision: int
    share: float
    next_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A rate that somebody set.

    Attributes:
        key: ``server:HOST:PORT``, ``tenant:acme``, ``campaign:acme/news``, ``domain:acme:x.org``.
        rate: messages a second.
        revision: grows with each change of the rate, so that a sender that still has the old one
            does not set it again; 0 where whoever comes last is right.
        tenant_id: whose it is, None for a server's.
    """

    key: str
    rate: float
    revision: int = 0
    tenant_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a sender asks of one line.

    Attributes:
        limit: which line, and its rate as far as the sender knows.
        count: places.
        back: places that it was given and did not use.
        patience: how many seconds from now the first place may be.
    """

    limit: Limit
    count: int
    back: int = 0
    patience: float = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Some places in line, or when there would be one.

    Attributes:
        tokens: places, 0 when the next one is further away than the caller would wait.
        wait: seconds until the first place; negative when it has passed and is made up for.
        rate, revision: the line's.
    """

    tokens: int
    wait: float
    rate: float
    revision: int


def grant(line: Line, want: Want, now: datetime) -> tuple[Line, Grant]:
    """Take unused places back, take on a newer rate, and give the next places."""
    line = _at_newest_rate(line, want.limit, now)
    free = line.next_at - _length(want.back, line.rate)
    free = max(free, now - timedelta(seconds=CATCH_UP))
    wait = (free - now).total_seconds()
    tokens, share = 0, line.share
    if want.count > 0 and wait <= want.patience:
        share = _next_share(line.share, wait)
        tokens = min(want.count, max(1, int(line.rate * share)))
    next_at = min(free + _length(tokens, line.rate), now + LONGEST_LINE)
    return (
        replace(line, share=share, next_at=next_at),
        Grant(tokens=tokens, wait=wait, rate=line.rate, revision=line.revision),
    )


def _at_newest_rate(line: Line, limit: Limit, now: datetime) -> Line:
    """The line at the rate of the newest revision, with as many places given out as before."""
    if limit.revision < line.revision or limit.rate == line.rate:
        return replace(line, revision=max(line.revision, limit.revision))
    next_at = line.next_at
    if next_at > now:
        seconds = (next_at - now).total_seconds() * line.rate
        next_at = now + _length(seconds, limit.rate)
    return replace(line, rate=limit.rate, revision=limit.revision, next_at=next_at)


def _length(places: float, rate: float) -> timedelta:
    return timedelta(seconds=min(places / rate, LONGEST_LINE.total_seconds()))


def _next_share(share: float, wait: float) -> float:
    if wait > AHEAD:
        return max(SHORTEST_SHARE, share * 0.8)
    if wait < AHEAD / 2:
        return min(LONGEST_SHARE, share * 1.25)
    return share
