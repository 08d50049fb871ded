"""What a module's signature consists of, and the bytes for it, as `wasmsign2` writes them.

https://github.com/WebAssembly/tool-conventions/blob/main/Signatures.md, where each set of signed hashes and each
signature has its length before it, which that document leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from eventrunner.wasm.cursor import Cursor, Malformed
from eventrunner.wasm.sections import leb
from eventrunner.wasm.signature_errors import MalformedSignature

__all__ = ["ED25519", "Signature", "SignedHashes", "add_signature", "decode_signatures", "encode_signatures"]

ED25519: Final = 1
_HEADER: Final = bytes((1, 1, 1))
"""Version of the specification; content: a module or component; hash function: SHA-256."""
_DOMAIN: Final = b"wasmsig"
_HASH_BYTES: Final = 32
_ED25519_BYTES: Final = 64
_MOST_SETS: Final = 64
_MOST_HASHES: Final = 64
_MOST_SIGNATURES: Final = 64
"""In the whole section: each may cost a verification with each key."""


@dataclass(frozen=True, slots=True)
class Signature:
    key_id: bytes
    """Empty: it names no key."""
    algorithm: int
    value: bytes


@dataclass(frozen=True, slots=True)
class SignedHashes:
    hashes: tuple[bytes, ...]
    """Each of everything up to the end of a part: those before are covered too."""
    signatures: tuple[Signature, ...]

    @property
    def message(self) -> bytes:
        """What is signed."""
        return _DOMAIN + _HEADER + b"".join(self.hashes)


def decode_signatures(data: bytes) -> tuple[SignedHashes, ...]:
    """Raises MalformedSignature."""
    try:
        sets = _read(Cursor(data))
    except Malformed as error:
        raise MalformedSignature(
            f"The signature of the module cannot be read: {error}. Sign the module again, from its unsigned file."
        ) from error
    return sets


def encode_signatures(sets: Sequence[SignedHashes]) -> bytes:
    return _HEADER + leb(len(sets)) + b"".join(_sized(_set_bytes(item)) for item in sets)


def add_signature(
    sets: Sequence[SignedHashes], hashes: tuple[bytes, ...], signature: Signature
) -> tuple[SignedHashes, ...]:
    """One of the same key is replaced. Raises MalformedSignature when there are too many."""
    others = [
        replace(item, signatures=tuple(s for s in item.signatures if s.key_id != signature.key_id)) for item in sets
    ]
    kept = [item for item in others if item.signatures]
    if all(item.hashes != hashes for item in kept):
        kept.append(SignedHashes(hashes, ()))
    added = tuple(
        replace(item, signatures=(*item.signatures, signature)) if item.hashes == hashes else item for item in kept
    )
    if sum(len(item.signatures) for item in added) > _MOST_SIGNATURES or len(hashes) > _MOST_HASHES:
        raise MalformedSignature(
            f"A module has at most {_MOST_SIGNATURES} signatures of at most {_MOST_HASHES} parts: "
            "sign the module from its unsigned file."
        )
    return added


def _read(cursor: Cursor) -> tuple[SignedHashes, ...]:
    header = cursor.take(len(_HEADER))
    if header != _HEADER:
        raise Malformed(f"it begins with {header.hex(' ')}; only {_HEADER.hex(' ')} (version 1, SHA-256) is known")
    sets = tuple(_read_set(_part(cursor)) for _ in range(_count(cursor, _MOST_SETS, "sets of hashes")))
    _check_done(cursor)
    signatures = sum(len(item.signatures) for item in sets)
    if signatures > _MOST_SIGNATURES:
        raise Malformed(f"it has {signatures} signatures; at most {_MOST_SIGNATURES} are looked at")
    if not signatures:
        raise Malformed("there is no signature in it")
    return sets


def _read_set(cursor: Cursor) -> SignedHashes:
    hashes = tuple(cursor.take(_HASH_BYTES) for _ in range(_count(cursor, _MOST_HASHES, "hashes")))
    count = _count(cursor, _MOST_SIGNATURES, "signatures")
    signatures = tuple(_read_signature(_part(cursor)) for _ in range(count))
    _check_done(cursor)
    return SignedHashes(hashes, signatures)


def _read_signature(cursor: Cursor) -> Signature:
    key_id = cursor.take(cursor.unsigned())
    algorithm = cursor.byte()
    value = cursor.take(cursor.unsigned())
    _check_done(cursor)
    if algorithm == ED25519 and len(value) != _ED25519_BYTES:
        raise Malformed(f"a signature has {len(value)} bytes; those of Ed25519 have {_ED25519_BYTES}")
    return Signature(key_id, algorithm, value)


def _part(cursor: Cursor) -> Cursor:
    return cursor.part(cursor.unsigned())


def _count(cursor: Cursor, most: int, what: str) -> int:
    number = cursor.count()
    if number > most:
        raise Malformed(f"it has {number} {what}; at most {most} are looked at")
    return number


def _check_done(cursor: Cursor) -> None:
    if not cursor.is_done:
        raise Malformed("it is longer than what it holds")


def _set_bytes(item: SignedHashes) -> bytes:
    signatures = b"".join(_sized(_signature_bytes(signature)) for signature in item.signatures)
    return leb(len(item.hashes)) + b"".join(item.hashes) + leb(len(item.signatures)) + signatures


def _signature_bytes(signature: Signature) -> bytes:
    return _sized(signature.key_id) + bytes((signature.algorithm,)) + _sized(signature.value)


def _sized(content: bytes) -> bytes:
    return leb(len(content)) + content
