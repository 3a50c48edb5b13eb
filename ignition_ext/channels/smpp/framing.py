"""Cuts a byte stream into PDUs by ``command_length`` (SMPP 3.4 section 3.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

HEADER_OCTETS = 16
_LENGTH = struct.Struct(">L")

LONGEST_PDU = 70_000
"""The largest PDU of SMPP 3.4 is a data_sm with 64 KiB of message_payload and its other fields.
A longer one is garbage or an attack: waiting for it would wait for up to 4 GiB."""


class FramingError(ValueError):
    """The stream is not SMPP, or not any more; nothing after this can be trusted.

    Attributes:
        pdus: the whole ones before it.
    """

    def __init__(self, message: str, pdus: Sequence[bytes]) -> None:
        self.pdus = pdus
        super().__init__(message)


class Framer:
    """Collects octets and gives back whole PDUs; however they are chunked, nothing is lost."""

    __slots__ = ("_held", "_wanted")

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = _LENGTH.size

    @property
    def held(self) -> int:
        """Octets of a PDU that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets, return the PDUs that they completed.

        Raises:
            FramingError: a length below 16 or above the cap.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return []
            data = bytes(self._held)
            self._held.clear()
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        pdus: list[bytes] = []
        start, end = 0, len(data)
        self._wanted = _LENGTH.size
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if not HEADER_OCTETS <= length <= LONGEST_PDU:
                raise FramingError(
                    f"A PDU says it is {length} octets long; "
                    f"{HEADER_OCTETS} to {LONGEST_PDU} are possible.",
                    pdus,
                )
            stop = start + length
            if stop > end:
                self._wanted = length
                break
            pdus.append(data[start:stop])
            start = stop
        if start < end:
            self._held += data[start:]
        return pdus
