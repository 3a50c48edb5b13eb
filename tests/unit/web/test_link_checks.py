"""What the doctor says of links."""

from __future__ import annotations

from typing import Any

import pytest

from ignition_ext.cli.link_checks import check_links
from ignition_ext.health.check import Verdict
from ignition_ext.settings import Settings
from ignition_ext.signing import key_path, token

URL, POSTGRES = "https://mail.acme.example", "postgresql://db.example/ignition"


@pytest.mark.parametrize(
    ("said", "verdict", "words"),
    [
        ({}, Verdict.OK, "IGNITION_WEB_URL is not set"),
        ({"web_url": URL}, Verdict.OK, "made on first use"),
        ({"web_url": URL, "database_url": POSTGRES}, Verdict.HINT, "made on first use"),
        (
            {"web_url": URL, "database_url": POSTGRES, "signing_key": "k" * 32},
            *(Verdict.OK, "signed with IGNITION_SIGNING_KEY"),
        ),
        ({"web_url": "mail.acme.example"}, Verdict.FAILED, "IGNITION_WEB_URL"),
        ({"signing_key": "short"}, Verdict.FAILED, "fewer than 32"),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(
    said: dict[str, Any], verdict: Verdict, words: str
) -> None:
    """And no key is made by looking."""
    check = check_links(Settings(**said))

    assert check.verdict is verdict
    assert words in check.detail
    assert bool(check.mend) is (verdict is not Verdict.OK)
    assert not key_path().exists()


def test_the_nodes_own_key_is_named() -> None:
    """Once there is one."""
    token("anything", b"x")

    assert str(key_path()) in check_links(Settings(web_url=URL)).detail
