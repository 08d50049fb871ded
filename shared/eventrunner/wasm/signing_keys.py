"""Ed25519 keys that modules are signed with, in the files of `wasmsign2` and in other usual ones."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from eventrunner.errors import FieldError, InvalidInput

__all__ = ["PublicKey", "SecretKey"]

_PUBLIC: Final = 0x01
_SECRET: Final = 0x81
"""First bytes of wasmsign2's files, before the 32 bytes of the public key, and of the secret and the public one."""
_SIZE: Final = 32
_MOST_BYTES: Final = 16 * 1024
"""Of a file."""
_PUBLIC_FORMS: Final = (
    "an Ed25519 public key as wasmsign2 writes it, as PEM, DER or OpenSSH's line, or any of its bytes in base64"
)
_SECRET_FORMS: Final = (
    "an Ed25519 secret key as wasmsign2 writes it, as PEM, DER or OpenSSH's file, without a passphrase"
)
_REFUSALS: Final = (ValueError, TypeError, UnsupportedAlgorithm)
"""What `cryptography` raises for what it cannot read."""

_P: Final = 2**255 - 19
_D: Final = -121_665 * pow(121_666, -1, _P) % _P
_SMALL: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
"""Of the points of small order, by which a signature could be valid for any module."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    raw: bytes = field(repr=False)
    """32 bytes."""

    def __post_init__(self) -> None:
        if len(self.raw) != _SIZE or not _is_point(self.raw):
            raise _refusal("public_key", f"is not {_PUBLIC_FORMS}")

    @property
    def id(self) -> str:
        """By which a tenant's key is known here: 16 hexadecimal digits."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def module_id(self) -> bytes:
        """By which a signature names the key: wasmsign2's own, which takes a signature that has another id for one of
        another key."""
        return hmac.digest(self.raw, b"key_id", "sha256")[:12]

    @classmethod
    def parse(cls, data: bytes) -> PublicKey:
        """In any of the forms. Raises InvalidInput."""
        if _is_secret(data):
            raise _refusal("public_key", "is a secret key: keep it to yourself, and give the public one instead")
        raw = _public_bytes(data)
        if raw is None:
            raise _refusal("public_key", f"is not {_PUBLIC_FORMS}")
        return cls(raw)

    @classmethod
    def from_file(cls, file: Path) -> PublicKey:
        return cls.parse(_read(file))

    def to_bytes(self) -> bytes:
        """As wasmsign2 writes it."""
        return bytes((_PUBLIC,)) + self.raw

    def to_text(self) -> str:
        """The 32 bytes in base64."""
        return base64.b64encode(self.raw).decode()

    def to_pem(self) -> str:
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True, slots=True)
class SecretKey:
    seed: bytes = field(repr=False)
    """32 bytes."""

    @classmethod
    def generate(cls) -> SecretKey:
        return cls(os.urandom(_SIZE))

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, data: bytes) -> SecretKey:
        """In any of the forms. Raises InvalidInput."""
        if data[:1] == bytes((_SECRET,)) and len(data) == 1 + 2 * _SIZE:
            key = cls(data[1 : 1 + _SIZE])
            if key.public.raw != data[1 + _SIZE :]:
                raise _refusal("secret_key", "does not belong to the public key beside it in the file")
            return key
        seed = _secret_bytes(data)
        if seed is None:
            raise _refusal("secret_key", f"is not {_SECRET_FORMS}")
        return cls(seed)

    @classmethod
    def from_file(cls, file: Path) -> SecretKey:
        return cls.parse(_read(file))

    def to_bytes(self) -> bytes:
        """As wasmsign2 writes it."""
        return bytes((_SECRET,)) + self.seed + self.public.raw

    def to_file(self, file: Path) -> None:
        """For this user only. Raises FileExistsError rather than replace a key."""
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(self.to_bytes())

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def _refusal(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"The {name.replace('_', ' ')} {message}.", (FieldError(name, message),))


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES)


def _is_secret(data: bytes) -> bool:
    return (data[:1] == bytes((_SECRET,)) and len(data) == 1 + 2 * _SIZE) or _secret_bytes(data) is not None


def _public_bytes(data: bytes) -> bytes | None:
    if (raw := _public_binary(data)) is not None:
        return raw
    text = data.strip()
    try:
        if text.startswith(b"-----BEGIN"):
            return _raw_public(serialization.load_pem_public_key(text))
        if text.startswith(b"ssh-"):
            return _raw_public(serialization.load_ssh_public_key(text))
        decoded = base64.b64decode(text, validate=True)
    except (*_REFUSALS, binascii.Error):
        return None
    return decoded if len(decoded) == _SIZE else _public_binary(decoded)


def _public_binary(data: bytes) -> bytes | None:
    if len(data) == 1 + _SIZE and data[0] == _PUBLIC:
        return data[1:]
    try:
        return _raw_public(serialization.load_der_public_key(data))
    except _REFUSALS:
        return None


def _raw_public(key: object) -> bytes | None:
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def _secret_bytes(data: bytes) -> bytes | None:
    for load in (
        serialization.load_der_private_key,
        serialization.load_pem_private_key,
        serialization.load_ssh_private_key,
    ):
        try:
            key = load(data, None)
        except _REFUSALS:
            continue
        if isinstance(key, Ed25519PrivateKey):
            return key.private_bytes_raw()
    return None


def _is_point(raw: bytes) -> bool:
    """Whether it is on the curve, and of no small order; `cryptography` takes any 32 bytes.

    https://www.rfc-editor.org/rfc/rfc8032#section-5.1.3
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL:
        return False
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return pow(square, (_P - 1) // 2, _P) == 1
