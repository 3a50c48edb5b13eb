"""When a server is given up."""

from __future__ import annotations

import pytest

from ignition_ext.channels.smtp import SmtpOptions
from ignition_ext.channels.smtp.reconnect import Setbacks
from ignition_ext.errors import AuthenticationFailed, ChannelError, ConnectFailed

_OPTIONS = SmtpOptions(host="mx", port=25, reconnect_attempts=3, reconnect_base=1, reconnect_max=8)
_AWAY = ConnectFailed("away")


def test_given_up_after_so_many_in_a_row() -> None:
    """The third setback without a judged message in between is the last."""
    setbacks = Setbacks(_OPTIONS)

    results = [setbacks.record(_AWAY, epoch=setbacks.epoch, others=0) for _ in range(3)]

    assert results == [None, None, _AWAY]


def test_progress_begins_a_new_row() -> None:
    """A judged message says that the server works."""
    setbacks = Setbacks(_OPTIONS)
    for _ in range(10):
        assert setbacks.record(_AWAY, epoch=setbacks.epoch, others=0) is None
        setbacks.progress()


def test_connections_that_fail_together_count_once() -> None:
    """A restart that ends ten connections is one setback."""
    setbacks = Setbacks(_OPTIONS)

    results = [setbacks.record(_AWAY, epoch=0, others=0) for _ in range(10)]

    assert results == [None] * 10


def test_a_server_that_serves_others_is_not_given_up() -> None:
    """It only wants fewer connections, whatever words it uses for that."""
    setbacks = Setbacks(_OPTIONS)
    for _ in range(10):
        error = ConnectFailed("no more", temporary=False)
        assert setbacks.record(error, epoch=setbacks.epoch, others=1) is None


@pytest.mark.parametrize("others", [0, 4])
def test_a_refused_login_is_final(others: int) -> None:
    """Once, whoever else is connected: the next try may lock the account."""
    refused = AuthenticationFailed("no")

    assert Setbacks(_OPTIONS).record(refused, epoch=0, others=others) is refused


def test_what_cannot_mend_itself_is_final() -> None:
    """A certificate for another name stays one."""
    error: ChannelError = ConnectFailed("wrong name", temporary=False)

    assert Setbacks(_OPTIONS).record(error, epoch=0, others=0) is error


@pytest.mark.parametrize(("own", "longest"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (60, 8)])
def test_waits_double_up_to_the_limit(own: int, longest: float) -> None:
    """At least half of the full wait, never more than it."""
    delay = Setbacks(_OPTIONS).delay(own)

    assert longest / 2 <= delay <= longest


def test_defaults_outlast_a_restart_and_no_more() -> None:
    """A server that is away for five seconds is waited for; a run knows within fifteen."""
    for _ in range(50):
        setbacks, waited = Setbacks(SmtpOptions(host="mx", port=25)), 0.0
        while setbacks.record(_AWAY, epoch=setbacks.epoch, others=0) is None:
            waited += setbacks.delay(1)

        assert 5 <= waited <= 13
