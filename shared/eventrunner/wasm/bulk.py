"""Converts values through private bindings of wasmtime for Python 50.0.1, lists of bytes at once.

A value is a kind and a union (`wasmtime_component_val_t`, 32 bytes); a list has one for each byte, so that every 32nd
byte of it, from the union's start, is the bytes. Arguments of a host function belong to the engine, results to whoever
gets them. https://docs.wasmtime.dev/c-api/component_2val_8h.html
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as bindings
from wasmtime import _ffi as ffi
from wasmtime import component
from wasmtime._slab import Slab

from eventrunner.wasm.conversion import Answer, HostFunction
from eventrunner.wasm.outcomes import Message
from eventrunner.wasm.running import failed

__all__ = ["Bulk"]

_Value = ffi.wasmtime_component_val_t
_SIZE: Final = ctypes.sizeof(_Value)
_AT: Final = _Value.of.offset
_BOOL, _U8, _U32, _U64, _STRING, _LIST, _RECORD, _ENUM, _OPTION, _RESULT = (
    int(getattr(ffi, f"WASMTIME_COMPONENT_{name}").value)
    for name in ("BOOL", "U8", "U32", "U64", "STRING", "LIST", "RECORD", "ENUM", "OPTION", "RESULT")
)
_FIELDS: Final = ("subject", "body", "reply-to")
# A function of its own, as the bindings' takes no bytes.
_new_vector = ffi.dll["wasm_byte_vec_new"]
_new_vector.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_new_vector.restype = None
_PIECE: Final = 64 * 1024
"""Bytes that are spread over their values at a time."""


class Bulk:
    def define(self, interface: component.LinkerInstance, name: str, function: HostFunction, answer: Answer) -> None:
        encoded = name.encode()
        number = _functions.allocate((function, _WRITERS[answer]))
        error = ffi.wasmtime_component_linker_instance_add_func(
            interface.ptr(), ctypes.create_string_buffer(encoded), len(encoded), _on_call, number, _on_forget
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)

    def call(self, function: component.Func, store: wasmtime.Store, message: Message) -> str | None:
        argument, result = _Value(), _Value()
        _write_message(argument, message)
        try:
            error = ffi.wasmtime_component_func_call(
                byref(function._func), store._context(), byref(argument), 1, byref(result), 1
            )
            if error:
                raise wasmtime.WasmtimeError._from_ptr(error)
        finally:
            ffi.wasmtime_component_val_delete(byref(argument))
        try:
            return _error_text(result)
        finally:
            ffi.wasmtime_component_val_delete(byref(result))


def _error_text(value: Any) -> str | None:
    _expect(value, _RESULT)
    if value.of.result.is_ok:
        return None
    return str(_read(value.of.result.val.contents))


def _read(value: Any) -> Any:
    """Any value of the kinds that the host's interfaces have."""
    kind = value.kind
    if kind in (_STRING, _ENUM):
        return _read_string(value.of.string)
    if kind == _LIST:
        return _read_bytes(value.of.list)
    if kind == _RECORD:
        return _read_message(value.of.record)
    if kind == _OPTION:
        return _read(value.of.option.contents) if value.of.option else None
    if kind == _U64:
        return value.of.u64
    _expect(value, _U32)
    return value.of.u32


def _read_message(record: Any) -> component.Record:
    """The only record that a host function is given, of the type that was checked when the guest was loaded."""
    entries = record.data
    result = component.Record()
    fields = result.__dict__
    for index, name in enumerate(_FIELDS):
        fields[name] = _read(entries[index].val)
    return result


def _read_bytes(values: Any) -> bytes:
    if not values.size:
        return b""
    _expect(values.data[0], _U8)
    raw = (ctypes.c_char * (values.size * _SIZE)).from_address(ctypes.addressof(values.data.contents))
    return bytes(memoryview(raw).cast("B")[_AT::_SIZE])


def _write_message(value: Any, message: Message) -> None:
    record = value.of.record
    ffi.wasmtime_component_valrecord_copy(byref(record), byref(_template))
    value.kind = _RECORD
    entries = record.data
    _write_string(entries[0].val, message.subject)
    _write_bytes(entries[1].val, message.body)
    _write_option(entries[2].val, message.reply_to)


def _message_template() -> Any:
    """Its names, which every message has; the values are numbers until they are written."""
    record = ffi.wasmtime_component_valrecord_t()
    ffi.wasmtime_component_valrecord_new_uninit(byref(record), len(_FIELDS))
    for index, name in enumerate(_FIELDS):
        entry = record.data[index]
        entry.name = ffi.str_to_capi(name)
        entry.val.kind = _U32
    return record


def _read_string(vector: Any) -> str:
    return ctypes.string_at(vector.data, vector.size).decode() if vector.size else ""


def _write_string(value: Any, text: str) -> None:
    content = text.encode()
    value.kind = _STRING
    _new_vector(byref(value.of.string), len(content), content)


def _write_option(value: Any, text: str | None) -> None:
    value.kind = _OPTION
    value.of.option = None if text is None else _boxed(text)


def _boxed(text: str) -> Any:
    """On the engine's heap."""
    inner = _Value()
    _write_string(inner, text)
    return ffi.wasmtime_component_val_new(byref(inner))


def _write_bytes(value: Any, content: bytes) -> None:
    values = value.of.list
    value.kind = _LIST
    ffi.wasmtime_component_vallist_new_uninit(byref(values), len(content))
    if not content:
        return
    address = ctypes.addressof(values.data.contents)
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        spread = bytearray(len(piece) * _SIZE)
        spread[0::_SIZE] = bytes([_U8]) * len(piece)
        spread[_AT::_SIZE] = piece
        ctypes.memmove(address + start * _SIZE, (ctypes.c_char * len(spread)).from_buffer(spread), len(spread))


def _write_result(value: Any, text: str | None) -> None:
    value.kind = _RESULT
    value.of.result.is_ok = text is None
    value.of.result.val = None if text is None else _boxed(text)


def _write_nothing(value: Any, answer: object) -> None:
    pass


_WRITERS: Final[dict[Answer, Callable[[Any, Any], None]]] = {
    Answer.NOTHING: _write_nothing,
    Answer.BYTES: _write_bytes,
    Answer.RESULT: _write_result,
}
_template: Final = _message_template()
_functions: Slab[tuple[HostFunction, Callable[[Any, Any], None]]] = Slab()


def _call(number: int, _context: Any, _kind: Any, values: Any, count: int, results: Any, _result_count: int) -> int:
    try:
        function, write = _functions.get(number)
        answer = function(*[_read(values[index]) for index in range(count)])
        write(results[0] if results else None, answer)
    except BaseException as error:
        return _raw(failed(error))
    return 0


def _raw(error: wasmtime.WasmtimeError) -> int:
    return ctypes.cast(error._consume(), ctypes.c_void_p).value or 0


def _expect(value: Any, kind: int) -> None:
    if value.kind != kind:
        raise wasmtime.WasmtimeError(f"a value of kind {value.kind} where {kind} was expected")


_on_call = bindings.wasmtime_component_func_callback_t(_call)
_on_forget = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_functions.deallocate)
