"""What our links say, as the bytes that get sealed.

A link must work years later, also when the run and its rows are long gone. So it says itself whom
it is about, and the tables are not asked: tenant, message, and for unsubscribing the address. All
of it is encrypted (:meth:`~ignition_ext.signing.Signer.sealed`).

::

    version 1 | channel or flags 1 | message id 16 | tenant id 4 | address or URL, UTF-8
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from uuid import UUID

from ignition_ext.errors import TokenError
from ignition_ext.values import Channel

PEOPLE, CLICKS, OPENS = "recipient", "click", "open"
"""Purposes of tokens: a pixel's token unsubscribes nobody."""

_HEAD = Struct("!BB16sI")
_VERSION = 1
_CHANNELS = (Channel.EMAIL, Channel.SMS)
_PERSONAL = 1
"""Flag: the target was made of the recipient's own values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Whom a link to unsubscribe is about.

    Attributes:
        message_id: of the message that carried it.
    """

    tenant_id: int
    message_id: UUID
    channel: Channel
    address: str

    def to_bytes(self) -> bytes:
        """As :meth:`from_bytes` reads it."""
        head = _HEAD.pack(
            _VERSION, _CHANNELS.index(self.channel), self.message_id.bytes, self.tenant_id
        )
        return head + self.address.encode()

    @classmethod
    def from_bytes(cls, octets: bytes) -> Addressee:
        """What a token says.

        Raises:
            TokenError: a later release made it.
        """
        which, message_id, tenant_id, text = _read(octets)
        if which >= len(_CHANNELS) or not text:
            raise _unknown()
        return cls(
            tenant_id=tenant_id, message_id=message_id, channel=_CHANNELS[which], address=text
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedMessage:
    """Which message was opened."""

    tenant_id: int
    message_id: UUID

    def to_bytes(self) -> bytes:
        """As :meth:`from_bytes` reads it."""
        return _HEAD.pack(_VERSION, 0, self.message_id.bytes, self.tenant_id)

    @classmethod
    def from_bytes(cls, octets: bytes) -> TrackedMessage:
        """What a token says.

        Raises:
            TokenError: a later release made it.
        """
        _, message_id, tenant_id, _ = _read(octets)
        return cls(tenant_id=tenant_id, message_id=message_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedTarget:
    """Which message's link was followed, and where it leads.

    Attributes:
        is_personal: the URL was made of the recipient's own values, so it is not kept whole.
    """

    tenant_id: int
    message_id: UUID
    url: str
    is_personal: bool = False

    def to_bytes(self) -> bytes:
        """As :meth:`from_bytes` reads it."""
        flags = _PERSONAL if self.is_personal else 0
        head = _HEAD.pack(_VERSION, flags, self.message_id.bytes, self.tenant_id)
        return head + self.url.encode()

    @classmethod
    def from_bytes(cls, octets: bytes) -> TrackedTarget:
        """What a token says.

        Raises:
            TokenError: a later release made it.
        """
        flags, message_id, tenant_id, url = _read(octets)
        if not url:
            raise _unknown()
        return cls(
            tenant_id=tenant_id,
            message_id=message_id,
            url=url,
            is_personal=bool(flags & _PERSONAL),
        )


def _read(octets: bytes) -> tuple[int, UUID, int, str]:
    if len(octets) < _HEAD.size or octets[0] != _VERSION:
        raise _unknown()
    _, second, message_id, tenant_id = _HEAD.unpack_from(octets)
    try:
        text = octets[_HEAD.size :].decode()
    except UnicodeDecodeError as error:
        raise _unknown() from error
    return second, UUID(bytes=message_id), tenant_id, text


def _unknown() -> TokenError:
    return TokenError("this link was made by another release.")
