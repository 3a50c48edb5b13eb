"""The graph of campaigns: cycles, order, drawings, and what a file may say under ``after``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.campaigns.chain import (
    On,
    ParentSpec,
    RunEnd,
    ancestors,
    find_cycle,
    in_order,
    starts_all_of,
)
from ignition_ext.campaigns.chain_drawing import Drawing, around, draw
from ignition_ext.campaigns.file import read_campaign
from ignition_ext.errors import CampaignFileError

FILE = """\
name: news
tenant: acme
channel: email
audience: {{name: customers}}
template: news
block: acme-mail
from: news@acme.example
after: {after}
"""


def graph(**parents: str) -> dict[str, list[ParentSpec]]:
    """``graph(c="a b")``: c comes after a and b."""
    return {
        f"t/{name}": [ParentSpec(campaign=f"t/{parent}") for parent in written.split()]
        for name, written in parents.items()
    }


DIAMOND = graph(a="", b="a", c="a", d="b c", e="d", other="")


def test_a_cycle_is_told_in_the_order_of_running() -> None:
    """From the campaign back to itself; a campaign beside the cycle has none."""
    ring = graph(a="c", b="a", c="b", d="c")

    assert find_cycle(ring, "t/a") == ["t/a", "t/b", "t/c", "t/a"]
    assert find_cycle(graph(a="a"), "t/a") == ["t/a", "t/a"]
    assert find_cycle(ring, "t/d") == []
    assert find_cycle(DIAMOND, "t/d") == []


def test_only_ends_with_a_common_beginning_belong_together() -> None:
    """Which run began a chain decides, where it began all parents."""
    assert starts_all_of(DIAMOND, "t/a", "t/d")
    assert starts_all_of(DIAMOND, "t/d", "t/e")
    assert not starts_all_of(DIAMOND, "t/b", "t/d")
    assert not starts_all_of(graph(a="", b="", c="a b"), "t/a", "t/c")


@st.composite
def graphs(draw_: Any) -> dict[str, list[ParentSpec]]:
    names = [f"t/n{number}" for number in range(draw_(st.integers(1, 8)))]
    return {
        name: [
            ParentSpec(campaign=parent)
            for parent in draw_(st.lists(st.sampled_from(names), unique=True, max_size=3))
        ]
        for name in names
    }


@given(graphs())
def test_a_cycle_is_found_where_a_campaign_is_above_itself(
    some: dict[str, list[ParentSpec]],
) -> None:
    """Each step of the path is an arrow of the graph; without a cycle parents come first."""
    cycles = {name: find_cycle(some, name) for name in some}

    for name, path in cycles.items():
        assert bool(path) == (name in ancestors(some, name))
        for parent, child in pairwise(path):
            assert parent in [spec.campaign for spec in some[child]]
    if not any(cycles.values()):
        ordered = in_order(some, sorted(some, reverse=True))
        for at, name in enumerate(ordered):
            assert {spec.campaign for spec in some[name]} <= set(ordered[:at])


@pytest.mark.parametrize(
    ("on", "ends"),
    [
        (On.COMPLETED, {RunEnd.COMPLETED}),
        (On.FAILED, {RunEnd.FAILED}),
        (On.ANY, set(RunEnd)),
    ],
)
def test_which_ends_let_a_campaign_go(on: On, ends: set[RunEnd]) -> None:
    """A cancelled or skipped parent is neither completed nor failed."""
    assert {end for end in RunEnd if on.holds(end)} == ends


def test_both_spellings_are_read() -> None:
    """A bare name is the one that completed, at once; ``on`` is a word here, not a truth value."""
    text = "[acme/first, {campaign: acme/second, on: any, delay: 30m}]"
    first, second = read_campaign(FILE.format(after=text).encode(), "news.yaml").after

    assert (first.campaign, first.on, first.delay) == ("acme/first", On.COMPLETED, None)
    assert (second.on, second.wait.total_seconds()) == (On.ANY, 1800)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ("[acme/news]", "cannot come after itself"),
        ("[acme/a, {campaign: acme/a, on: any}]", "stands twice"),
        ("[other/a]", "another tenant"),
        ("[a]", "should match"),
        ("[{campaign: acme/a, if: failed}]", "is not a key"),
        ("[{campaign: acme/a, on: success}]", "completed"),
        ("[{campaign: acme/a, delay: 30}]", "not a duration"),
        ("acme/first", "list"),
    ],
)
def test_what_cannot_be_meant_is_refused(after: str, words: str) -> None:
    """With the line."""
    with pytest.raises(CampaignFileError, match=words) as caught:
        read_campaign(FILE.format(after=after).encode(), "news.yaml")

    assert caught.value.line == 8


def test_a_graph_is_drawn() -> None:
    """Arrows point from parent to child; what is not a plain arrow says why."""
    some = graph(b="a") | {
        "t/c": [ParentSpec.model_validate({"campaign": "t/a", "on": "failed", "delay": "30m"})]
    }

    assert draw(some, Drawing.MERMAID) == (
        "flowchart LR\n"
        '    c0["t/a"]\n    c1["t/b"]\n    c2["t/c"]\n'
        '    c0 --> c1\n    c0 -->|"on failed +30m"| c2\n'
    )
    assert draw(some, Drawing.DOT) == (
        "digraph campaigns {\n    rankdir=LR;\n"
        '    "t/a";\n    "t/b";\n    "t/c";\n'
        '    "t/a" -> "t/b";\n    "t/a" -> "t/c" [label="on failed +30m"];\n}\n'
    )


def test_only_what_hangs_together_is_drawn() -> None:
    """Upwards, downwards and sideways."""
    assert set(around(DIAMOND, "t/c")) == {f"t/{name}" for name in "abcde"}
    assert set(around(DIAMOND, "t/other")) == {"t/other"}
