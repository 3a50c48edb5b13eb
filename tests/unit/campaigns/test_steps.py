"""Steps of a ramp and thresholds of a stop: how they are written, and their exact arithmetic."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ignition_ext.campaigns.definition import DeliverySpec
from ignition_ext.campaigns.file import read_campaign
from ignition_ext.campaigns.steps import (
    Figures,
    StepSize,
    StopSpec,
    exceeded,
    parse_percent,
    parse_step,
    step_targets,
    untried,
    write_percent,
)
from ignition_ext.errors import CampaignFileError
from ignition_ext.values import MessageState

SIZES = st.one_of(
    st.integers(1, 10_000).map(lambda count: StepSize(count=count)),
    st.integers(1, 100_000_000).map(lambda parts: StepSize(share=Fraction(parts, 100_000_000))),
)
RAMPS = st.lists(SIZES, min_size=0, max_size=8).map(
    lambda sizes: [*sizes, StepSize(share=Fraction(1))]
)


@given(RAMPS, st.integers(0, 1_000_000))
def test_steps_grow_and_end_with_everybody(ramp: list[StepSize], total: int) -> None:
    """Each step adds somebody, none goes beyond its share by a whole message, the last is all."""
    targets = step_targets(ramp, total)

    assert list(targets) == sorted(set(targets))
    assert (targets[-1] == total) if total else (targets == ())
    assert all(target >= 1 for target in targets)
    for size in ramp:
        wanted = size.of(total)
        assert wanted in targets or any(target >= wanted for target in targets) or not total
        if size.share is not None and total:
            assert 0 <= wanted - size.share * total < 1


@given(st.integers(1, 100_000_000))
def test_a_percentage_reads_back_as_it_was_written(parts: int) -> None:
    """Six digits after the point survive, exactly."""
    share = Fraction(parts, 100_000_000)

    assert parse_percent(write_percent(share)) == share


@pytest.mark.parametrize(
    ("ramp", "total", "targets"),
    [
        (["1%", "10%", "100%"], 1000, (10, 100, 1000)),
        (["1%", "10%", "100%"], 1001, (11, 101, 1001)),
        (["1%", "10%", "100%"], 5, (1, 5)),
        ([500, "10%", "100%"], 2000, (500, 2000)),
        ([500, "100%"], 300, (300,)),
        ([100, 500, "100%"], 501, (100, 500, 501)),
        (["1%", "100%"], 0, ()),
    ],
)
def test_small_audiences_skip_steps(ramp: list[Any], total: int, targets: tuple[int, ...]) -> None:
    """A step that would add nobody is left out; a part of a person is a whole one."""
    assert step_targets([parse_step(step) for step in ramp], total) == targets


@given(
    st.dictionaries(st.sampled_from(MessageState), st.integers(0, 5000)),
    st.fractions(min_value=Fraction(1, 1000), max_value=1),
    st.integers(1, 1000),
)
def test_a_rate_is_reached_exactly(
    counts: dict[MessageState, int], limit: Fraction, judged_from: int
) -> None:
    """Neither suppressed nor unknown messages dilute it, and none is judged too early."""
    figures = Figures.of(counts)
    stop_if = StopSpec(failed=limit)

    found = exceeded(stop_if, judged_from, figures)

    tried = sum(
        counts.get(state, 0)
        for state in MessageState
        if state in ("sent", "delivered", "bounced", "complained", "failed")
    )
    failed = counts.get(MessageState.FAILED, 0)
    reached = failed > 0 and tried >= judged_from and Fraction(failed, tried) >= limit
    assert bool(found) is reached


def test_what_was_judged_does_not_count_again() -> None:
    """After an approval only what came later is measured."""
    stop_if = StopSpec(failed=Fraction(5, 100), bounced=Fraction(2, 100))
    base = Figures(tried=100, failed=6)

    assert exceeded(stop_if, 50, Figures(tried=149, failed=16).since(base)) == []
    late = Figures(tried=150, failed=8, bounced=1).since(base)
    assert [one.name for one in exceeded(stop_if, 50, late)] == ["bounced"]
    assert Figures(tried=90, failed=2).since(base) == Figures()


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_step_is_tried_when_nothing_of_it_waits(
    held: int, waiting: int, deferred: int, sent: int
) -> None:
    """What the next steps hold back is pending too, and is not waited for."""
    counts = Counter(
        {
            MessageState.PENDING: held + waiting,
            MessageState.DEFERRED: deferred,
            MessageState.SENT: sent,
        }
    )

    assert untried(counts, held) == waiting


def test_the_default_of_after_is_the_first_step() -> None:
    """Five hundred, or fewer where the first step is smaller."""
    stop_if = StopSpec(failed=Fraction(5, 100))

    assert stop_if.judged_from((10, 100, 1000)) == 10
    assert stop_if.judged_from((1000, 10_000)) == 500
    assert stop_if.judged_from(()) == 500
    assert StopSpec(failed=Fraction(5, 100), after=7).judged_from((10,)) == 7


WRONG = [
    ({"ramp": ["1%", "10%"]}, "has to be 100%"),
    ({"ramp": ["100%"]}, "no ramp"),
    ({"ramp": ["10%", "5%", "100%"]}, "5% comes after 10%"),
    ({"ramp": [500, 400, "100%"]}, "400 comes after 500"),
    ({"ramp": ["0%", "100%"]}, "not more than 0%"),
    ({"ramp": ["101%"]}, "at most 100%"),
    ({"ramp": [0.1, "100%"]}, "is no step"),
    ({"ramp": [0, "100%"]}, "no number of messages"),
    ({"ramp": [True, "100%"]}, "is no step"),
    ({"ramp": ["ten", "100%"]}, "is no step"),
    ({"ramp": ["1%"] * 30}, "at most 20"),
    ({"ramp_wait": "30m"}, "which is missing"),
    ({"ramp": ["1%", "10%", "100%"], "ramp_wait": "3h", "deadline": "6h"}, "deadline"),
    ({"stop_if": {}}, "at least one"),
    ({"stop_if": {"after": 10}}, "at least one"),
    ({"stop_if": {"bounced": 2}}, "write for example 2%"),
    ({"stop_if": {"failed": "5%", "after": 0}}, "greater than or equal to 1"),
]


@pytest.mark.parametrize(("given", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], words: str) -> None:
    """With the reason, in the words of the file."""
    with pytest.raises(ValidationError) as refused:
        DeliverySpec.model_validate(given)

    assert words in str(refused.value)


def test_a_definition_survives_the_database() -> None:
    """As JSON and back it says the same."""
    spec = DeliverySpec.model_validate(
        {
            "ramp": [500, "2.5%", "100%"],
            "ramp_wait": "45m",
            "stop_if": {"bounced": "2%", "complained": "0.1%", "after": 500},
        }
    )

    document = spec.model_dump(mode="json")

    assert document["ramp"] == ["500", "2.5%", "100%"]
    assert document["stop_if"]["complained"] == "0.1%"
    assert DeliverySpec.model_validate(document) == spec


FILE = """\
name: news
tenant: acme
channel: email
audience: {name: customers}
template: welcome
block: acme-mail
from: news@example.com
time_limit: 1h
delivery:
  ramp: [1%, 10%, 100%]
  stop_if:
    bouncd: 2%
"""


def test_the_file_says_line_and_mend() -> None:
    """A slip of the pen is told where it is."""
    with pytest.raises(CampaignFileError) as refused:
        read_campaign(FILE.encode(), "news.yaml")

    assert refused.value.line == 12
    assert "Did you mean `bounced`?" in str(refused.value)
    with pytest.raises(CampaignFileError, match="time_limit 1:00:00 is over before"):
        read_campaign(FILE.replace("bouncd", "bounced").encode(), "news.yaml")
