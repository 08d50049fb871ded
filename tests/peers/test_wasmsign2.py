"""What we sign, `wasmsign2` verifies, and what it signs, we verify; the signed files are the same to the last byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eventrunner.wasm.signing import (
    PartlySigned,
    PublicKey,
    SecretKey,
    TamperedModule,
    UnknownSigningKey,
    sign,
    sign_detached,
    verify,
)
from support_wasm import actor, component, custom_section
from support_wasmsign2 import wasmsign2

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

OURS, THEIRS = SecretKey(bytes(range(32))), SecretKey(bytes(range(1, 33)))
PADDED = b"\0asm\1\0\0\0" + b"\0\x86\x80\x80\x80\0" + b"\x81\0a" + b"xyz"
MODULES = {
    "component": component("wasi:random/random@0.2.0"),
    "actor": actor(("wapc", "__host_call")),
    "long": component(filling=70_000),
    "padded sizes": PADDED,
}


class Signer:
    """`wasmsign2` with the files of one key."""

    def __init__(self, folder: Path, secret: SecretKey) -> None:
        self.folder, self.secret, self.public = folder, folder / "secret.key", folder / "public.key"
        folder.mkdir()
        secret.to_file(self.secret)
        self.public.write_bytes(secret.public.to_bytes())

    def sign(self, code: bytes, *options: str | Path, names_key: bool = True) -> bytes:
        source, target = self.folder / "source.wasm", self.folder / "target.wasm"
        source.write_bytes(code)
        naming = ("-K", self.public) if names_key else ()
        self.run("sign", "-i", source, "-o", target, "-k", self.secret, *naming, *options)
        return target.read_bytes()

    def split(self, code: bytes) -> bytes:
        source, target = self.folder / "whole.wasm", self.folder / "split.wasm"
        source.write_bytes(code)
        self.run("split", "-i", source, "-o", target, "-s", "^not_there$")
        return target.read_bytes()

    def accepts(self, code: bytes, *options: str | Path) -> bool:
        file = self.folder / "asked.wasm"
        file.write_bytes(code)
        return wasmsign2("verify", "-i", file, "-K", self.public, *options).returncode == 0

    def run(self, *arguments: str | Path) -> None:
        done = wasmsign2(*arguments)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "ours", OURS)


@pytest.fixture
def other(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "theirs", THEIRS)


@pytest.mark.parametrize("code", MODULES.values(), ids=MODULES)
def test_both_sign_a_module_with_the_same_bytes(signer: Signer, code: bytes) -> None:
    ours = sign(code, OURS)
    assert signer.sign(code) == ours
    assert signer.accepts(ours)
    assert not signer.accepts(ours[:-1] + bytes([ours[-1] ^ 1]))


def test_both_add_a_second_signature_with_the_same_bytes(signer: Signer, other: Signer) -> None:
    ours = sign(sign(component(), OURS), THEIRS)
    assert other.sign(signer.sign(component())) == ours
    assert signer.accepts(ours)
    assert other.accepts(ours)


def test_both_sign_a_module_of_several_parts_with_the_same_bytes(signer: Signer) -> None:
    parts = signer.split(component(filling=10) + custom_section("last", b"part"))
    assert parts.count(b"signature_delimiter") == 2
    ours = sign(parts, OURS)
    assert signer.sign(parts) == ours
    assert signer.accepts(ours)
    assert signer.accepts(ours, "-s", "^not_there$")
    assert verify(ours, [OURS.public]) == OURS.public


def test_a_signature_that_names_no_key_is_verified(signer: Signer) -> None:
    made = signer.sign(component(), names_key=False)
    assert OURS.public.module_id not in made
    assert verify(made, [THEIRS.public, OURS.public]) == OURS.public


def test_both_refuse_another_key(signer: Signer, other: Signer) -> None:
    made = signer.sign(component())
    assert not other.accepts(made)
    with pytest.raises(UnknownSigningKey):
        verify(made, [THEIRS.public])


def test_both_refuse_what_was_changed(signer: Signer) -> None:
    made = signer.sign(component(filling=4)).replace(b"handle-message", b"handle-Message")
    assert not signer.accepts(made)
    with pytest.raises(TamperedModule):
        verify(made, [OURS.public])


def test_what_was_added_to_a_signed_part_is_refused(signer: Signer) -> None:
    made = signer.sign(signer.split(component())) + custom_section("more", b"")
    assert not signer.accepts(made)
    assert signer.accepts(made, "-s", "^not_there$")
    with pytest.raises(PartlySigned):
        verify(made, [OURS.public])


def test_detached_signatures_are_the_same(signer: Signer) -> None:
    file, code = signer.folder / "signature", component()
    assert signer.sign(code, "-S", file) == code
    assert file.read_bytes() == sign_detached(code, OURS)
    assert signer.accepts(code, "-S", file)
    assert verify(code, [OURS.public], file.read_bytes()) == OURS.public


def test_keys_that_wasmsign2_makes_are_read(tmp_path: Path, signer: Signer) -> None:
    secret, public = tmp_path / "secret", tmp_path / "public"
    signer.run("keygen", "-k", secret, "-K", public)
    assert SecretKey.from_file(secret).public == PublicKey.from_file(public)
    assert SecretKey.from_file(secret).to_bytes() == secret.read_bytes()


def test_openssh_keys_are_read_by_both(tmp_path: Path, signer: Signer) -> None:
    key, encoding = Ed25519PrivateKey.from_private_bytes(OURS.seed), serialization.Encoding
    line = key.public_key().public_bytes(encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    public = tmp_path / "id_ed25519.pub"
    public.write_bytes(line + b"\n")
    file = tmp_path / "signed.wasm"
    file.write_bytes(sign(component(), OURS))
    assert wasmsign2("verify", "-i", file, "-K", public, "-Z").returncode == 0
    assert PublicKey.from_file(public) == OURS.public
