"""Signed tokens: what we hand out in links and return addresses, and trust when it comes back.

A token is its payload with a message authentication code (HMAC-SHA256, RFC 2104) before it. The
payload can be read by anyone who has the token, unless it is sealed; it cannot be changed or made
without the key. Each purpose has a key of its own, derived from the one secret, so
that a token for one thing is worth nothing for another. Tokens have no end of their own.

======== ======================= ================ ================================================
form     alphabet                code             where
======== ======================= ================ ================================================
long     base64url, no padding   16 of 32 bytes   links
short    base32, lower case      10 of 32 bytes   local parts of addresses, whose case gets lost
sealed   base64url, no padding   16 bytes         links whose payload nobody may read
lowered  base32, lower case      16 bytes         the same in subjects, which programs rewrite
======== ======================= ================ ================================================

A sealed token is encrypted besides (AES-SIV, RFC 5297, which needs no random number and whose code
authenticates): its payload may hold an address.

Sixteen bytes are RFC 2104's least (half of the hash). Ten leave 2^80 tries, each of them a message
to us, for what fits into the 64 octets of a local part (RFC 5321, 4.5.3.1.1).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, sha512
from pathlib import Path
from secrets import token_urlsafe

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from pydantic import SecretStr

from ignition_ext.errors import ConfigurationError, TokenError
from ignition_ext.key_file import make_key_file
from ignition_ext.settings import Settings, prefect_home

__all__ = [
    "Signer",
    "TokenError",
    "lowered",
    "read_short_token",
    "read_token",
    "short_token",
    "token",
]

KEY_FILE_NAME = "ignition-signing-key"

KEY_LENGTH = 32
"""Characters that a key has at least: fewer are a password, and a password can be guessed offline
by whoever holds one token."""

CODE_BYTES = 16
SHORT_CODE_BYTES = 10

TOKEN_LIMIT = 8192
"""Characters that a token may have: more than any link of ours, and small enough to decode without
a thought when strangers send it."""

_LONG = b"ignition token 1\0"
_SHORT = b"ignition short token 1\0"
_SEALED = b"ignition sealed token 1\0"
_MEND = (
    "Set IGNITION_SIGNING_KEY to the same secret on all nodes (`openssl rand -base64 32` makes one)"
    ", or make the folder of the key file writable."
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and reads tokens of one purpose with keys that were derived once.

    For many tokens, make one with :meth:`of`; :func:`token` and the others read the key each time.
    """

    long_keys: tuple[bytes, ...]
    short_keys: tuple[bytes, ...]
    sealing_keys: tuple[bytes, ...]

    @classmethod
    def of(cls, purpose: str, settings: Settings | None = None) -> Signer:
        """The signer of a purpose with this node's key and the earlier ones.

        Raises:
            ConfigurationError: the key is too short, or its file can neither be read nor made.
        """
        secrets = _secrets(settings or Settings())
        name = purpose.encode()
        return cls(
            tuple(hmac.digest(secret, _LONG + name, sha256) for secret in secrets),
            tuple(hmac.digest(secret, _SHORT + name, sha256) for secret in secrets),
            tuple(hmac.digest(secret, _SEALED + name, sha512) for secret in secrets),
        )

    def token(self, payload: bytes) -> str:
        """The payload as a token for links."""
        code = hmac.digest(self.long_keys[0], payload, sha256)[:CODE_BYTES]
        return _base64(code + payload)

    def short_token(self, payload: bytes) -> str:
        """The payload as a token that survives in lower case; 5 bytes become 8 characters."""
        code = hmac.digest(self.short_keys[0], payload, sha256)[:SHORT_CODE_BYTES]
        return _base32(code + payload)

    def sealed(self, payload: bytes) -> str:
        """The payload as a token for links that shows nothing of it; 16 bytes longer than it is."""
        return _base64(_cipher(self.sealing_keys[0]).encrypt(payload, None))

    def read_token(self, text: str) -> bytes:
        """The payload of a token.

        Raises:
            TokenError: it is not one of ours for this purpose.
        """
        raw = _decoded(text)
        # Base64 can write the same bytes in several ways: only ours is taken.
        if raw is None or _base64(raw) != text:
            raise _refused()
        return _checked(raw, self.long_keys, CODE_BYTES)

    def read_short_token(self, text: str) -> bytes:
        """The payload of a short token, in whatever case it comes back.

        Raises:
            TokenError: it is not one of ours for this purpose.
        """
        raw = _decoded_short(text)
        if raw is None or _base32(raw) != text.translate(_LOWER):
            raise _refused()
        return _checked(raw, self.short_keys, SHORT_CODE_BYTES)

    def opened(self, text: str) -> bytes:
        """The payload of a sealed token.

        Raises:
            TokenError: it is not one of ours for this purpose.
        """
        raw = _decoded(text)
        if raw is None or _base64(raw) != text:
            raise _refused()
        for key in self.sealing_keys:
            with suppress(InvalidTag, ValueError):
                return _cipher(key).decrypt(raw, None)
        raise _refused()

    def opened_lowered(self, text: str) -> bytes:
        """The payload of what :func:`lowered` made, in whatever case it comes back.

        Raises:
            TokenError: it is not one of ours for this purpose.
        """
        raw = _decoded_short(text)
        if raw is None or _base32(raw) != text.translate(_LOWER):
            raise _refused()
        return self.opened(_base64(raw))


