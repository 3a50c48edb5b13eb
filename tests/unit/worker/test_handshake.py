"""A child is told of the server what the worker has learned, and only of that server."""

from __future__ import annotations

from ignition_ext.worker.handshake import API_URL, VERSION_CHECK, settings_of_child

KNOWN = {API_URL: "http://one/api", VERSION_CHECK: "false"}


def test_a_child_of_the_same_server_is_told() -> None:
    """Its first requests are the flow's."""
    told = settings_of_child(KNOWN, {API_URL: "http://one/api", "OTHER": None})

    assert told == KNOWN


def test_a_child_that_talks_to_another_server_asks_it_itself() -> None:
    """A job variable may name any server."""
    assert settings_of_child(KNOWN, {API_URL: "http://two/api"}) == {}


def test_nothing_known_is_nothing_told() -> None:
    """The worker may have been started before the server."""
    assert settings_of_child({}, {API_URL: "http://one/api"}) == {}
    assert settings_of_child({}, {}) == {}
