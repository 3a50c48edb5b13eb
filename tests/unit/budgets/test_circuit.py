"""When a circuit opens, who may probe, and how long it stays open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.budgets.circuit import (
    FIRST_LOGIN_OPEN,
    FIRST_OPEN,
    LONGEST_LOGIN_OPEN,
    LONGEST_OPEN,
    PROBE_LEASE,
    THRESHOLD,
    CircuitState,
    Passed,
    Refused,
    enter,
    failed,
)
from ignition_ext.models import CircuitTrouble

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
ME, OTHER = uuid4(), uuid4()
SECOND = timedelta(seconds=1)


def fail(
    state: CircuitState | None,
    now: datetime,
    *,
    me: UUID = ME,
    trouble: CircuitTrouble = CircuitTrouble.CONNECTION,
) -> CircuitState:
    return failed(state, trouble, "no answer", me, now)


def opened(now: datetime = START) -> CircuitState:
    state = None
    for _ in range(THRESHOLD):
        state = fail(state, now)
    assert state is not None
    assert state.open_until == now + FIRST_OPEN
    return state


def test_one_or_two_failures_leave_it_closed() -> None:
    """They are a restart of the server."""
    state = None
    for _ in range(THRESHOLD - 1):
        state = fail(state, START)
        assert enter(state, ME, START)[1] == Passed(probing=False)


def test_an_open_circuit_refuses_everyone_until_its_time() -> None:
    """And says how long that is."""
    state = opened()
    for who in (ME, OTHER):
        assert enter(state, who, START + 10 * SECOND)[1] == Refused(wait=20 * SECOND)


def test_one_probes_while_the_others_wait() -> None:
    """A probe that died is replaced when its lease is over."""
    later = START + FIRST_OPEN
    state, answer = enter(opened(), ME, later)
    assert answer == Passed(probing=True)
    assert isinstance(enter(state, OTHER, later + SECOND)[1], Refused)
    assert enter(state, ME, later + SECOND)[1] == Passed(probing=True)

    assert enter(state, OTHER, later + PROBE_LEASE)[1] == Passed(probing=True)


def test_a_failed_probe_doubles_the_pause_up_to_a_cap() -> None:
    """From half a minute to a quarter of an hour."""
    state, pauses = opened(), []
    for _ in range(8):
        assert state.open_until is not None
        now = state.open_until
        state, _ = enter(state, ME, now)
        state = fail(state, now)
        assert state.open_until is not None
        pauses.append(state.open_until - now)
    assert pauses[:3] == [2 * FIRST_OPEN, 4 * FIRST_OPEN, 8 * FIRST_OPEN]
    assert pauses[-1] == LONGEST_OPEN


def test_late_failures_of_others_do_not_prolong_it() -> None:
    """Ten runs that met one outage are one outage."""
    state = opened()
    for _ in range(10):
        state = fail(state, START + SECOND, me=OTHER)
    assert (state.open_until, state.trips) == (START + FIRST_OPEN, 1)


def test_a_wrong_login_is_not_tried_again_for_long() -> None:
    """Accounts get locked: half an hour, then an hour, a day at most."""
    state = fail(None, START, trouble=CircuitTrouble.LOGIN)
    assert state.open_until == START + FIRST_LOGIN_OPEN
    for _ in range(10):
        assert state.open_until is not None
        now = state.open_until
        state, _ = enter(state, ME, now)
        state = fail(state, now, trouble=CircuitTrouble.LOGIN)
        assert state.open_until is not None
    assert state.open_until - now == LONGEST_LOGIN_OPEN


@given(
    st.lists(
        st.tuples(st.sampled_from(["enter", "fail"]), st.booleans(), st.integers(0, 120)),
        max_size=60,
    )
)
def test_never_two_probes_at_once(steps: list[tuple[str, bool, int]]) -> None:
    """Whatever happens in which order: while one probes, nobody else asks the server."""
    state, now = opened(), START
    probing: dict[UUID, datetime] = {}
    for what, mine, seconds in steps:
        now += timedelta(seconds=seconds)
        me, other = (ME, OTHER) if mine else (OTHER, ME)
        if what == "fail":
            state = fail(state, now, me=me)
            probing.pop(me, None)
            continue
        state, answer = enter(state, me, now)
        if isinstance(answer, Passed):
            assert answer.probing
            assert other not in probing or now >= probing[other]
            probing[me] = now + PROBE_LEASE
