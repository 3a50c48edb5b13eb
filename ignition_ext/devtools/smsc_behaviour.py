"""How the simulated SMSC treats a message: as told, or by a marker in the recipient's number.

Country code 999 is reserved and belongs to nobody, so that no real recipient has a marker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MARKER_PREFIX = "999"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What is done with one submit_sm; the defaults are those of a good SMSC.

    Attributes:
        status: command_status of the response; a message that is refused is not stored.
        refuse_times: refuse so often per recipient with ``refuse_status``, then accept.
        response_delay: seconds until the response.
        respond: False to store the message and never answer.
        drop: end the connection ``before`` or ``after`` the message is stored, unanswered.
        split_response: seconds between the first half of the response and the second.
        unbind: send an unbind after the response.
        receipt: the receipt's ``stat``, empty for no receipt.
        receipt_first: send the receipt before the response.
        receipt_copies: how often the receipt is sent.
        receipt_form: as text in deliver_sm, as TLVs alone, or in a data_sm.
        intermediate: an ENROUTE receipt comes first.
        ids: ``hex_response``: hexadecimal in the response, decimal in the receipt;
            ``hex_receipt``: the reverse.
    """

    status: int = 0
    refuse_times: int = 0
    refuse_status: int = 0x58
    response_delay: float = 0
    respond: bool = True
    drop: Literal["", "before", "after"] = ""
    split_response: float | None = None
    unbind: bool = False
    receipt: str = "DELIVRD"
    receipt_first: bool = False
    receipt_copies: int = 1
    receipt_form: Literal["text", "tlv", "data_sm"] = "text"
    intermediate: bool = False
    ids: Literal["same", "hex_response", "hex_receipt"] = "same"


GOOD = Behaviour()

MARKERS: Mapping[str, Behaviour] = {
    "101": Behaviour(receipt="UNDELIV"),
    "102": Behaviour(receipt="EXPIRED"),
    "103": Behaviour(receipt="REJECTD"),
    "104": Behaviour(receipt=""),
    "105": Behaviour(receipt_first=True),
    "106": Behaviour(receipt_copies=2),
    "107": Behaviour(ids="hex_response"),
    "108": Behaviour(ids="hex_receipt"),
    "109": Behaviour(receipt_form="data_sm"),
    "110": Behaviour(receipt_form="tlv"),
    "111": Behaviour(intermediate=True),
    "201": Behaviour(status=0x0B),
    "202": Behaviour(status=0x08),
    "203": Behaviour(status=0x0A),
    "204": Behaviour(refuse_times=1, refuse_status=0x58),
    "205": Behaviour(refuse_times=1, refuse_status=0x14),
    "301": Behaviour(respond=False),
    "302": Behaviour(drop="before"),
    "303": Behaviour(drop="after"),
    "304": Behaviour(split_response=0.2),
    "305": Behaviour(unbind=True),
    "306": Behaviour(response_delay=0.2),
}
"""What follows the prefix: ``999101…`` is not delivered, ``999303…`` loses the link."""


def by_marker(destination: str) -> Behaviour:
    """The behaviour that a number asks for."""
    if not destination.startswith(MARKER_PREFIX):
        return GOOD
    return MARKERS.get(destination[3:6], GOOD)
