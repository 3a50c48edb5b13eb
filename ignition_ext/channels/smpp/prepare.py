"""From an envelope to the submit_sm of its parts, all but their headers."""

from __future__ import annotations

from collections import OrderedDict
from secrets import randbelow

from ignition_ext.channels.smpp.addresses import (
    AddressRefused,
    destination_address,
    source_address,
)
from ignition_ext.channels.smpp.codec import FieldRefused, Submit
from ignition_ext.channels.smpp.message import SmsEnvelope
from ignition_ext.channels.smpp.options import SmppOptions
from ignition_ext.channels.smpp.packed import submit_body
from ignition_ext.channels.smpp.segment import TextRefused, segment
from ignition_ext.values import FailureClass, Outcome, OutcomeKind

_UDH_INDICATOR = 0x40
_NO_RECEIPT, _FINAL_RECEIPT = 0, 1

_REMEMBERED = 10_000
"""Recipients whose last reference is kept; about 1 MB. One that fell out starts anew at random."""


class References:
    """A counter for each recipient: two long messages to one handset never share a reference.

    Random ones would: among twenty long messages to one number, two share an octet with a
    probability of one half.
    """

    def __init__(self, *, wide: bool) -> None:
        self._modulus = 0x10000 if wide else 0x100
        self._salt = randbelow(0x10000)
        self._last: OrderedDict[str, int] = OrderedDict()

    def take(self, destination: str) -> int:
        """The next reference for a recipient."""
        last = self._last.pop(destination, None)
        # Where a recipient begins must differ between processes and recipients, no more.
        number = (hash(destination) ^ self._salt if last is None else last + 1) % self._modulus
        self._last[destination] = number
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return number


def prepare(
    envelope: SmsEnvelope, options: SmppOptions, references: References
) -> tuple[bytes, ...] | Outcome:
    """The submit_sm bodies of the parts to write, or why there are none."""
    try:
        source = source_address(envelope.source, options.source_ton, options.source_npi)
    except AddressRefused as error:
        return _refused(FailureClass.SENDER, error)
    try:
        destination = destination_address(envelope.destination, options.dest_ton, options.dest_npi)
    except AddressRefused as error:
        return _refused(FailureClass.ADDRESS, error)
    try:
        if not envelope.text:
            raise TextRefused("The text is empty.")
        segmented = segment(
            envelope.text,
            alphabet=options.default_alphabet,
            reference=references.take(destination.text),
            wide_reference=options.wide_reference,
            max_parts=options.max_parts,
            replace_typography=options.replace_typography,
        )
        wanted = _FINAL_RECEIPT if envelope.wants_receipt else _NO_RECEIPT
        return tuple(
            [
                submit_body(
                    Submit(
                        source=source,
                        destination=destination,
                        short_message=part,
                        data_coding=segmented.data_coding,
                        esm_class=_UDH_INDICATOR if segmented.has_header else 0,
                        registered_delivery=wanted,
                    )
                )
                for part in segmented.parts
            ]
        )
    except (TextRefused, FieldRefused) as error:
        return _refused(FailureClass.CONTENT, error)


def _refused(failure_class: FailureClass, error: Exception) -> Outcome:
    return Outcome(kind=OutcomeKind.REJECTED, text=str(error), failure_class=failure_class)
