"""Webhooks' secrets in the database: encrypted, since a signature needs the secret itself.

The key is derived from the one that all nodes sign links with (``IGNITION_SIGNING_KEY``): who has
the database alone can read no secret. It is AES-256-GCM with a random nonce, bound to its endpoint.
"""

from __future__ import annotations

import base64
from os import urandom
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ignition_ext.errors import ConfigurationError
from ignition_ext.settings import Settings
from ignition_ext.signing import Signer

PURPOSE = "secrets of webhooks"
NONCE_BYTES = 12
"""NIST SP 800-38D: with so few secrets a key, random ones do not meet."""


def seal(secret: str, endpoint_id: UUID, settings: Settings | None = None) -> str:
    """The secret as it is stored.

    Raises:
        ConfigurationError: there is no usable key.
    """
    nonce = urandom(NONCE_BYTES)
    sealed = AESGCM(_keys(settings)[0]).encrypt(nonce, secret.encode(), endpoint_id.bytes)
    return base64.b64encode(nonce + sealed).decode()


def unseal(stored: str, endpoint_id: UUID, settings: Settings | None = None) -> str:
    """The secret itself, also where it was sealed with an earlier key.

    Raises:
        ConfigurationError: none of this node's keys fits.
    """
    raw = base64.b64decode(stored)
    for key in _keys(settings):
        try:
            return (
                AESGCM(key)
                .decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], endpoint_id.bytes)
                .decode()
            )
        except InvalidTag:
            continue
    raise ConfigurationError(
        f"the secret of the webhook {endpoint_id} cannot be read with this node's signing key.",
        mend="Set IGNITION_SIGNING_KEY to the key of the other nodes, with earlier ones in"
        f" IGNITION_SIGNING_KEYS_OLD; or make a new secret: ignition webhook rotate {endpoint_id}",
    )


def _keys(settings: Settings | None) -> tuple[bytes, ...]:
    return Signer.of(PURPOSE, settings).long_keys
