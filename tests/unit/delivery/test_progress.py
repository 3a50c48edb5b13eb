from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.delivery.progress import ORDER, Throttle, percent_done, summary
from ignition_ext.values import MessageState

states = st.dictionaries(st.sampled_from(list(MessageState)), st.integers(0, 10_000))


def test_every_state_has_its_place_in_a_summary() -> None:
    """A new state must not be left out of what operators read."""
    assert sorted(ORDER) == sorted(MessageState)


def test_a_summary_names_what_is_there_and_nothing_else() -> None:
    """Outcomes first, empty states left out."""
    counts = {MessageState.FAILED: 2, MessageState.SENT: 998, MessageState.PENDING: 0}

    assert summary(counts) == "998 sent, 2 failed"
    assert summary({}) == "no messages"


@given(states)
def test_percent_done_stays_within_bounds_and_is_whole_only_at_the_end(
    counts: dict[MessageState, int],
) -> None:
    """100 % means that no message needs a sender."""
    percent = percent_done(counts)
    still_open = sum(
        counts.get(state, 0)
        for state in (
            MessageState.PENDING,
            MessageState.CLAIMED,
            MessageState.SENDING,
            MessageState.DEFERRED,
        )
    )

    assert 0 <= percent <= 100
    assert (percent == 100) == (still_open == 0)


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 0.2)), max_size=400))
def test_progress_is_told_at_most_four_times_a_second(steps: list[tuple[float, float]]) -> None:
    """However fast a run is, the server gets few requests."""
    throttle, now, percent = Throttle(), 0.0, 0.0
    told: Counter[int] = Counter()
    for wait, step in steps:
        now, percent = now + wait, min(100.0, percent + step * 100)
        if throttle.due(percent, now):
            told[int(now)] += 1

    assert all(count <= 5 for count in told.values())


def test_small_steps_are_told_once_a_second() -> None:
    """Below five percent the second decides."""
    throttle = Throttle()

    assert throttle.due(1, 10.0)
    assert not throttle.due(2, 10.9)
    assert throttle.due(2, 11.0)
    assert not throttle.due(2, 20.0), "nothing new is to be told"


def test_a_large_step_is_told_before_the_second_is_over() -> None:
    """A run of two seconds shows more than its end."""
    throttle = Throttle()

    assert throttle.due(0, 10.0)
    assert throttle.due(30, 10.3)
