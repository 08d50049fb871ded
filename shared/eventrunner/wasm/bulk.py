"""Converts values through private bindings of wasmtime for Python 50.0.1, lists of bytes at once.

A value is a kind and a union (`wasmtime_component_val_t`, 32 bytes); a list has one for each byte, so that every 32nd
byte of it, from the union's start, is the bytes. Values are read and written as numbers at an address, because an
object of ctypes for each of their parts takes longer than the call. The engine copies the argument of a call, so each
thread has memory for it that is used again. Arguments of a host function belong to the engine, results to whoever gets
them. https://docs.wasmtime.dev/c-api/component_2val_8h.html
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable
from ctypes import byref, string_at
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
_Entry = ffi.wasmtime_component_valrecord_entry_t
_SIZE: Final = ctypes.sizeof(_Value)
_AT: Final = _Value.of.offset
_BOOL, _U8, _U32, _U64, _STRING, _LIST, _RECORD, _ENUM, _OPTION, _RESULT = (
    int(getattr(ffi, f"WASMTIME_COMPONENT_{name}").value)
    for name in ("BOOL", "U8", "U32", "U64", "STRING", "LIST", "RECORD", "ENUM", "OPTION", "RESULT")
)
_VALUE: Final = struct.Struct("@B7xNN8x")
"""Kind; and of the union: a number, a pointer or a size, and the pointer to what has that size."""
_FIELDS: Final = ("subject", "body", "reply-to")
_STARTS: Final = range(2, 5 * len(_FIELDS), 5)
"""Of the values, among the numbers of a message."""
_MESSAGE: Final = struct.Struct("@" + "NNB7xNN8x" * len(_FIELDS))
"""Of each field the name, size and pointer, and the value."""
if (_VALUE.size, _AT) != (_SIZE, 8) or _MESSAGE.size != ctypes.sizeof(_Entry) * len(_FIELDS):
    raise ImportError("values do not lie as they did")
_WRITE: Final = 0x200
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_view.restype = ctypes.py_object
# A function of its own, as the bindings' takes no bytes.
_new_vector = ffi.dll["wasm_byte_vec_new"]
_new_vector.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_new_vector.restype = None
_PIECE: Final = 64 * 1024
"""Bytes that are picked from their values at a time."""
_MOST_KEPT: Final = 64 * 1024
"""Bytes of a body for which a thread keeps memory, 32 times as much."""
_thread = threading.local()


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
        slot = _slot()
        kept = slot.write(message)
        result = slot.result
        error = ffi.wasmtime_component_func_call(
            byref(function._func), store._context(), slot.argument, 1, byref(result), 1
        )
        del kept
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
        kind, is_ok, payload = _VALUE.unpack(result)
        _expect(kind, _RESULT)
        if is_ok & 1:
            return None
        try:
            return str(_read_at(payload))
        finally:
            ffi.wasmtime_component_val_delete(byref(result))
            # The engine frees what is there when it writes the next one.
            result.kind = _BOOL


class _Block:
    """Memory at an address that does not change."""

    __slots__ = ("_held", "address", "content")

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        # As long as it is held, the bytes cannot become more or fewer.
        self._held = (ctypes.c_char * size).from_buffer(self.content)
        self.address = ctypes.addressof(self._held)


class _List(_Block):
    """Of values that are bytes."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        super().__init__(count * _SIZE)
        self.count = count
        self.content[::_SIZE] = bytes([_U8]) * count


class _Slot:
    """What a thread's calls hand over and get back."""

    __slots__ = ("_entries", "_heads", "_list", "_names", "_option", "_record", "_text", "argument", "result")

    def __init__(self) -> None:
        self._entries = _Block(_MESSAGE.size)
        self._names = [_block_of(name.encode()) for name in _FIELDS]
        self._heads = [(len(name.content), name.address) for name in self._names]
        self._text = _Block(1024)
        self._option = _Block(_SIZE)
        self._list = _List(1024)
        self._record = _block_of(_VALUE.pack(_RECORD, len(_FIELDS), self._entries.address))
        self.argument = ctypes.cast(self._record.address, ctypes.POINTER(_Value))
        self.result = _Value()

    def write(self, message: Message) -> object:
        """What must live until the call is over."""
        body = message.body
        values = self._list_for(len(body))
        if body:
            values.content[_AT : len(body) * _SIZE : _SIZE] = body
        subject, reply_to = message.subject.encode(), (message.reply_to or "").encode()
        text = self._text_for(len(subject) + len(reply_to))
        text.content[: len(subject)] = subject
        option = 0
        if message.reply_to is not None:
            text.content[len(subject) : len(subject) + len(reply_to)] = reply_to
            _VALUE.pack_into(self._option.content, 0, _STRING, len(reply_to), text.address + len(subject))
            option = self._option.address
        names = self._heads
        _MESSAGE.pack_into(
            self._entries.content,
            0,
            *(*names[0], _STRING, len(subject), text.address),
            *(*names[1], _LIST, len(body), values.address),
            *(*names[2], _OPTION, option, 0),
        )
        return values

    def _list_for(self, count: int) -> _List:
        if count <= self._list.count:
            return self._list
        if count > _MOST_KEPT:
            return _List(count)
        self._list = _List(min(2 * count, _MOST_KEPT))
        return self._list

    def _text_for(self, size: int) -> _Block:
        if size > len(self._text.content):
            self._text = _Block(size)
        return self._text


