"""Signs WebAssembly modules and components and verifies them, as `wasmsign2` does: Ed25519 of the SHA-256 of all.

https://github.com/WebAssembly/tool-conventions/blob/main/Signatures.md. A signature covers every byte after the section
that it is in. The eight bytes before that section, which tell a module from a component, are covered by nothing.
A module may be signed by several; that document also knows signatures of a part of the sections, which are refused
here: what is not covered would run too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from eventrunner.wasm.binary import read_kind
from eventrunner.wasm.cursor import Malformed
from eventrunner.wasm.sections import PREAMBLE, Section, leb, read_sections
from eventrunner.wasm.signature_errors import (
    MalformedSignature,
    PartlySigned,
    TamperedModule,
    UnknownSigningKey,
    UnsignedModule,
)
from eventrunner.wasm.signature_section import (
    ED25519,
    Signature,
    SignedHashes,
    add_signature,
    decode_signatures,
    encode_signatures,
)
from eventrunner.wasm.signing_keys import PublicKey, SecretKey

__all__ = [
    "MalformedSignature",
    "PartlySigned",
    "PublicKey",
    "SecretKey",
    "TamperedModule",
    "UnknownSigningKey",
    "UnsignedModule",
    "sign",
    "sign_detached",
    "verify",
]

_SIGNATURE: Final = "signature"
_DELIMITER: Final = "signature_delimiter"
_ID_DIGITS: Final = 64
"""Of an id that a module names; any bytes could be there."""
_T = TypeVar("_T")


class _Module(NamedTuple):
    signature: bytes | None
    """What its signature section holds."""
    signed: int
    """Where the bytes begin that a signature in it covers."""
    sections: Sequence[Section]
    """Those after the signature."""


def sign(code: bytes, secret: SecretKey) -> bytes:
    """With the signature beside those that are there already, in place of one with the same key.

    Raises InvalidInput for what is no WebAssembly, MalformedSignature for what has a signature that cannot be read.
    """
    module = _read(code)
    body, hashes = _hashed(code, module.sections)
    before = () if module.signature is None else decode_signatures(module.signature)
    data = leb(len(_SIGNATURE)) + _SIGNATURE.encode() + _signed(before, hashes, secret)
    return b"".join((code[:PREAMBLE], b"\0", leb(len(data)), data, body))


def sign_detached(code: bytes, secret: SecretKey) -> bytes:
    """A signature to be kept in a file of its own; it covers the code as it is, byte by byte."""
    read_kind(code)
    return _signed((), (hashlib.sha256(memoryview(code)[PREAMBLE:]).digest(),), secret)


def verify(code: bytes, keys: Iterable[PublicKey], detached: bytes | None = None) -> PublicKey:
    """The one of the keys by which all of the code is signed, in itself or by the detached signature.

    Raises InvalidInput for what is no WebAssembly, and each of the errors of `signature_errors`.
    """
    module = _read(code)
    if detached is not None:
        module = module._replace(signature=detached, signed=PREAMBLE)
    if module.signature is None:
        raise UnsignedModule(
            "The module is not signed: it does not begin with a signature section. Sign it with `eventrunner consumer "
            "sign` or `wasmsign2 sign`; put a detached signature into it with `wasmsign2 attach`."
        )
    sets = decode_signatures(module.signature)
    known = {key.module_id: key for key in keys}
    whole = hashlib.sha256(memoryview(code)[module.signed :]).digest()
    covering = [item for item in sets if item.hashes[-1:] == (whole,)]
    if not covering:
        raise _not_covered(code, module, sets)
    for item in covering:
        for signature in item.signatures:
            for key in _candidates(signature, known):
                if key.has_signed(item.message, signature.value):
                    return key
    raise _not_by_these(covering, known)


def _read(code: bytes) -> _Module:
    read_kind(code)
    sections = _sound(lambda: list(read_sections(code)))
    named = [section for section in sections if _name(code, section) == _SIGNATURE]
    if not named:
        return _Module(None, PREAMBLE, sections)
    first, *more = named
    if more or first.start != PREAMBLE:
        raise MalformedSignature(
            "The module has more than one signature section, or one that is not its first section. Sign the module "
            "again, from its unsigned file."
        )
    _, begin = first.custom(code) or ("", first.end)
    return _Module(code[begin : first.end], first.end, sections[1:])


def _name(code: bytes, section: Section) -> str:
    custom = _sound(lambda: section.custom(code))
    return "" if custom is None else custom[0]


def _sound(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except Malformed as error:
        raise MalformedSignature(
            f"The sections of the module cannot be read, so no signature can cover them: {error}."
        ) from error


def _hashed(code: bytes, sections: Sequence[Section]) -> tuple[bytes, tuple[bytes, ...]]:
    """The sections with their sizes written as wasmsign2 writes them, which is as short as can be, and the hashes up to
    the end of each part."""
    written, hashes, hasher, is_open = [], [], hashlib.sha256(), True
    for section in sections:
        piece = _written(code, section)
        hasher.update(piece)
        written.append(piece)
        is_open = _name(code, section) != _DELIMITER
        if not is_open:
            hashes.append(hasher.digest())
    if is_open:
        hashes.append(hasher.digest())
    return b"".join(written), tuple(hashes)


def _written(code: bytes, section: Section) -> bytes:
    content = code[section.content : section.end]
    if (custom := section.custom(code)) is not None:
        name = custom[0].encode()
        content = leb(len(name)) + name + code[custom[1] : section.end]
    return bytes((section.identifier,)) + leb(len(content)) + content


def _signed(before: Sequence[SignedHashes], hashes: tuple[bytes, ...], secret: SecretKey) -> bytes:
    value = secret.sign(SignedHashes(hashes, ()).message)
    signature = Signature(secret.public.module_id, ED25519, value)
    return encode_signatures(add_signature(before, hashes, signature))


def _candidates(signature: Signature, known: Mapping[bytes, PublicKey]) -> Iterable[PublicKey]:
    if signature.algorithm != ED25519:
        return ()
    if not signature.key_id:
        return known.values()
    return (known[signature.key_id],) if signature.key_id in known else ()


def _not_covered(code: bytes, module: _Module, sets: Sequence[SignedHashes]) -> PartlySigned | TamperedModule:
    """None of the signatures is of all that is there."""
    parts = set(_part_hashes(code, module))
    if any(item.hashes and parts.issuperset(item.hashes) for item in sets):
        return PartlySigned(
            "The signature covers only a part of the module's sections; all of them must be signed. Sign the module "
            "again, whole."
        )
    return TamperedModule(
        "The module is not what was signed: it has been changed since. Sign it again if the change is meant."
    )


def _part_hashes(code: bytes, module: _Module) -> Iterator[bytes]:
    hasher, view, at = hashlib.sha256(), memoryview(code), module.signed
    for section in module.sections:
        if _name(code, section) == _DELIMITER:
            hasher.update(view[at : section.end])
            at = section.end
            yield hasher.digest()


def _not_by_these(
    covering: Sequence[SignedHashes], known: Mapping[bytes, PublicKey]
) -> UnknownSigningKey | TamperedModule:
    named = {signature.key_id for item in covering for signature in item.signatures if signature.key_id}
    ours = sorted(known[key_id].id for key_id in named if key_id in known)
    if ours:
        return TamperedModule(
            f"The signature of the key {', '.join(ours)} is not valid for this module: one of the two has been changed "
            "since it was signed. Sign the module again."
        )
    ids = tuple(sorted(key_id.hex()[:_ID_DIGITS] for key_id in named))
    whose = f"of the module key id {', '.join(ids)}, which is" if ids else "that it does not name and that is"
    return UnknownSigningKey(
        f"The module is signed with a key {whose} not among the keys that it may be signed with. Register that key, or "
        "sign the module with one that is registered.",
        key_ids=ids,
    )
