"""SMS by SMPP 3.4: segmenting, binds with windows, receipts."""

from ignition_ext.channels.smpp.connect import SmscOffer
from ignition_ext.channels.smpp.encoding import Alphabet
from ignition_ext.channels.smpp.message import SmsEnvelope
from ignition_ext.channels.smpp.options import BindType, ReceiptIdFormat, SmppOptions
from ignition_ext.channels.smpp.receipt import SmppReceipt
from ignition_ext.channels.smpp.segment import Segmented, TextRefused, segment
from ignition_ext.channels.smpp.transport import SmppTransport

__all__ = [
    "Alphabet",
    "BindType",
    "ReceiptIdFormat",
    "Segmented",
    "SmppOptions",
    "SmppReceipt",
    "SmppTransport",
    "SmsEnvelope",
    "SmscOffer",
    "TextRefused",
    "segment",
]
