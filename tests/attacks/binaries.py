"""Binaries that no compiler writes."""

from __future__ import annotations

import wasmtime
from eventrunner.wasm.sections import leb

__all__ = ["calling_module", "doubling", "doubling_text", "module", "nested", "section", "vector"]

_MODULE = b"\0asm\x01\0\0\0"
_COMPONENT = b"\0asm\x0d\0\x01\0"


def section(identifier: int, content: bytes) -> bytes:
    return bytes((identifier,)) + leb(len(content)) + content


def vector(item: bytes, count: int) -> bytes:
    return leb(count) + item * count


def module(*sections: bytes) -> bytes:
    return _MODULE + b"".join(sections)


def calling_module(calls: int) -> bytes:
    """Its only function calls itself so often: two bytes each, and some hundred of native code."""
    body = b"\0" + b"\x10\0" * calls + b"\x0b"
    return module(section(1, b"\x01\x60\0\0"), section(3, b"\x01\0"), section(10, b"\x01" + leb(len(body)) + body))


def nested(depth: int) -> bytes:
    """Components in one another."""
    code = _COMPONENT
    for _ in range(depth):
        code = _COMPONENT + section(4, code)
    return code


def doubling_text(levels: int) -> str:
    """A component that has two instances of another one, which has two of another one… and an instance of it."""
    components = ["(component $c0 (core module $m) (core instance (instantiate $m)))"]
    for level in range(levels):
        twice = "(instance (instantiate $c))" * 2
        components.append(f"(component $c{level + 1} (alias outer 1 $c{level} (component $c)) {twice})")
    return f"{' '.join(components)} (instance (instantiate $c{levels}))"


def doubling(levels: int) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(component {doubling_text(levels)})"))
