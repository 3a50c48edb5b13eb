"""Standard Webhooks: secrets, and the headers by which a receiver knows that a body is ours."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from secrets import token_bytes
from uuid import UUID

PREFIX = "whsec_"
ID_PREFIX = "msg_"
SECRET_BYTES = 32
"""Standard Webhooks wants 24 to 64; this is what SHA-256 can use."""


def new_secret() -> str:
    """A secret as receivers' libraries take it: ``whsec_`` and base64."""
    return PREFIX + base64.b64encode(token_bytes(SECRET_BYTES)).decode()


def webhook_id(delivery_id: UUID) -> str:
    """The same at each attempt: by it a receiver knows what it had already."""
    return f"{ID_PREFIX}{delivery_id.hex}"


def delivery_key(written: str) -> UUID:
    """The delivery that a webhook-id names; a bare key will do.

    Raises:
        ValueError: it is none.
    """
    return UUID(written.strip().removeprefix(ID_PREFIX))


def headers(
    *, delivery_id: UUID, at: datetime, content: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """The headers of one attempt, signed with each of the secrets.

    Args:
        delivery_id: the delivery's.
        at: when it is sent; receivers refuse what is minutes old.
        content: the body, byte by byte.
        secrets: the one in force, and while it is being replaced the one before.
    """
    key, seconds = webhook_id(delivery_id), str(int(at.timestamp()))
    signed = b".".join((key.encode(), seconds.encode(), content))
    return {
        "webhook-id": key,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, sha256)).decode()}"
