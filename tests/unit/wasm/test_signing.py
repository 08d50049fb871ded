"""A module is signed and verified as a whole: any other byte, key or signature is refused, each with its own error."""

from __future__ import annotations

import hashlib

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.wasm.signature_section import (
    ED25519,
    Signature,
    SignedHashes,
    decode_signatures,
    encode_signatures,
)
from eventrunner.wasm.signing import (
    MalformedSignature,
    PartlySigned,
    SecretKey,
    TamperedModule,
    UnknownSigningKey,
    UnsignedModule,
    sign,
    sign_detached,
    verify,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support_wasm import actor, component, custom_section
from wasmtime.component import Component

OURS, THEIRS = SecretKey(bytes(range(32))), SecretKey(bytes(range(1, 33)))
PREAMBLE = b"\0asm\1\0\0\0"
DELIMITER = custom_section("signature_delimiter", bytes(16))
SMALL = PREAMBLE + custom_section("a", b"first") + custom_section("b", b"second")
EVERY_KEY = (OURS.public, THEIRS.public)


@pytest.mark.parametrize("code", [component(), actor(), PREAMBLE, SMALL], ids=["component", "actor", "empty", "small"])
def test_what_is_signed_verifies_by_its_key(code: bytes) -> None:
    assert verify(sign(code, OURS), [THEIRS.public, OURS.public]) == OURS.public


def test_a_signed_component_still_compiles() -> None:
    Component(wasmtime.Engine(), sign(component(), OURS))


def test_a_signature_makes_a_module_no_longer_than_it_must() -> None:
    assert len(sign(SMALL, OURS)) - len(SMALL) == 2 + 1 + 9 + 1 + 3 + 2 + 1 + 32 + 1 + 1 + 13 + 1 + 1 + 64


def test_every_flip_of_a_byte_is_refused() -> None:
    code = sign(SMALL, OURS)
    for index in range(len(code)):
        for bit in range(8):
            flipped = bytearray(code)
            flipped[index] ^= 1 << bit
            with pytest.raises(InvalidInput):
                verify(bytes(flipped), EVERY_KEY)


def test_every_shorter_or_longer_module_is_refused() -> None:
    code = sign(SMALL, OURS)
    for end in range(len(code)):
        with pytest.raises(InvalidInput):
            verify(code[:end], EVERY_KEY)
    for more in (b"\0", custom_section("c", b""), code):
        with pytest.raises(InvalidInput):
            verify(code + more, EVERY_KEY)


def test_an_unsigned_module_is_called_so() -> None:
    with pytest.raises(UnsignedModule, match="eventrunner consumer sign"):
        verify(SMALL, EVERY_KEY)


def test_a_changed_module_is_called_so() -> None:
    changed = sign(SMALL, OURS).replace(b"second", b"Second")
    with pytest.raises(TamperedModule, match="changed since"):
        verify(changed, EVERY_KEY)


def test_a_changed_signature_is_called_so() -> None:
    code = bytearray(sign(SMALL, OURS))
    value = code.index(OURS.public.module_id) + 12 + 2
    code[value] ^= 1
    with pytest.raises(TamperedModule, match=OURS.public.id):
        verify(bytes(code), EVERY_KEY)


def test_another_key_is_named_by_the_id_that_the_module_tells() -> None:
    with pytest.raises(UnknownSigningKey) as caught:
        verify(sign(SMALL, OURS), [THEIRS.public])
    assert caught.value.key_ids == (OURS.public.module_id.hex(),)
    assert OURS.public.module_id.hex() in caught.value.detail


def test_no_key_verifies_nothing() -> None:
    with pytest.raises(UnknownSigningKey):
        verify(sign(SMALL, OURS), [])


def test_each_error_has_its_own_code() -> None:
    errors = (UnsignedModule, MalformedSignature, PartlySigned, TamperedModule, UnknownSigningKey)
    assert len({error.code for error in errors}) == len(errors)


def test_a_module_may_be_signed_by_several() -> None:
    both = sign(sign(SMALL, OURS), THEIRS)
    assert [verify(both, [key]) for key in EVERY_KEY] == list(EVERY_KEY)


def test_signing_again_with_the_same_key_changes_nothing() -> None:
    both = sign(sign(SMALL, OURS), THEIRS)
    assert sign(both, THEIRS) == both


def test_signing_a_changed_module_again_is_enough() -> None:
    changed = sign(SMALL, OURS).replace(b"second", b"Second")
    again = sign(changed, OURS)
    assert verify(again, [OURS.public]) == OURS.public
    assert len(again) == len(changed)


def test_a_signature_without_a_key_id_is_tried_with_every_key() -> None:
    assert verify(with_signature(SMALL, OURS, key_id=b""), EVERY_KEY) == OURS.public
    with pytest.raises(UnknownSigningKey, match="does not name"):
        verify(with_signature(SMALL, OURS, key_id=b""), [THEIRS.public])


def test_a_signature_under_another_keys_id_is_refused() -> None:
    with pytest.raises(TamperedModule):
        verify(with_signature(SMALL, OURS, key_id=THEIRS.public.module_id), EVERY_KEY)


def test_another_algorithm_is_no_signature() -> None:
    with pytest.raises(UnknownSigningKey):
        verify(with_signature(SMALL, OURS, key_id=b"", algorithm=2), EVERY_KEY)


def test_a_part_that_is_signed_is_not_enough() -> None:
    first = PREAMBLE + custom_section("a", b"first") + DELIMITER
    with pytest.raises(PartlySigned, match="only a part"):
        verify(sign(first, OURS) + custom_section("b", b"second"), EVERY_KEY)


def test_a_signature_of_all_parts_is_enough() -> None:
    code = PREAMBLE + custom_section("a", b"first") + DELIMITER + custom_section("b", b"second") + DELIMITER
    assert verify(sign(code, OURS), EVERY_KEY) == OURS.public


def test_a_change_after_a_delimiter_is_a_change() -> None:
    code = PREAMBLE + custom_section("a", b"first") + DELIMITER + custom_section("b", b"second") + DELIMITER
    with pytest.raises(TamperedModule):
        verify(sign(code, OURS).replace(b"second", b"Second"), EVERY_KEY)


def test_a_second_signature_section_is_refused() -> None:
    code = sign(SMALL + custom_section("c", b""), OURS)
    for second in (custom_section("signature", b""), code[8 : 8 + 9]):
        with pytest.raises(InvalidInput):
            verify(code + second, EVERY_KEY)
    with pytest.raises(MalformedSignature, match="not its first"):
        sign(SMALL + custom_section("signature", b""), OURS)


def test_a_detached_signature_is_of_the_code_as_it_is() -> None:
    detached = sign_detached(SMALL, OURS)
    assert verify(SMALL, EVERY_KEY, detached) == OURS.public
    with pytest.raises(TamperedModule):
        verify(SMALL.replace(b"second", b"Second"), EVERY_KEY, detached)
    with pytest.raises(MalformedSignature):
        verify(SMALL, EVERY_KEY, b"")


def test_sizes_that_a_linker_padded_are_written_as_wasmsign2_does() -> None:
    padded = PREAMBLE + b"\0\x86\x80\x80\x80\0" + b"\x81\0a" + b"xyz"
    assert sign(padded, OURS) == sign(PREAMBLE + custom_section("a", b"xyz"), OURS)


HASHES = (hashlib.sha256(b"").digest(),)
CRAFTED = {
    "nothing": b"",
    "another version": b"\2\1\1\0",
    "another content": b"\1\2\1\0",
    "another hash": b"\1\1\2\0",
    "no set": b"\1\1\1\0",
    "a huge count of sets": b"\1\1\1\xff\xff\xff\xff\x0f",
    "a huge set": b"\1\1\1\1\xff\xff\xff\xff\x0f",
    "a huge count of hashes": b"\1\1\1\1\5\xff\xff\xff\xff\x0f",
    "a huge count of signatures": b"\1\1\1\1\6\0\xff\xff\xff\xff\x0f",
    "an endless number": b"\1\1\1" + b"\x80" * 1000,
    "more hashes than there may be": encode_signatures([SignedHashes(HASHES * 65, (Signature(b"", 1, bytes(64)),))]),
    "more signatures than there may be": encode_signatures(
        [SignedHashes(HASHES, (Signature(b"", 1, bytes(64)),) * 65)]
    ),
    "more signatures in all": encode_signatures([SignedHashes(HASHES, (Signature(b"", 1, bytes(64)),) * 40)] * 2),
    "a short signature": encode_signatures([SignedHashes(HASHES, (Signature(b"", ED25519, bytes(63)),))]),
    "no signature": encode_signatures([SignedHashes(HASHES, ())]),
    "something after it": encode_signatures([SignedHashes(HASHES, (Signature(b"", 1, bytes(64)),))]) + b"\0",
}


@pytest.mark.parametrize("data", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_section_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedSignature, match="cannot be read"):
        verify(PREAMBLE + custom_section("signature", data), EVERY_KEY)


def test_a_module_of_endless_sections_is_malformed() -> None:
    with pytest.raises(MalformedSignature, match="100000 sections"):
        verify(PREAMBLE + custom_section("", b"") * 100_001, EVERY_KEY)


def test_what_is_no_webassembly_is_not_signed() -> None:
    for code in (b"", b"\0as", b"MZ" + bytes(20), b"\0asm\2\0\0\0"):
        with pytest.raises(InvalidInput, match=r"WebAssembly|version"):
            sign(code, OURS)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_no_section_does_harm(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        verify(PREAMBLE + custom_section("signature", data), EVERY_KEY)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.builds(
            SignedHashes,
            st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
            st.lists(
                st.builds(Signature, st.binary(max_size=20), st.just(ED25519), st.binary(min_size=64, max_size=64)),
                min_size=1,
                max_size=3,
            ).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple)
)
def test_what_is_encoded_is_decoded(sets: tuple[SignedHashes, ...]) -> None:
    assert decode_signatures(encode_signatures(sets)) == sets


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.text(max_size=8).filter(lambda name: name != "signature"), st.binary(max_size=40)), max_size=6
    ),
    st.binary(min_size=32, max_size=32),
)
def test_any_module_verifies_by_the_key_that_signed_it(sections: list[tuple[str, bytes]], seed: bytes) -> None:
    code = PREAMBLE + b"".join(custom_section(name, content) for name, content in sections)
    secret = SecretKey(seed)
    made = sign(code, secret)
    assert verify(made, [secret.public]) == secret.public
    assert made.endswith(code[8:])


def with_signature(code: bytes, secret: SecretKey, *, key_id: bytes, algorithm: int = ED25519) -> bytes:
    hashes = (hashlib.sha256(code[8:]).digest(),)
    value = secret.sign(SignedHashes(hashes, ()).message)
    data = encode_signatures([SignedHashes(hashes, (Signature(key_id, algorithm, value),))])
    return code[:8] + custom_section("signature", data) + code[8:]
