"""What a connection to an SMSC needs to know: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ignition_ext.channels.smpp.encoding import Alphabet
from ignition_ext.channels.smpp.segment import DEFAULT_MAX_PARTS, MOST_PARTS
from ignition_ext.errors import ConfigurationError

SYSTEM_ID_OCTETS, PASSWORD_OCTETS, SYSTEM_TYPE_OCTETS = 15, 8, 12
"""SMPP 3.4 section 4.1: sizes of the bind's fields, without the NUL."""

WIDEST_WINDOW = 10_000
"""Unanswered submit_sm a bind. The spec advises 10; beyond this it is a slip of the pen, and as
many messages would be uncertain after a crash."""


class BindType(StrEnum):
    """SMPP 3.4 section 2.2.1."""

    TRANSCEIVER = "transceiver"
    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"


class ReceiptIdFormat(StrEnum):
    """How the id in a receipt relates to the one in submit_sm_resp."""

    AUTO = "auto"
    SAME = "same"
    HEX_TO_DEC = "hex_to_dec"
    DEC_TO_HEX = "dec_to_hex"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmppOptions:
    """How to bind to an SMSC and how to behave there; durations are in seconds.

    Attributes:
        host: name or address, IPv6 with or without brackets.
        window: unanswered submit_sm a bind.
        rate: submit_sm a second and bind, None without a limit of ours.
        binds: parallel sessions.
        source_ton, source_npi, dest_ton, dest_npi: None for the rules of ``addresses``.
        text_id_tlv: tag of the TLV in which the SMSC numbers texts from handsets, None without.
        response_timeout: an unanswered part is uncertain after this.
        enquire_link: idle time after which the link is probed.
        drain_timeout: how long answers are awaited after a stop.
        reconnect_base, reconnect_max: first and longest pause between attempts to connect.
        reconnect_timeout: how long a lost link is attempted again before giving up.
        bind_retry: pause after ``0x0D`` (bind failed, often "too many binds").
        bind_patience: how long the first bind is attempted before giving up.
        throttle_base, throttle_max: first and longest pause after ``0x58`` and ``0x14``.
        throttle_patience: how long a throttled part is kept for another try in place.
    """

    host: str
    port: int = 2775
    tls: bool = False
    verify: bool = True
    ca_file: str | None = None
    system_id: str = ""
    password: str = field(default="", repr=False)
    system_type: str = ""
    bind: BindType = BindType.TRANSCEIVER
    window: int = 50
    rate: float | None = None
    binds: int = 1
    default_alphabet: Alphabet = Alphabet.GSM7
    source_ton: int | None = None
    source_npi: int | None = None
    dest_ton: int | None = None
    dest_npi: int | None = None
    receipt_id_format: ReceiptIdFormat = ReceiptIdFormat.AUTO
    text_id_tlv: int | None = None
    replace_typography: bool = False
    wide_reference: bool = False
    max_parts: int = DEFAULT_MAX_PARTS
    connect_timeout: float = 30
    response_timeout: float = 30
    enquire_link: float = 30
    drain_timeout: float = 20
    reconnect_base: float = 0.5
    reconnect_max: float = 15
    reconnect_timeout: float = 60
    bind_retry: float = 5
    bind_patience: float = 20
    throttle_base: float = 0.5
    throttle_max: float = 30
    throttle_patience: float = 60

    def __post_init__(self) -> None:
        """Refuse what SMPP cannot carry. Nothing is cut to size: a cut password locks accounts."""
        for name, value, most in (
            ("system_id", self.system_id, SYSTEM_ID_OCTETS),
            ("password", self.password, PASSWORD_OCTETS),
            ("system_type", self.system_type, SYSTEM_TYPE_OCTETS),
        ):
            _check_text(name, value, most)
        for name in ("source_ton", "source_npi", "dest_ton", "dest_npi"):
            number = getattr(self, name)
            if number is not None and not 0 <= number <= 255:
                raise ConfigurationError(f"SMPP {name} is {number}.", mend="Give 0 to 255.")
        for name, number, most in (
            ("window", self.window, WIDEST_WINDOW),
            ("binds", self.binds, 64),
            ("max_parts", self.max_parts, MOST_PARTS),
            ("port", self.port, 65535),
        ):
            if not 1 <= number <= most:
                raise ConfigurationError(f"SMPP {name} is {number}.", mend=f"Give 1 to {most}.")
        if self.rate is not None and self.rate <= 0:
            raise ConfigurationError(
                f"SMPP rate is {self.rate}.", mend="Give messages a second, or leave it out."
            )

    @property
    def server(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def bind_name(self) -> str:
        """``host:port/system_id``: receipts come back to any bind of this name."""
        return f"{self.server}/{self.system_id}"


def _check_text(name: str, value: str, most: int) -> None:
    if not value.isascii() or not (value.isprintable() or not value):
        raise ConfigurationError(
            f"SMPP {name} has characters that SMPP cannot carry.", mend="Use printable ASCII."
        )
    if len(value) > most:
        raise ConfigurationError(
            f"SMPP {name} is {len(value)} characters long; SMPP 3.4 allows {most}.",
            mend="Ask the provider for one that fits; it is never cut to size.",
        )
