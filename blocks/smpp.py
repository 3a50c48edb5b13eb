"""The SMSC account that an SMS campaign sends through, as an operator fills it in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from ignition_ext.channels.smpp import (
    Alphabet,
    BindType,
    ReceiptIdFormat,
    SmppOptions,
    SmppTransport,
    SmscOffer,
)
from ignition_ext.channels.smpp.desk import Inbox, Store
from ignition_ext.channels.smpp.slot import Slot, no_limit
from ignition_ext.errors import ConfigurationError

_BIND_WORDS = {"trx": "transceiver", "tx": "transmitter", "rx": "receiver"}


class SmppGateway(Block):
    """
    An account at an SMSC to send SMS campaigns through, over SMPP 3.4.

    Attributes:
        host: Name or address of the SMSC.
        port: TCP port.
        tls: Whether the connection is encrypted and the certificate checked.
        ca_file: Certificate authority of a private SMSC.
        system_id: Account name.
        password: Password of the account.
        system_type: Kind of system, where the provider asks for it.
        bind: "transceiver", "transmitter" or "receiver".
        window: Unanswered messages a bind.
        rate: Messages a second a bind.
        binds: Sessions side by side.
        default_alphabet: What the SMSC takes besides UCS-2.
        source_ton: Type of number of the sender.
        source_npi: Numbering plan of the sender.
        dest_ton: Type of number of the recipient.
        dest_npi: Numbering plan of the recipient.
        receipt_id_format: How receipts write message ids.
        text_id_tlv: In which TLV the SMSC numbers texts from handsets.
        response_timeout: Seconds to wait for an answer.
        enquire_link: Seconds of silence after which the link is probed.
        max_parts: Most parts that one text may need.
        replace_typography: Whether typographic characters become plain ones.

    Example:
        Load a stored gateway and ask it what it offers, without sending:
        ```python
        from blocks import SmppGateway

        gateway = SmppGateway.load("BLOCK_NAME")
        print(await gateway.check())
        ```
    """

    _block_type_name = "Ignition SMPP Gateway"
    _block_type_slug = "ignition-smpp-gateway"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    # Pydantic's messages quote what was given, and that holds the password.
    model_config = ConfigDict(hide_input_in_errors=True)

    host: str = Field(
        min_length=1,
        title="Host",
        description="Name or address of the SMSC, such as smpp.example.com or [2001:db8::1].",
    )
    port: int = Field(
        default=2775,
        ge=1,
        le=65535,
        title="Port",
        description="TCP port; 2775 is usual without TLS, 3550 with it.",
    )
    tls: bool = Field(
        default=False,
        title="TLS",
        description="Encrypt the connection from the first byte and check that the certificate"
        " is trusted and made out for this host. Without it, texts, numbers and the password"
        " can be read on the way.",
    )
    ca_file: str | None = Field(
        default=None,
        title="CA file",
        description="Path, on the node that sends, of a PEM file with the SMSC's own certificate"
        " authority. When empty the system's authorities are trusted.",
    )
    system_id: str = Field(
        title="System id",
        description="Account name, at most 15 characters.",
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        title="Password",
        description="Password of the account, at most 8 characters as SMPP 3.4 allows. A longer"
        " one is refused and never cut; a wrong one is tried once, so that the account is not"
        " locked.",
    )
    system_type: str = Field(
        default="",
        title="System type",
        description="Kind of system, at most 12 characters. Leave it empty unless the provider"
        " names one.",
    )
    bind: Literal["transceiver", "transmitter", "receiver"] = Field(
        default="transceiver",
        title="Bind",
        description="transceiver sends and hears receipts, transmitter only sends, receiver only"
        " hears and cannot be used by a campaign.",
    )
    window: int = Field(
        default=50,
        ge=1,
        le=10_000,
        title="Window",
        description="Unanswered messages that one bind may have, 1 to 10000. Many providers allow"
        " 10. After a crash at most this many a bind are uncertain.",
    )
    rate: float | None = Field(
        default=None,
        gt=0,
        title="Rate",
        description="Messages a second that one bind sends at most, counted as the provider does:"
        " each part of a long text is one. When empty only the window and the SMSC's answers"
        " set the pace.",
    )
    binds: int = Field(
        default=1,
        ge=1,
        le=64,
        title="Binds",
        description="Sessions that one sender keeps open side by side. Most providers allow 2 to"
        " 4 for an account, over all senders.",
    )
    default_alphabet: Literal[
        "gsm7",
        "latin1",
        "latin1-default",
        "ucs2",
        "gsm7-turkish",
        "gsm7-turkish-locking",
        "gsm7-spanish",
        "gsm7-portuguese",
        "gsm7-portuguese-locking",
    ] = Field(
        default="gsm7",
        title="Default alphabet",
        description="What the SMSC takes besides UCS-2: gsm7 nearly everywhere; latin1 says so"
        " in data_coding 3, latin1-default in data_coding 0; the national ones spare Turkish,"
        " Spanish and Portuguese texts UCS-2 and need a provider that supports shift tables.",
    )
    source_ton: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="Source TON",
        description="Type of number of the sender. When empty by the rules: 5 for letters, 1 for"
        " international numbers, 3 for short codes.",
    )
    source_npi: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="Source NPI",
        description="Numbering plan of the sender. When empty by the rules: 1 for international"
        " numbers, else 0.",
    )
    dest_ton: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="Destination TON",
        description="Type of number of recipients. When empty by the rules: 1 for international"
        " numbers, 3 for short codes.",
    )
    dest_npi: int | None = Field(
        default=None,
        ge=0,
        le=255,
        title="Destination NPI",
        description="Numbering plan of recipients. When empty by the rules: 1 for international"
        " numbers, 0 for short codes.",
    )
    receipt_id_format: Literal["auto", "same", "hex_to_dec", "dec_to_hex"] = Field(
        default="auto",
        title="Receipt id format",
        description="How a receipt writes the id that the SMSC answered with: same, hex_to_dec"
        " when the answer is hexadecimal and the receipt decimal, dec_to_hex the other way round,"
        " auto tries all.",
    )
    text_id_tlv: str | None = Field(
        default=None,
        title="TLV of texts' ids",
        description="The TLV in which the provider numbers texts from handsets, such as 0x1502 (see"
        " its SMPP guide), so that one brought twice is known from the same words said twice. Empty"
        " where it does not.",
    )
    response_timeout: float = Field(
        default=30,
        gt=0,
        title="Response timeout",
        description="Seconds to wait for the answer to a message. One that is not answered in"
        " time counts as uncertain.",
    )
    enquire_link: float = Field(
        default=30,
        gt=0,
        title="Enquire link",
        description="Seconds of silence after which the SMSC is asked whether it is still there."
        " No answer ends the link, and a new one is made.",
    )
    max_parts: int = Field(
        default=10,
        ge=1,
        le=255,
        title="Most parts",
        description="Parts that one text may need, 1 to 255; each is paid for. A longer text is"
        " not sent and its message fails.",
    )
    replace_typography: bool = Field(
        default=False,
        title="Replace typography",
        description="Write quotation marks, dashes and such with plain look-alikes when the whole"
        " text then fits the GSM alphabet, which more than doubles what one part holds. Switched"
        " off, what arrives is exactly what was rendered.",
    )

    @field_validator("bind", mode="before")
    @classmethod
    def _friendly_bind(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        word = value.strip().lower()
        return _BIND_WORDS.get(word, word)

    @field_validator("text_id_tlv")
    @classmethod
    def _is_a_tag(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        try:
            tag = int(value.strip(), 0)
        except ValueError:
            tag = -1
        if not 0 <= tag <= 0xFFFF:
            raise ValueError(f"{value!r} is no tag of a TLV; write it as 0x1502")
        return f"0x{tag:04X}"

    @field_validator("host", mode="before")
    @classmethod
    def _bare_host(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        value = value.strip()
        if not value.isprintable() or any(mark in value for mark in "/@ "):
            raise ValueError(f"{value!r} is not a host name; write smpp.example.com, without more")
        return value

    @model_validator(mode="after")
    def _fits_smpp(self) -> Self:
        try:
            self.options()
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def bind_name(self) -> str:
        """``host:port/system_id``: what parts and receipts are filed under."""
        return self.options().bind_name

    def options(self, *, drain_seconds: float = 20) -> SmppOptions:
        """The block's fields."""
        return SmppOptions(
            host=self.host,
            port=self.port,
            tls=self.tls,
            ca_file=self.ca_file or None,
            system_id=self.system_id,
            password=self.password.get_secret_value(),
            system_type=self.system_type,
            bind=BindType(self.bind),
            window=self.window,
            rate=self.rate,
            binds=self.binds,
            default_alphabet=Alphabet(self.default_alphabet),
            source_ton=self.source_ton,
            source_npi=self.source_npi,
            dest_ton=self.dest_ton,
            dest_npi=self.dest_npi,
            receipt_id_format=ReceiptIdFormat(self.receipt_id_format),
            text_id_tlv=int(self.text_id_tlv, 0) if self.text_id_tlv else None,
            response_timeout=self.response_timeout,
            enquire_link=self.enquire_link,
            max_parts=self.max_parts,
            replace_typography=self.replace_typography,
            drain_timeout=drain_seconds,
        )

    def transport(
        self,
        *,
        drain_seconds: float = 20,
        on_receipts: Store | None = None,
        receipt_linger: float = 0,
        slot: Slot = no_limit,
        senders: int = 1,
        on_incoming: Inbox | None = None,
    ) -> SmppTransport:
        """What sends through this gateway; opens no connection yet.

        Args:
            drain_seconds: how long answers are awaited after a stop.
            on_receipts: stores receipts; they are acknowledged when it returned.
            receipt_linger: seconds to stay bound for receipts after the last one that came.
            slot: entered around each bind, where binds are counted.
            senders: how many share the block's binds; each opens no more than its part, rounded
                up, so that none has to wait for another to end.
            on_incoming: where texts from handsets go; acknowledged when they are stored.
        """
        options = self.options(drain_seconds=drain_seconds)
        options = replace(options, binds=-(-options.binds // senders))
        return SmppTransport(options, on_receipts, receipt_linger, slot, on_incoming)

    async def check(self) -> SmscOffer:
        """Bind and unbind without sending.

        Returns:
            The SMSC's own name, its interface version, the bind and TLS version.

        Raises:
            ChannelError: what went wrong, where, and the mend.
        """
        return await self.transport().check()
