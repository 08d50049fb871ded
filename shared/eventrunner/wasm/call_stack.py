"""What the engine says of a trap, with the guest's call stack, where saying it costs little.

The engine makes names readable that a C++ or Rust compiler has mangled, and the guest chooses them: one of 600 bytes
was measured to take six seconds and 240 MiB, which neither fuel nor the time limit end. So its text is asked for
only if all names are short or known to be harmless; private bindings tell them before.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import byref
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

__all__ = ["trap_text"]

_MOST: Final = 4_000
"""Characters of the text, and of all names in it that it is asked for with."""
_MOST_MANGLED: Final = 64
_SHOWN: Final = 100
_CXX: Final = re.compile(r"_{1,4}Z")
_RUST: Final = re.compile(r"_ZN(.+)17h[0-9a-f]{16}E(?:\.[\w.]*)?")
_IDENTIFIER: Final = re.compile(r"[1-9]\d{0,3}")


def trap_text(error: wasmtime.WasmtimeError | wasmtime.Trap) -> str:
    names = _names(error)
    if sum(map(len, names)) <= _MOST and all(map(_is_harmless, names)):
        return str(error)[:_MOST]
    shown = "\n".join(f"    {name[:_SHOWN]}" for name in names if name)
    return f"The guest broke off. Names in its call stack are too long to say more of it:\n{shown}"[:_MOST]


def _names(error: wasmtime.WasmtimeError | wasmtime.Trap) -> list[str]:
    """Of functions and modules, from the innermost call."""
    frames = ffi.wasm_frame_vec_t()
    if isinstance(error, wasmtime.Trap):
        ffi.wasm_trap_trace(error.ptr(), byref(frames))
    else:
        ffi.wasmtime_error_wasm_trace(error.ptr(), byref(frames))
    try:
        return [
            _text(read(frames.data[index]))
            for index in range(frames.size)
            for read in (ffi.wasmtime_frame_module_name, ffi.wasmtime_frame_func_name)
        ]
    finally:
        ffi.wasm_frame_vec_delete(byref(frames))


def _text(name: Any) -> str:
    if not name or not name.contents.size:
        return ""
    return ctypes.string_at(name.contents.data, name.contents.size).decode(errors="replace")


def _is_harmless(name: str) -> bool:
    return len(name) <= _MOST_MANGLED or not _CXX.match(name) or _is_of_rust(name)


def _is_of_rust(name: str) -> bool:
    """Of its older manner, which is identifiers with their lengths and a hash, and is read straight on."""
    found = _RUST.fullmatch(name)
    if found is None:
        return False
    path, at = found.group(1), 0
    while at < len(path):
        length = _IDENTIFIER.match(path, at)
        if length is None:
            return False
        at = length.end() + int(length.group())
    return at == len(path)
