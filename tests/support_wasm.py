"""WebAssembly for tests, made of its text form."""

from __future__ import annotations

import wasmtime

__all__ = ["actor", "component"]

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


def _custom(size: int) -> bytes:
    """A custom section of so many zeros."""
    if not size:
        return b""
    content = b"\x01x" + bytes(size)
    return b"\0" + _leb(len(content)) + content


def _leb(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
