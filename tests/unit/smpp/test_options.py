"""Options and block refuse what SMPP cannot carry; nothing is cut to size."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from blocks import SmppGateway
from ignition_ext.channels.smpp import SmppOptions
from ignition_ext.errors import ConfigurationError


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "ninechars"},
        {"password": "pässwrd"},
        {"password": "a\r\nb"},
        {"system_id": "s" * 16},
        {"system_id": "a\x00b"},
        {"system_type": "t" * 13},
        {"window": 0},
        {"window": 100_000},
        {"binds": 0},
        {"rate": 0},
        {"port": 0},
        {"max_parts": 256},
        {"dest_ton": 256},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    """By the options, and so by the block."""
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        SmppOptions(**({"host": "h", "system_id": "s"} | changes))
    with pytest.raises(ValidationError):
        SmppGateway(**({"host": "h", "system_id": "s"} | changes))


def test_the_longest_values_fit() -> None:
    """15, 8 and 12 characters."""
    gateway = SmppGateway(host="h", system_id="s" * 15, password="p" * 8, system_type="t" * 12)

    assert gateway.options().password == "p" * 8
    assert gateway.bind_name == f"h:2775/{'s' * 15}"


def test_the_password_is_quoted_nowhere() -> None:
    """Not in a representation, not in an error."""
    with pytest.raises(ValidationError) as caught:
        SmppGateway(host="h", system_id="s", password="verysecret")

    assert "verysecret" not in str(caught.value)
    assert "secret" not in repr(SmppGateway(host="h", system_id="s", password="secret"))
    assert "secret" not in repr(SmppOptions(host="h", system_id="s", password="secret"))


@pytest.mark.parametrize("rate", [None, 20])
def test_the_blocks_rate_is_one_binds(rate: float | None) -> None:
    """What tenants and campaigns allow is kept outside of the transport, over all nodes."""
    gateway = SmppGateway(host="h", system_id="s", rate=rate, binds=4)

    assert gateway.transport().options.rate == rate


@pytest.mark.parametrize(("word", "bind"), [("TRX", "transceiver"), (" tx ", "transmitter")])
def test_friendly_spellings(word: str, bind: str) -> None:
    """As providers write it."""
    assert SmppGateway(host="h", system_id="s", bind=word).bind == bind  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["smpp://h", "h/x", "a b", "a\nb", ""])
def test_a_host_is_a_host(host: str) -> None:
    """Not an address with a scheme, nothing with a line break."""
    with pytest.raises(ValidationError):
        SmppGateway(host=host, system_id="s")


class TestSmppGateway(BlockStandardTestSuite):
    """Prefect's own demands on a block."""

    @pytest.fixture
    def block(self) -> type[Block]:
        """The block."""
        return SmppGateway

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Prefect's test would fetch the logo from the network; there is none."""
        assert block._logo_url is None

    def test_all_fields_have_a_title(self) -> None:
        """The form shows it."""
        for name, field in SmppGateway.model_fields.items():
            assert field.title, name

    def test_names(self) -> None:
        """Slugs are global on a server."""
        assert SmppGateway.get_block_type_slug() == "ignition-smpp-gateway"
        assert SmppGateway._block_type_name == "Ignition SMPP Gateway"


def test_importing_blocks_is_light() -> None:
    """Prefect imports them when a worker or server starts."""
    code = (
        "import sys, blocks; "
        "sys.exit(', '.join({'sqlmodel', 'alembic', 'ignition_ext.templates', "
        "'ignition_ext.database'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("said", "tag"), [("0x1502", 0x1502), (" 5378 ", 0x1502), ("0x1E", 0x1E), ("", None)]
)
def test_a_tag_is_written_as_providers_write_it(said: str, tag: int | None) -> None:
    """Hexadecimal or decimal; an empty field of the form is none."""
    gateway = SmppGateway(host="h", system_id="i", password="p", text_id_tlv=said)

    assert gateway.options().text_id_tlv == tag


@pytest.mark.parametrize("said", ["1502h", "0x10000", "-1", "message id"])
def test_what_is_no_tag_is_refused_with_the_mend(said: str) -> None:
    """It says how to write one."""
    with pytest.raises(ValidationError, match="write it as 0x1502"):
        SmppGateway(host="h", system_id="i", password="p", text_id_tlv=said)
