"""The block that operators fill in."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockTypeCreate
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from prefect_email import EmailServerCredentials
from pydantic import ValidationError

from blocks import SmtpServer


class TestSmtpServerIsABlock(BlockStandardTestSuite):
    """Prefect's own suite."""

    @pytest.fixture
    def block(self) -> type[Block]:
        return SmtpServer

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Overridden: it fetches the logo from the web, and Prefect refuses data URIs."""
        assert block._logo_url is None
        with pytest.raises(ValidationError, match="URL scheme"):
            BlockTypeCreate(name="x", slug="x", logo_url="data:image/png;base64,AAAA")


def test_importing_blocks_is_light() -> None:
    """Workers and servers import it at each start."""
    code = (
        "import sys; before = set(sys.modules); import prefect_email; import blocks;"
        "print([name for name in sys.modules if name.split('.')[0] in"
        " {'sqlmodel', 'alembic', 'psycopg', 'css_inline', 'babel'}"
        " or name.startswith(('ignition_ext.models', 'ignition_ext.database',"
        " 'ignition_ext.ledger', 'ignition_ext.templates'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25), (" SSL ", 465)]
)
def test_port_follows_security(security: Any, port: int) -> None:
    """Unless it is given; the words of other programs are understood."""
    assert SmtpServer(host="mail.example.com", security=security).options().port == port
    given = SmtpServer(host="mail.example.com", security=security, port=2525)
    assert given.options().port == 2525


def test_password_is_not_shown() -> None:
    """Neither by the block nor by the options made of it."""
    server = SmtpServer(host="mail.example.com", username="ada", password="hunter2")

    assert server.options().password == "hunter2"
    assert "hunter2" not in repr(server) + repr(server.options()) + str(server.model_dump())


def test_everything_from_prefect_emails_block() -> None:
    """With an empty host; the names of known providers become host names."""
    credentials = EmailServerCredentials(
        username="ada@example.com",
        password="hunter2",
        smtp_server="gmail",
        smtp_type="STARTTLS",
        verify=False,
    )

    options = SmtpServer(credentials=credentials).options(drain_seconds=3)

    assert (options.host, options.port, options.security) == ("smtp.gmail.com", 587, "starttls")
    assert (options.username, options.password) == ("ada@example.com", "hunter2")
    assert not options.verify
    assert options.drain_timeout == 3


def test_login_alone_from_prefect_emails_block() -> None:
    """With a host filled in, nothing but the login comes from there."""
    credentials = EmailServerCredentials(
        username="ada", password="hunter2", smtp_server="elsewhere", smtp_type="INSECURE"
    )

    options = SmtpServer(host="mail.example.com", credentials=credentials).options()

    assert (options.host, options.security, options.verify) == (
        "mail.example.com",
        "starttls",
        True,
    )
    assert (options.username, options.password) == ("ada", "hunter2")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "host is empty"),
        ({"host": "https://mail.example.com"}, "write smtp.example.com"),
        ({"host": "mail.example.com\r\nX"}, "one line"),
        ({"host": "m", "helo": "a\nb"}, "one line"),
        ({"host": "m", "security": "sslv2"}, "write starttls, tls or none"),
        ({"host": "m", "port": 70000}, "65535"),
        ({"host": "m", "password": "x"}, "no user name"),
        ({"host": "m", "envelope_from": "Acme <a@example.com>"}, "bounces@example.com"),
        ({"host": "m", "connections": 0}, "1"),
    ],
)
def test_mistakes_are_named_with_the_mend(fields: dict[str, Any], words: str) -> None:
    """So that the form in the UI says what to do."""
    with pytest.raises(ValidationError, match=words):
        SmtpServer(**fields)


def test_empty_fields_of_the_form_mean_none() -> None:
    """The UI sends empty strings."""
    server = SmtpServer(host="m", username="", helo=" ", envelope_from="")

    assert (server.username, server.helo, server.envelope_from) == (None, None, None)
