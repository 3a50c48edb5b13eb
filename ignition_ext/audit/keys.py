"""The Ed25519 keys (RFC 8032) that sign audit rows and heads.

The private key is a file outside the database: who can only write the database cannot sign.
Nodes that share a database should share the key, see docs/audit.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ignition_ext.errors import ConfigurationError
from ignition_ext.key_file import make_key_file
from ignition_ext.settings import Settings, prefect_home

KEY_FILE_NAME = "ignition-audit-key.pem"
KEY_ID_LENGTH = 16
"""Hexadecimal digits of a key's SHA-256: enough to tell keys apart, short enough to read."""

PublicKeys = Mapping[str, Ed25519PublicKey]
"""The keys that someone trusts, by their id."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its id."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()

    @property
    def key_id(self) -> str:
        return key_id(self.public)

    def sign(self, statement: bytes) -> str:
        """The signature, base64."""
        return base64.b64encode(self.private.sign(statement)).decode()


def key_id(key: Ed25519PublicKey) -> str:
    """The beginning of SHA-256 over the 32 bytes of the public key, in hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_LENGTH]


def key_path(settings: Settings | None = None) -> Path:
    """Where this node's private key is."""
    return (settings or Settings()).audit_key_file or prefect_home() / KEY_FILE_NAME


def signing_key(settings: Settings | None = None) -> SigningKey:
    """This node's key, made on first use (mode 0600; of two processes at once, one wins).

    Raises:
        ConfigurationError: the file can neither be read nor made, or holds something else.
    """
    path = key_path(settings)
    if not path.exists():
        _create(path)
    return _read(path)


def trusted_keys(
    public_files: Iterable[Path] = (), settings: Settings | None = None
) -> dict[str, Ed25519PublicKey]:
    """This node's own public key, where it has one, and those of the files. Makes nothing.

    Raises:
        ConfigurationError: a file is not an Ed25519 key.
    """
    path = key_path(settings)
    keys = [_read(path).public] if path.exists() else []
    keys += [_read_public(file) for file in public_files]
    return {key_id(key): key for key in keys}


def public_pem(key: Ed25519PublicKey) -> str:
    """The key as PEM (SubjectPublicKeyInfo), as openssl reads it."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def parse_public(pem: str) -> Ed25519PublicKey:
    """The key of a PEM text.

    Raises:
        ValueError: it is not an Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("unknown kind of key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key


def holds(key: Ed25519PublicKey, signature: str, statement: bytes) -> bool:
    """Whether the signature (base64) is the key's over the statement."""
    try:
        key.verify(base64.b64decode(signature, validate=True), statement)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _create(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    make_key_file(
        path,
        pem,
        what="the audit key",
        mend="Set IGNITION_AUDIT_KEY_FILE to a file that this user may read, or make its"
        " folder writable.",
    )


def _read(path: Path) -> SigningKey:
    mend = "Set IGNITION_AUDIT_KEY_FILE to a PEM file with an unencrypted Ed25519 private key."
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(
            f"the audit key {path} cannot be read: {error.strerror or error}.", mend=mend
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path} is not a private key.", mend=mend) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key.", mend=mend)
    return SigningKey(key)


def _read_public(path: Path) -> Ed25519PublicKey:
    mend = "Give the output of `ignition audit key` on the node that signed."
    try:
        return parse_public(path.read_text())
    except OSError as error:
        raise ConfigurationError(
            f"the public key {path} cannot be read: {error.strerror or error}.", mend=mend
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not an Ed25519 public key.", mend=mend) from error
