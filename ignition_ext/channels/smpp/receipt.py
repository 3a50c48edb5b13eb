"""Delivery receipts (SMPP 3.4 appendix B and section 5.3.2): lenient, because SMSCs are.

::

    id:0123456789 sub:001 dlvrd:001 submit date:2611211200 done date:2611211201
    stat:DELIVRD err:000 text:Hello

Order, case and presence of the fields vary; what stands after ``text:`` is the user's and says
nothing. The TLVs receipted_message_id (0x001E) and message_state (0x0427) win over the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ignition_ext.channels.smpp.codec import (
    TLV_MESSAGE_STATE,
    TLV_NETWORK_ERROR_CODE,
    TLV_RECEIPTED_MESSAGE_ID,
    Deliver,
)
from ignition_ext.channels.smpp.encoding import Alphabet, decode
from ignition_ext.channels.smpp.options import ReceiptIdFormat
from ignition_ext.values import MessageState

_TYPE_MASK = 0x3C
_RECEIPT_TYPES = frozenset({0x04, 0x20})
"""esm_class bits 5 to 2: SMSC delivery receipt, intermediate notification (section 5.2.12)."""

_UDH_INDICATOR = 0x40
_LONGEST_RAW = 1000

_TEXT = re.compile(r"\btext\s*:", re.IGNORECASE)
_FIELD = re.compile(r"\b(id|stat|err)\s*:\s*(\S+)", re.IGNORECASE)

_NAMES = {
    0: "SCHEDULED",
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
    9: "SKIPPED",
}
"""message_state, section 5.2.28; 0 and 9 are from SMPP 5."""

_STATES: Mapping[str, MessageState] = {
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.FAILED,
    "UNDELIV": MessageState.FAILED,
    "REJECTD": MessageState.FAILED,
    "SKIPPED": MessageState.FAILED,
}
_FOUND_IN_THE_WILD = {
    "DELIVERED": "DELIVRD",
    "UNDELIVERABLE": "UNDELIV",
    "UNDELIVERED": "UNDELIV",
    "FAILED": "UNDELIV",
    "REJECTED": "REJECTD",
    "ACCEPTED": "ACCEPTD",
}
_LAST_WORDS = frozenset({*_STATES, "UNKNOWN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SmppReceipt:
    """A receipt, decoded; the fields are those that the ledger stores.

    Attributes:
        bind: ``host:port/system_id`` it came to.
        provider_id: the message's id as the receipt writes it, verbatim.
        state: delivered, failed or expired; None for one that decides nothing.
        status: ``DELIVRD``, ``UNDELIV`` …
        code: the receipt's ``err``, or network_error_code in hex.
        destination: the handset, with ``+`` where the SMSC calls it international.
        raw: the text as it came.
        id_format: how the bind's receipts write ids.
        final: whether another receipt for the part is to be expected.
    """

    bind: str
    provider_id: str
    state: MessageState | None
    status: str
    code: str
    destination: str
    raw: str
    id_format: str = ReceiptIdFormat.AUTO
    final: bool = True


def is_receipt(deliver: Deliver) -> bool:
    """Whether a deliver_sm or data_sm is a receipt and not a message from a handset.

    The text alone never makes one: anybody can send ``stat:DELIVRD`` by SMS. Nor does
    receipted_message_id alone: some SMSCs number handsets' messages with it.
    """
    if deliver.esm_class & _TYPE_MASK in _RECEIPT_TYPES:
        return True
    if TLV_RECEIPTED_MESSAGE_ID not in deliver.tlvs:
        return False
    return TLV_MESSAGE_STATE in deliver.tlvs or "stat" in parse_text(
        deliver.message.decode("latin-1")
    )


def read_receipt(
    deliver: Deliver,
    *,
    bind: str,
    alphabet: Alphabet = Alphabet.GSM7,
    id_format: ReceiptIdFormat = ReceiptIdFormat.AUTO,
) -> SmppReceipt:
    """The receipt in a deliver_sm or data_sm; fields that it lacks are empty."""
    octets = deliver.message
    if deliver.esm_class & _UDH_INDICATOR and octets:
        octets = octets[1 + octets[0] :]
    raw = decode(octets, deliver.data_coding, alphabet)
    fields = parse_text(raw)
    status = _state_of(deliver.tlvs.get(TLV_MESSAGE_STATE, b"")) or fields.get("stat", "").upper()
    status = _FOUND_IN_THE_WILD.get(status, status)
    source = deliver.source
    return SmppReceipt(
        bind=bind,
        provider_id=_id_of(deliver.tlvs) or fields.get("id", ""),
        state=_STATES.get(status),
        status=status[:20],
        code=(fields.get("err") or deliver.tlvs.get(TLV_NETWORK_ERROR_CODE, b"").hex())[:20],
        destination=f"+{source.text}"
        if source.ton == 1 and source.text[:1] != "+"
        else source.text,
        raw=raw[:_LONGEST_RAW],
        id_format=id_format,
        final=status in _LAST_WORDS,
    )


def parse_text(raw: str) -> dict[str, str]:
    """``id``, ``stat`` and ``err`` of a receipt's text, as far as it has them."""
    told = _TEXT.split(raw, maxsplit=1)[0]
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(told):
        fields.setdefault(name.lower(), value)
    return fields


def _state_of(value: bytes) -> str:
    return _NAMES.get(value[0], "") if value else ""


def _id_of(tlvs: Mapping[int, bytes]) -> str:
    value = tlvs.get(TLV_RECEIPTED_MESSAGE_ID, b"")
    return value.rstrip(b"\0").decode("latin-1")


def receipt_ids(provider_id: str, id_format: ReceiptIdFormat) -> frozenset[str]:
    """The ids that a receipt may bear for what submit_sm_resp called ``provider_id``."""
    match id_format:
        case ReceiptIdFormat.SAME:
            return frozenset({provider_id})
        case ReceiptIdFormat.HEX_TO_DEC:
            return frozenset({_number(provider_id, 16, "d")})
        case ReceiptIdFormat.DEC_TO_HEX:
            return frozenset({_number(provider_id, 10, "x")})
        case ReceiptIdFormat.AUTO:
            plain = comparable(provider_id)
            return frozenset({plain, _number(plain, 16, "d"), _number(plain, 10, "x")})


def comparable(provider_id: str) -> str:
    """An id without what SMSCs change of their own accord: case and leading zeros."""
    return provider_id.strip().casefold().lstrip("0") or "0"


def _number(text: str, base: int, form: str) -> str:
    try:
        return format(int(text, base), form)
    except ValueError:
        return text
