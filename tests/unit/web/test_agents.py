"""Machines that fetch are told apart from people who look."""

from __future__ import annotations

import pytest

from ignition_ext.web.agents import Agent, classify
from ignition_ext.web.recording import kept_url

_CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"


@pytest.mark.parametrize(
    ("headers", "agent", "is_proxy"),
    [
        ({"user-agent": "Mozilla/5.0"}, Agent.APPLE_PROXY, True),
        (
            {"user-agent": "Mozilla/5.0 (Windows NT 5.1) (via ggpht.com GoogleImageProxy)"},
            *(Agent.GMAIL_PROXY, True),
        ),
        (
            {"user-agent": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy"},
            *(Agent.YAHOO_PROXY, True),
        ),
        ({"user-agent": _CHROME, "sec-purpose": "prefetch;prerender"}, Agent.PREFETCH, True),
        ({"user-agent": _CHROME, "x-purpose": "preview"}, Agent.PREFETCH, True),
        ({}, Agent.SCANNER, True),
        ({"user-agent": "Mozilla/5.0 (compatible; bingbot/2.0)"}, Agent.SCANNER, True),
        ({"user-agent": "python-requests/2.32"}, Agent.SCANNER, True),
        ({"user-agent": _CHROME}, Agent.DESKTOP, False),
        ({"user-agent": "Mozilla/5.0 (Linux; Android 15) Mobile Safari"}, Agent.PHONE, False),
        ({"user-agent": "Lynx/2.9"}, Agent.OTHER, False),
    ],
)
def test_the_class_of_a_program(headers: dict[str, str], agent: Agent, is_proxy: bool) -> None:
    """By what it says of itself; who says nothing is a machine."""
    assert classify(headers) is agent
    assert agent.is_proxy is is_proxy


def test_what_is_kept_of_a_personal_link() -> None:
    """Neither query nor fragment nor a user, which may say who it was."""
    assert kept_url("https://ada:x@a.example/p?id=7#x", is_personal=True) == "https://a.example/p"
    assert kept_url("https://a.example/p?id=7#x", is_personal=False) == "https://a.example/p?id=7#x"
    assert kept_url("https://[broken", is_personal=True) == ""
