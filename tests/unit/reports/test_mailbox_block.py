"""The block of a bounce mailbox."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockTypeCreate
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import ValidationError

from blocks import BounceMailbox
from ignition_ext.orchestration.mailboxes import SLUG

LOGIN: dict[str, Any] = {"host": "imap.example.com", "username": "bounces", "password": "hunter2"}


class TestBounceMailboxIsABlock(BlockStandardTestSuite):
    """Prefect's own suite."""

    @pytest.fixture
    def block(self) -> type[Block]:
        return BounceMailbox

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Overridden: it fetches the logo from the web, and Prefect refuses data URIs."""
        assert block._logo_url is None
        with pytest.raises(ValidationError, match="URL scheme"):
            BlockTypeCreate(name="x", slug="x", logo_url="data:image/png;base64,AAAA")


def test_it_is_the_one_that_is_looked_for() -> None:
    """By commands and the flow, which know its slug alone."""
    assert BounceMailbox.get_block_type_slug() == SLUG


@pytest.mark.parametrize(("security", "port"), [("tls", 993), ("starttls", 143), ("none", 143)])
def test_port_follows_security(security: Any, port: int) -> None:
    """Unless it is given."""
    assert BounceMailbox(**LOGIN, security=security).options().port == port
    assert BounceMailbox(**LOGIN, security=security, port=1143).options().port == 1143


def test_password_is_not_shown() -> None:
    """Neither by the block nor by the options made of it."""
    block = BounceMailbox(**LOGIN)

    assert block.options().password == "hunter2"
    assert "hunter2" not in repr(block) + repr(block.options()) + str(block.model_dump())


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""},
        {"host": "imaps://imap.example.com"},
        {"host": "bounces@imap.example.com"},
        {"username": ""},
        {"folder": ""},
        {"folder": "a\r\nb"},
        {"port": 70000},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    """Where it is filled in, not when the first mail comes."""
    with pytest.raises(ValidationError):
        BounceMailbox(**LOGIN | changes)
