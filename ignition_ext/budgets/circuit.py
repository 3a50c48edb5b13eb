"""When a server is left alone: pure, the whole policy of a circuit in one place.

Closed (no trouble known), open (nobody asks the server), half-open (one sender asks it, the others
wait for what comes of that). A refused login has a circuit of its own, by user: another account on
the same server goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from ignition_ext.models import CircuitTrouble

THRESHOLD = 3
"""Failures in a row, over all runs and nodes, that open a connection's circuit: one or two are a
restart of the server."""
FIRST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=15)
"""A server that comes back is noticed so late at most."""
FIRST_LOGIN_OPEN = timedelta(minutes=30)
LONGEST_LOGIN_OPEN = timedelta(hours=24)
"""Each wrong login counts against the account at the provider; a changed password is tried at
once, so that waiting costs nothing once somebody has acted."""
PROBE_LEASE = timedelta(minutes=2)
"""A probe has its answer within a connect timeout or two; a dead one is then replaced."""
PROBE_LOOK = timedelta(seconds=10)
"""How soon those look again who wait for another's probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitState:
    """A circuit with trouble, as it is stored; see :class:`ignition_ext.models.Circuit`."""

    trouble: CircuitTrouble
    failures: int
    trips: int
    open_until: datetime | None
    probe: UUID | None
    probe_until: datetime | None
    login: str
    reason: str
    failing_since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The server may be asked; as the one probe where ``probing``."""

    probing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server is to be left alone."""

    wait: timedelta


def enter(state: CircuitState, me: UUID, now: datetime) -> tuple[CircuitState, Passed | Refused]:
    """Ask to use the server."""
    if state.open_until is None:
        return state, Passed(probing=False)
    if now < state.open_until:
        return state, Refused(wait=state.open_until - now)
    if state.probe not in (None, me) and state.probe_until and now < state.probe_until:
        return state, Refused(wait=min(state.probe_until - now, PROBE_LOOK))
    return replace(state, probe=me, probe_until=now + PROBE_LEASE), Passed(probing=True)


def failed(
    state: CircuitState | None,
    trouble: CircuitTrouble,
    reason: str,
    me: UUID,
    now: datetime,
    *,
    login: str = "",
) -> CircuitState:
    """Note a failure; of those that come while it is open only the probe's prolongs it."""
    if state is None:
        state = CircuitState(
            trouble=trouble,
            failures=0,
            trips=0,
            open_until=None,
            probe=None,
            probe_until=None,
            login=login,
            reason=reason,
            failing_since=now,
        )
    state = replace(state, failures=state.failures + 1, reason=reason, login=login)
    is_login = trouble is CircuitTrouble.LOGIN
    if state.open_until is None:
        opens = is_login or state.failures >= THRESHOLD
    else:
        opens = state.probe == me and now >= state.open_until
    if not opens:
        return state
    first, longest = (
        (FIRST_LOGIN_OPEN, LONGEST_LOGIN_OPEN) if is_login else (FIRST_OPEN, LONGEST_OPEN)
    )
    pause = min(longest, first * 2 ** min(state.trips, 16))
    return replace(
        state, trips=state.trips + 1, open_until=now + pause, probe=None, probe_until=None
    )
