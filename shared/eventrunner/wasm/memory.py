"""The linear memories of guests, counted: who has how much, how much it was at most, and whether more was refused.

The engine tells nobody how large the memory of a component is, and a guest that was refused memory traps like any
other. So memories are mapped here, as the engine asks for them: a reservation that a 32-bit address cannot leave, a
guard behind it, and of that as much accessible as the guest has. Freed mappings are emptied and kept for the next one.
https://docs.wasmtime.dev/api/wasmtime/trait.MemoryCreator.html
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as bindings

from eventrunner.wasm.images import Image, Images

__all__ = ["MemoryAccount", "charge_to", "count_memories"]

_MOST_KEPT: Final = 32
"""Mappings; they have no pages, only addresses."""
_PAGE: Final = mmap.PAGESIZE
_NO_RESERVE: Final = 0x4000
_EMPTY: Final = mmap.MAP_ANONYMOUS
_OVER: Final = 0x10
"""MAP_FIXED: in the place of what is there."""
_NO_ACCESS: Final = 0
_READ_WRITE: Final = mmap.PROT_READ | mmap.PROT_WRITE
_FAILED: Final = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


@dataclass(slots=True)
class MemoryAccount:
    """Of one instance; all its memories together."""

    limit: int
    """Bytes."""
    used: int = 0
    """Bytes; also the most there ever were, as a memory never shrinks."""
    refused: bool = False
    """Whether more was asked for than the limit allows."""
    images: Images = field(default_factory=dict)
    """What is in memories at the start, unless they are empty."""

    def take(self, more: int) -> bool:
        if self.used + more > self.limit:
            self.refused = True
            return False
        self.used += more
        return True


class _Mapping:
    __slots__ = ("accessible", "address", "image", "length")

    def __init__(self, length: int, image: Image | None) -> None:
        self.address = _map(None, length, _EMPTY, -1)
        self.length = length
        self.image = image
        self.accessible = 0
        if image is not None:
            _map(self.address, image.length, _OVER, image.descriptor)

    def make_accessible(self, size: int) -> None:
        """Exactly so many bytes, rounded up to whole pages of this machine."""
        size = -(-size // _PAGE) * _PAGE
        if size > self.accessible:
            self._protect(self.accessible, size, _READ_WRITE)
        elif size < self.accessible:
            self._protect(size, self.accessible, _NO_ACCESS)
        self.accessible = size

    def empty(self) -> None:
        """Of what was written: an image is there again."""
        if self.accessible and _libc.madvise(self.address, self.accessible, mmap.MADV_DONTNEED):
            raise MemoryError(f"memory cannot be emptied: {ctypes.get_errno()}")

    def unmap(self) -> None:
        _libc.munmap(self.address, self.length)

    def _protect(self, start: int, end: int, protection: int) -> None:
        if _libc.mprotect(self.address + start, end - start, protection):
            raise MemoryError(f"memory cannot be protected: {ctypes.get_errno()}")


def _map(place: int | None, length: int, flags: int, descriptor: int) -> int:
    address: int = _libc.mmap(place, length, _NO_ACCESS, flags | mmap.MAP_PRIVATE | _NO_RESERVE, descriptor, 0)
    if address == _FAILED:
        raise MemoryError(f"no {length} bytes of addresses: {ctypes.get_errno()}")
    return address


class _Memory:
    __slots__ = ("account", "capacity", "mapping", "size")

    def __init__(self, mapping: _Mapping, size: int, capacity: int, account: MemoryAccount) -> None:
        self.mapping = mapping
        self.size = size
        self.capacity = capacity
        self.account = account


_memories: dict[int, _Memory] = {}
_kept: list[_Mapping] = []
_numbers = itertools.count(1)
_thread = threading.local()


class charge_to:
    """Inside, memories that this thread's guests are given belong to the account."""

    __slots__ = ("_account",)

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    def __enter__(self) -> None:
        _thread.account = self._account

    def __exit__(self, *_: object) -> None:
        _thread.account = None


def count_memories(config: wasmtime.Config) -> None:
    """Has the engine ask here for memory. It cannot map data copy-on-write then: what is in no image is copied."""
    config.memory_init_cow = False
    bindings.wasmtime_config_host_memory_creator_set(config.ptr(), ctypes.byref(_creator))


def _mapping(length: int, image: Image | None) -> _Mapping:
    for _ in range(len(_kept)):
        try:
            mapping = _kept.pop()
        except IndexError:
            break
        if mapping.length == length and mapping.image is image:
            return mapping
        _kept.insert(0, mapping)
    return _Mapping(length, image)


def _error(text: str) -> int:
    return ctypes.cast(wasmtime.WasmtimeError(text)._consume(), ctypes.c_void_p).value or 0


# An exception that leaves a callback of ctypes is printed and passed over, and the engine would go on with nothing.
def _new(_env: Any, _kind: Any, minimum: int, _maximum: int, reserved: int, guard: int, out: Any) -> int:
    try:
        account: MemoryAccount | None = getattr(_thread, "account", None)
        if account is None:
            return _error("no call is running that the memory could be charged to")
        if not account.take(minimum):
            return _error(f"a memory of {minimum} bytes is over the limit of {account.limit}")
        capacity = max(reserved, minimum)
        mapping = _mapping(capacity + guard, account.images.get(minimum))
        mapping.make_accessible(minimum)
        number = next(_numbers)
        _memories[number] = _Memory(mapping, minimum, capacity, account)
        memory = out[0]
        memory.env, memory.get_memory, memory.grow_memory, memory.finalizer = number, _on_get, _on_grow, _on_free
    except BaseException as error:
        return _error(str(error))
    return 0


def _get(number: int, size: Any, capacity: Any) -> int:
    try:
        return _look_up(number, size, capacity)
    except BaseException:
        # A signal's; it cannot be told to the engine.
        return _look_up(number, size, capacity)


def _look_up(number: int, size: Any, capacity: Any) -> int:
    memory = _memories[number]
    size[0], capacity[0] = memory.size, memory.capacity
    return memory.mapping.address


def _grow(number: int, size: int) -> int:
    try:
        memory = _memories[number]
        if size > memory.capacity or not memory.account.take(size - memory.size):
            return _error(f"a memory of {size} bytes is over the limit")
        memory.mapping.make_accessible(size)
        memory.size = size
    except BaseException as error:
        return _error(str(error))
    return 0


def _free(number: int) -> None:
    mapping = _memories.pop(number).mapping
    mapping.empty()
    _kept.append(mapping)
    while len(_kept) > _MOST_KEPT:
        # The one that nobody has wanted for the longest time.
        with suppress(IndexError):
            _kept.pop(0).unmap()


_Finalizer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_on_get = bindings.wasmtime_memory_get_callback_t(_get)
_on_grow = bindings.wasmtime_memory_grow_callback_t(_grow)
_on_free = _Finalizer(_free)
_creator = bindings.wasmtime_memory_creator_t(None, bindings.wasmtime_new_memory_callback_t(_new), _Finalizer())
