"""Cuts a byte stream into PDUs by ``command_length`` (SMPP 3.4 section 3.2)."""

from __future__ import annotations

HEADER_OCTETS = 16

LONGEST_PDU = 70_000
"""The largest PDU of SMPP 3.4 is a data_sm with 64 KiB of message_payload and its other fields.
A longer one is garbage or an attack: waiting for it would wait for up to 4 GiB."""


class FramingError(ValueError):
    """The stream is not SMPP, or not any more; nothing after this can be trusted."""


class Framer:
    """Collects octets and gives back whole PDUs; however they are chunked, nothing is lost."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Octets of a PDU that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets, return the PDUs that they completed.

        Raises:
            FramingError: a length below 16 or above the cap.
        """
        held = self._held
        held += data
        pdus: list[bytes] = []
        start, end = 0, len(held)
        while end - start >= 4:
            length = int.from_bytes(held[start : start + 4], "big")
            if not HEADER_OCTETS <= length <= LONGEST_PDU:
                raise FramingError(
                    f"A PDU says it is {length} octets long; "
                    f"{HEADER_OCTETS} to {LONGEST_PDU} are possible."
                )
            if end - start < length:
                break
            pdus.append(bytes(held[start : start + length]))
            start += length
        del held[:start]
        return pdus
