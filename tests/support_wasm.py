"""WebAssembly for tests, made of its text form."""

from __future__ import annotations

from functools import cache

import wasmtime
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import SIGNING_KEYS, SigningKey, tenant_key
from eventrunner.wasm.sections import leb
from eventrunner.wasm.signing import PublicKey, SecretKey, sign

__all__ = ["actor", "component", "custom_section", "register_key", "signed", "signed_component", "signing_key"]

HANDLER = """
  (core module $m (func (export "f")))
  (core instance $i (instantiate $m))
  (func $f (canon lift (core func $i "f")))
  (instance $h (export "handle-message" (func $f)))
  (export "wasmcloud:messaging/handler@0.2.0" (instance $h))
"""


def component(*imports: str, serves: bool = True, filling: int = 0) -> bytes:
    """With these interfaces imported; `filling` bytes make it larger, and another one."""
    named = "".join(f'(import "{name}" (instance))' for name in imports)
    return bytes(wasmtime.wat2wasm(f"(component {named} {HANDLER if serves else ''})")) + _custom(filling)


def actor(*imports: tuple[str, str]) -> bytes:
    """A waPC module."""
    named = "".join(f'(import "{name}" "{member}" (func))' for name, member in imports)
    return bytes(wasmtime.wat2wasm(f'(module {named} (func (export "__guest_call")))'))


@cache
def signing_key() -> PublicKey:
    """Of what `signed` signs, unless it is told otherwise."""
    return _SECRET.public


def signed(code: bytes, secret: SecretKey | None = None) -> bytes:
    return sign(code, secret or _SECRET)


def signed_component(*imports: str, serves: bool = True, filling: int = 0) -> bytes:
    return signed(component(*imports, serves=serves, filling=filling))


def register_key(registry: Mirror, *tenants: str, key: PublicKey | None = None) -> None:
    """The one of `signed`, unless another is given."""
    public = key or signing_key()
    for tenant in tenants:
        record = SigningKey(tenant, public.id, public.to_text(), "test", "2026-01-01T00:00:00.000000Z")
        registry.put(SIGNING_KEYS, tenant_key(tenant, public.id), record.to_json())


def custom_section(name: str, content: bytes) -> bytes:
    encoded = name.encode()
    named = leb(len(encoded)) + encoded + content
    return b"\0" + leb(len(named)) + named


def _custom(size: int) -> bytes:
    """A custom section of so many zeros."""
    return custom_section("x", bytes(size)) if size else b""


_SECRET = SecretKey(bytes(range(32)))
