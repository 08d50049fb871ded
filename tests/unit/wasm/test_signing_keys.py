"""Keys are read from every usual file, and what is none says what would be one."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eventrunner.errors import InvalidInput
from eventrunner.wasm.signing import PublicKey, SecretKey

SECRET = SecretKey(bytes(range(32)))
PUBLIC = SECRET.public
THEIRS = Ed25519PrivateKey.from_private_bytes(SECRET.seed)
PLAIN = serialization.NoEncryption()


def public_forms() -> dict[str, bytes]:
    key, encoding, form = THEIRS.public_key(), serialization.Encoding, serialization.PublicFormat
    der = key.public_bytes(encoding.DER, form.SubjectPublicKeyInfo)
    line = key.public_bytes(encoding.OpenSSH, form.OpenSSH)
    return {
        "wasmsign2": b"\1" + PUBLIC.raw,
        "DER": der,
        "PEM": key.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "OpenSSH": line,
        "OpenSSH with a comment": line + b" somebody@somewhere\n",
        "base64": base64.b64encode(PUBLIC.raw) + b"\n",
        "base64 of wasmsign2": base64.b64encode(b"\1" + PUBLIC.raw),
        "base64 of DER": base64.b64encode(der),
    }


def secret_forms() -> dict[str, bytes]:
    encoding, form = serialization.Encoding, serialization.PrivateFormat
    return {
        "wasmsign2": b"\x81" + SECRET.seed + PUBLIC.raw,
        "DER": THEIRS.private_bytes(encoding.DER, form.PKCS8, PLAIN),
        "PEM": THEIRS.private_bytes(encoding.PEM, form.PKCS8, PLAIN),
        "OpenSSH": THEIRS.private_bytes(encoding.PEM, form.OpenSSH, PLAIN),
    }


@pytest.mark.parametrize("data", public_forms().values(), ids=public_forms())
def test_a_public_key_is_read_in_every_form(data: bytes) -> None:
    assert PublicKey.parse(data) == PUBLIC


@pytest.mark.parametrize("data", secret_forms().values(), ids=secret_forms())
def test_a_secret_key_is_read_in_every_form(data: bytes) -> None:
    assert SecretKey.parse(data) == SECRET


@pytest.mark.parametrize("data", secret_forms().values(), ids=secret_forms())
def test_a_secret_key_is_never_taken_for_a_public_one(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="keep it to yourself"):
        PublicKey.parse(data)


OTHER = ec.generate_private_key(ec.SECP256R1())
NO_KEYS = {
    "nothing": b"",
    "text": b"hello",
    "another prefix": b"\2" + PUBLIC.raw,
    "too short": b"\1" + PUBLIC.raw[:-1],
    "too long": b"\1" + PUBLIC.raw + b"\0",
    "not on the curve": b"\1\2" + bytes(31),
    "valid for any signature": b"\1\1" + bytes(31),
    "zeros": b"\1" + bytes(32),
    "another algorithm": OTHER.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
    "broken PEM": b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n",
}


@pytest.mark.parametrize("data", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_public_key_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not an Ed25519 public key"):
        PublicKey.parse(data)


def test_what_is_no_secret_key_is_refused() -> None:
    encrypted = THEIRS.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    for data in (b"", b"\x81" + bytes(63), b"\1" + PUBLIC.raw, encrypted):
        with pytest.raises(InvalidInput, match="without a passphrase"):
            SecretKey.parse(data)


def test_a_secret_key_beside_another_public_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="does not belong"):
        SecretKey.parse(b"\x81" + SECRET.seed + SecretKey.generate().public.raw)


def test_a_secret_key_is_written_for_its_owner_only_and_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    SECRET.to_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SecretKey.from_file(file) == SECRET
    with pytest.raises(FileExistsError):
        SecretKey.generate().to_file(file)


def test_a_key_never_shows_its_bytes() -> None:
    assert SECRET.seed.hex() not in repr(SECRET)
    assert repr(SECRET.seed) not in repr(SECRET)


def test_generated_keys_are_sound_and_differ() -> None:
    keys = [SecretKey.generate().public for _ in range(20)]
    assert len({key.id for key in keys}) == 20
    assert all(PublicKey.parse(key.to_pem().encode()) == key for key in keys)
    assert all(len(key.id) == 16 and len(key.module_id) == 12 for key in keys)
