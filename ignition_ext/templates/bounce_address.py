"""Variable envelope return paths: the address that says by itself which message came back.

``bounces@mail.example.com`` becomes ``bounces+<token>@mail.example.com``. The token is the
message's id, signed: nobody can make one up to have an address of somebody else's suppressed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ignition_ext.errors import ConfigurationError
from ignition_ext.signing import SHORT_CODE_BYTES, Signer
from ignition_ext.values import MessageId

PURPOSE = "bounce"
ID_BYTES = 16
TOKEN_LENGTH = -(-(SHORT_CODE_BYTES + ID_BYTES) * 8 // 5)
"""Characters of the token: 26 bytes in base32 without padding."""
LOCAL_LENGTH = 64
"""Octets that a local part may have (RFC 5321 section 4.5.3.1.1)."""


@dataclass(frozen=True, slots=True)
class BounceAddress:
    """Makes the envelope sender of each message."""

    local: str
    domain: str
    signer: Signer

    @classmethod
    def of(cls, address: str) -> BounceAddress:
        """From the address that mails come back to.

        Raises:
            ConfigurationError: it leaves no room for a token, or there is no key to sign with.
        """
        local, _, domain = address.rpartition("@")
        if not local or not domain or len(local) + 1 + TOKEN_LENGTH > LOCAL_LENGTH:
            raise ConfigurationError(
                f"{address!r} cannot be the address of bounces.",
                mend=f"Use one with at most {LOCAL_LENGTH - 1 - TOKEN_LENGTH} characters before"
                " the @, such as bounces@mail.example.com.",
            )
        return cls(local, domain, Signer.of(PURPOSE))

    def sender(self, key: MessageId) -> str:
        """The envelope sender of a message."""
        return f"{self.local}+{self.signer.short_token(key.bytes)}@{self.domain}"
