"""What a benchmark makes of its arguments and of its rounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ignition_ext.bench.accounting import require_all_sent, require_same
from ignition_ext.bench.content import email_bytes, email_samples, sms_samples
from ignition_ext.bench.meter import peak_rss_mb
from ignition_ext.bench.options import Address, parse_target
from ignition_ext.bench.people import CROWD, crowds, message_of
from ignition_ext.bench.report import COLUMNS, summary, table
from ignition_ext.errors import ConfigurationError, IgnitionError
from ignition_ext.values import Channel, MessageState


@given(
    st.sampled_from(["localhost", "127.0.0.1", "::1", "mail.example.com"]), st.integers(1, 65535)
)
def test_a_target_reads_as_it_is_written(host: str, port: int) -> None:
    """IPv6 addresses stand in brackets."""
    address = Address(host=host, port=port)

    assert parse_target(str(address)) == address


@pytest.mark.parametrize("text", ["", "host", "host:", ":25", "host:0", "host:65536", "host:x"])
def test_a_target_that_is_none_is_refused(text: str) -> None:
    """The message says how one is written."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_target(text)


@pytest.mark.parametrize("channel", list(Channel))
def test_the_people_are_as_many_as_asked_for_and_all_different(channel: Channel) -> None:
    """Also where the last crowd and its last batch are not full."""
    count = CROWD + 2_345
    made = list(crowds(count, channel))
    addresses = [message.address for crowd in made for batch in crowd for message in batch]

    assert len(made) == 2
    assert len(addresses) == len(set(addresses)) == count
    assert message_of(0, channel).address == addresses[0]


def test_a_mail_is_as_large_as_a_newsletter_and_a_text_fits_one_segment() -> None:
    """70 UTF-16 units, so that names in any script do not make two segments of it."""
    assert 3_500 < len(email_bytes()) < 5_500
    assert len({html for _, _, _, html in email_samples()}) == 200
    for _, text in sms_samples():
        assert len(text.encode("utf-16-be")) // 2 <= 70, text


def one_round(seconds: float, peer: float | None, **more: Any) -> dict[str, Any]:
    return {
        "messages": 1000,
        "seconds": seconds,
        "cpu_seconds": seconds / 2,
        "peak_rss_mb": 100 * seconds,
        "peers": {"other": peer},
        **more,
    }


def test_the_figures_are_medians_over_the_rounds() -> None:
    """But for the memory, of which the most counts."""
    rounds = [one_round(1, 100, x=1.0), one_round(4, 50, x=3.0), one_round(2, 200, x=2.0)]
    document = summary(rounds, ["x"], {"sink": "s", "sink_rate": 1000})

    assert document["rate"] == 500
    assert document["cpu_seconds_per_10k"] == 10
    assert document["peak_rss_mb"] == 400
    assert document["peers"] == {"other": 100}
    assert document["ratios"] == {"other": 5}
    assert document["x"] == 2
    assert document["rounds"] == [1000, 250, 500]
    shown = [row[COLUMNS[0]] for row in table(document)]
    assert shown == ["ignition", "other", "sink by itself"]


def test_a_peer_that_is_missing_in_one_round_has_no_figure() -> None:
    """A median of what is left would compare unlike rounds."""
    document = summary([one_round(1, 100), one_round(1, None)], [], {})

    assert document["peers"] == {"other": None}
    assert document["ratios"] == {"other": None}


@pytest.mark.parametrize(
    "counts",
    [
        {MessageState.SENT: 9},
        {MessageState.SENT: 9, MessageState.DEFERRED: 1},
        {MessageState.SENT: 10, MessageState.UNCERTAIN: 1},
        {},
    ],
    ids=["one is missing", "one is deferred", "one is too many", "none"],
)
def test_a_message_that_was_not_sent_is_an_error(counts: dict[MessageState, int]) -> None:
    """A rate over messages that never went out would be none."""
    require_all_sent({MessageState.SENT: 10, MessageState.FAILED: 0}, 10)
    with pytest.raises(IgnitionError, match="of 10 messages were sent"):
        require_all_sent(counts, 10)


@pytest.mark.parametrize("far_side", [9, 11], ids=["lost", "doubled"])
def test_a_far_side_that_took_another_number_is_an_error(far_side: int) -> None:
    """Both are told."""
    require_same(10, 10)
    with pytest.raises(IgnitionError, match=f"{far_side}.*10"):
        require_same(far_side, 10)


def test_the_memory_is_this_process_own() -> None:
    """In 10⁶ bytes: Python with these modules has tens of them, not thousands."""
    assert 10 < peak_rss_mb() < 4_000