def lowered(sealed: str) -> str:
    """A sealed token in letters and digits that survive any case, a fifth longer.

    Args:
        sealed: of :meth:`Signer.sealed`.
    """
    return _base32(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))


def token(purpose: str, payload: bytes, *, settings: Settings | None = None) -> str:
    """The payload, signed for a purpose, in the URL-safe alphabet.

    Raises:
        ConfigurationError: there is no usable key.
    """
    return Signer.of(purpose, settings).token(payload)


def read_token(purpose: str, text: str, *, settings: Settings | None = None) -> bytes:
    """The payload of a token that :func:`token` made for the same purpose.

    Raises:
        TokenError: it is not one of ours, or for another purpose.
        ConfigurationError: there is no usable key.
    """
    return Signer.of(purpose, settings).read_token(text)


def short_token(purpose: str, payload: bytes, *, settings: Settings | None = None) -> str:
    """The payload, signed for a purpose, in lower-case base32: (10 + bytes) * 8 / 5 characters.

    Raises:
        ConfigurationError: there is no usable key.
    """
    return Signer.of(purpose, settings).short_token(payload)


def read_short_token(purpose: str, text: str, *, settings: Settings | None = None) -> bytes:
    """The payload of a token that :func:`short_token` made for the same purpose, in any case.

    Raises:
        TokenError: it is not one of ours, or for another purpose.
        ConfigurationError: there is no usable key.
    """
    return Signer.of(purpose, settings).read_short_token(text)


def key_path() -> Path:
    """Where this node's key is while the setting is empty."""
    return prefect_home() / KEY_FILE_NAME


def _secrets(settings: Settings) -> tuple[bytes, ...]:
    """The key that signs, then the earlier ones."""
    current = _plain(settings.signing_key).strip() or _from_file(key_path())
    earlier = _plain(settings.signing_keys_old).split(",")
    keys = [current, *(key.strip() for key in earlier if key.strip())]
    if any(len(key) < KEY_LENGTH for key in keys):
        raise ConfigurationError(
            f"a signing key has fewer than {KEY_LENGTH} characters.",
            mend="Set IGNITION_SIGNING_KEY and IGNITION_SIGNING_KEYS_OLD to secrets such as"
            " `openssl rand -base64 32` makes.",
        )
    return tuple(key.encode() for key in keys)


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _from_file(path: Path) -> str:
    if not path.exists():
        secret = f"{token_urlsafe(KEY_LENGTH)}\n".encode()
        make_key_file(path, secret, what="the signing key", mend=_MEND)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the signing key {path} cannot be read.", mend=_MEND) from error


def _checked(raw: bytes, keys: tuple[bytes, ...], length: int) -> bytes:
    code, payload = raw[:length], raw[length:]
    # Each in constant time: how long it takes tells at most which key it was.
    if not any(
        hmac.compare_digest(code, hmac.digest(key, payload, sha256)[:length]) for key in keys
    ):
        raise _refused()
    return payload


@lru_cache(maxsize=64)  # a few purposes with a few keys each: making one takes longer than using it
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").decode().translate(_LOWER)


# Not lower(): that would take the Kelvin sign for a k.
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _decoded(text: str) -> bytes | None:
    if len(text) > TOKEN_LIMIT or not text.isascii():
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None


def _decoded_short(text: str) -> bytes | None:
    lower = text.translate(_LOWER)
    if len(lower) > TOKEN_LIMIT or not lower.isascii():
        return None
    try:
        return base64.b32decode(lower.upper() + "=" * (-len(lower) % 8))
    except (binascii.Error, ValueError):
        return None


def _refused() -> TokenError:
    return TokenError("this link or address is not one of ours, or was changed on its way.")
