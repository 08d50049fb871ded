"""The fuel of a store and its time, set before each call and read after it.

The usual bindings give up the interpreter's lock for each, some nanoseconds of work: whoever waits for it gets it then,
which costs more than a short call of the guest. Here it is kept.
https://docs.wasmtime.dev/c-api/store_8h.html
"""

from __future__ import annotations

import ctypes
from ctypes import byref

import wasmtime
from wasmtime import _ffi as ffi

__all__ = ["fuel_left", "set_budget"]

_Context = ctypes.POINTER(ffi.wasmtime_context)
_Error = ctypes.POINTER(ffi.wasmtime_error_t)
_library = ctypes.PyDLL(ffi.dll._name)
_set_fuel = _library.wasmtime_context_set_fuel
_set_fuel.argtypes, _set_fuel.restype = [_Context, ctypes.c_uint64], _Error
_get_fuel = _library.wasmtime_context_get_fuel
_get_fuel.argtypes, _get_fuel.restype = [_Context, ctypes.POINTER(ctypes.c_uint64)], _Error
_set_deadline = _library.wasmtime_context_set_epoch_deadline
_set_deadline.argtypes, _set_deadline.restype = [_Context, ctypes.c_uint64], None


def set_budget(store: wasmtime.Store, fuel: int, ticks: int) -> None:
    """`ticks`: of the engine's epoch, from the present one on. Raises WasmtimeError if the engine counts no fuel."""
    context = store._context()
    if error := _set_fuel(context, fuel):
        raise wasmtime.WasmtimeError._from_ptr(error)
    _set_deadline(context, ticks)


def fuel_left(store: wasmtime.Store) -> int:
    """Raises WasmtimeError if the engine counts no fuel."""
    fuel = ctypes.c_uint64()
    if error := _get_fuel(store._context(), byref(fuel)):
        raise wasmtime.WasmtimeError._from_ptr(error)
    return fuel.value
