"""Calls into core modules and out of them, in 32-bit numbers, through private bindings of wasmtime for Python.

The public way keeps an exception of a host function in one place for all threads, so that one guest's could be told of
another one. Here it becomes a trap of the guest that made the call. https://docs.wasmtime.dev/c-api/func_8h.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref
from typing import Any, Final, TypeAlias

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi
from wasmtime._slab import Slab

from eventrunner.wasm.running import failed

__all__ = ["MEMORY", "CoreFunction", "GuestMemory", "call_core", "define_core"]

MEMORY: Final = "memory"
"""The name under which a module must export it."""
_I32: Final = int(ffi.WASMTIME_I32.value)
_UNSIGNED: Final = 0xFFFF_FFFF


class GuestMemory:
    """Of the module that makes a call of the host, for that time only."""

    def __init__(self, caller: wasmtime.Caller) -> None:
        memory = caller.get(MEMORY)
        if not isinstance(memory, wasmtime.Memory):
            raise wasmtime.WasmtimeError(f"the module exports no {MEMORY}")
        self._size = memory.data_len(caller)
        self._address = ctypes.addressof(memory.data_ptr(caller).contents) if self._size else 0

    def read(self, start: int, length: int) -> bytes:
        """Raises WasmtimeError outside the memory."""
        self.check(start, length)
        return ctypes.string_at(self._address + start, length)

    def write(self, start: int, content: bytes) -> None:
        """Raises WasmtimeError outside the memory."""
        self.check(start, len(content))
        ctypes.memmove(self._address + start, content, len(content))

    def check(self, start: int, length: int) -> None:
        """Raises WasmtimeError outside the memory."""
        if start + length > self._size:
            raise wasmtime.WasmtimeError(f"{length} bytes at {start} are outside the memory of {self._size} bytes")


CoreFunction: TypeAlias = Callable[..., int | None]
"""Is given the memory of the guest and unsigned numbers. Raises WasmtimeError to break the guest off."""


def define_core(
    linker: wasmtime.Linker, module: str, name: str, kind: wasmtime.FuncType, function: CoreFunction
) -> None:
    number = _functions.allocate(function)
    encoded = module.encode(), name.encode()
    error = ffi.wasmtime_linker_define_func(
        linker.ptr(),
        ctypes.create_string_buffer(encoded[0]),
        len(encoded[0]),
        ctypes.create_string_buffer(encoded[1]),
        len(encoded[1]),
        kind.ptr(),
        _on_call,
        number,
        _on_forget,
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


def call_core(store: wasmtime.Store, function: wasmtime.Func, *values: int, results: int = 0) -> int:
    """The first result, or 0. Raises WasmtimeError or Trap."""
    arguments = (ffi.wasmtime_val_t * len(values))()
    for argument, value in zip(arguments, values, strict=True):
        argument.kind, argument.of.i32 = _I32, value
    answers = (ffi.wasmtime_val_t * max(results, 1))()
    trap = ctypes.POINTER(ffi.wasm_trap_t)()
    error = ffi.wasmtime_func_call(
        store._context(), byref(function._func), arguments, len(values), answers, results, byref(trap)
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    if trap:
        raise wasmtime.Trap._from_ptr(trap)
    return int(answers[0].of.i32) if results else 0


_functions: Slab[CoreFunction] = Slab()


def _call(number: int, raw: Any, values: Any, count: int, results: Any, result_count: int) -> int:
    caller = wasmtime.Caller(raw)
    try:
        function = _functions.get(number)
        answer = function(GuestMemory(caller), *[values[index].of.i32 & _UNSIGNED for index in range(count)])
        if result_count:
            results[0].kind, results[0].of.i32 = _I32, answer or 0
    except BaseException as error:
        return _trap(str(failed(error)))
    finally:
        caller._invalidate()
    return 0


def _trap(text: str) -> int:
    return ctypes.cast(wasmtime.Trap(text)._consume(), ctypes.c_void_p).value or 0


_on_call = bindings.wasmtime_func_callback_t(_call)
_on_forget = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_functions.deallocate)