def _slot() -> _Slot:
    try:
        slot: _Slot = _thread.slot
    except AttributeError:
        slot = _thread.slot = _Slot()
    return slot


def _block_of(content: bytes) -> _Block:
    block = _Block(len(content))
    block.content[:] = content
    return block


def _read_at(address: int) -> Any:
    return _read(*_VALUE.unpack(string_at(address, _SIZE)))


def _read(kind: int, first: int, second: int) -> Any:
    """Any value of the kinds that the host's interfaces have."""
    if kind in (_STRING, _ENUM):
        return _read_string(first, second)
    if kind == _LIST:
        return _read_bytes(first, second)
    if kind == _RECORD:
        return _read_message(second)
    if kind == _OPTION:
        return _read_at(first) if first else None
    if kind == _U64:
        return first
    _expect(kind, _U32)
    return first & 0xFFFF_FFFF


def _read_message(entries: int) -> Message:
    """The only record that a host function is given, of the type that was checked when the guest was loaded."""
    fields = _MESSAGE.unpack(string_at(entries, _MESSAGE.size))
    return Message(*[_read(*fields[at : at + 3]) for at in _STARTS])


def _read_string(size: int, address: int) -> str:
    return string_at(address, size).decode() if size else ""


def _read_bytes(size: int, address: int) -> bytes:
    if not size:
        return b""
    _expect(string_at(address, 1)[0], _U8)
    # A slice of bytes is ten times as fast as one of a memoryview.
    pieces = range(0, size, _PIECE)
    return b"".join(
        string_at(address + start * _SIZE + _AT, min(_PIECE, size - start) * _SIZE - _AT)[::_SIZE] for start in pieces
    )


def _write_string(value: Any, text: str) -> None:
    content = text.encode()
    value.kind = _STRING
    _new_vector(byref(value.of.string), len(content), content)


def _boxed(text: str) -> Any:
    """On the engine's heap."""
    inner = _Value()
    _write_string(inner, text)
    return ffi.wasmtime_component_val_new(byref(inner))


def _write_bytes(address: int, content: bytes) -> None:
    value = _Value.from_address(address)
    values = value.of.list
    value.kind = _LIST
    ffi.wasmtime_component_vallist_new_uninit(byref(values), len(content))
    if content:
        spread = _view(ctypes.addressof(values.data.contents), len(content) * _SIZE, _WRITE)
        spread[::_SIZE] = bytes([_U8]) * len(content)
        spread[_AT::_SIZE] = content


def _write_result(address: int, text: str | None) -> None:
    if text is None:
        ctypes.memmove(address, _OK, _SIZE)
        return
    value = _Value.from_address(address)
    value.kind = _RESULT
    value.of.result.is_ok = False
    value.of.result.val = _boxed(text)


def _write_nothing(address: int, answer: object) -> None:
    pass


_OK: Final = _VALUE.pack(_RESULT, 1, 0)
_WRITERS: Final[dict[Answer, Callable[[int, Any], None]]] = {
    Answer.NOTHING: _write_nothing,
    Answer.BYTES: _write_bytes,
    Answer.RESULT: _write_result,
}
_functions: Slab[tuple[HostFunction, Callable[[int, Any], None]]] = Slab()


def _call(number: int, _context: int, _kind: int, values: int, count: int, results: int, _result_count: int) -> int:
    try:
        function, write = _functions.get(number)
        arguments = _VALUE.iter_unpack(string_at(values, count * _SIZE)) if count else ()
        write(results, function(*[_read(*argument) for argument in arguments]))
    except BaseException as error:
        return _raw(failed(error))
    return 0


def _raw(error: wasmtime.WasmtimeError) -> int:
    return ctypes.cast(error._consume(), ctypes.c_void_p).value or 0


def _expect(kind: int, expected: int) -> None:
    if kind != expected:
        raise wasmtime.WasmtimeError(f"a value of kind {kind} where {expected} was expected")


# Addresses come as numbers, not as pointers to something.
_Callback = ctypes.CFUNCTYPE(ctypes.c_size_t, *[ctypes.c_void_p] * 4, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)
_callback = _Callback(_call)
_on_call = ctypes.cast(_callback, bindings.wasmtime_component_func_callback_t)
_on_forget = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_functions.deallocate)
