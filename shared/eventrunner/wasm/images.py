"""Data of large memories, which instances share until they write to them.

The engine copies a module's data into the memory of each instance, all 11 MB of a guest in Python, as it cannot map
them into memory that is not its own (`memory.py`). So they are taken out of the code before it is compiled, and
memories are mapped from an image of them: a page costs something once it is used. To the guest nothing is different.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from eventrunner.wasm.cursor import Cursor, Malformed
from eventrunner.wasm.externs import module_import_kind

__all__ = ["Image", "Images", "take_out_data"]

_LEAST: Final = 64 * 1024
"""Bytes of data that are worth an image."""
_MOST_SPACE: Final = 2
"""Bytes of an image for each byte of data: what is scattered over many pages would take them all."""
_MOST_SECTIONS: Final = 100_000
"""Of all modules and components together; and segments of one module, which the engine allows too."""
_MOST_IMPORTS: Final = 10_000
_COMPONENT_LAYER: Final = b"\0asm\x0d\0\x01\0"
_MODULE_LAYER: Final = b"\0asm\x01\0\0\0"
_IN_COMPONENT: Final = {1: _MODULE_LAYER, 4: _COMPONENT_LAYER}
"""Sections of a component that are modules and components."""
_IMPORTS, _MEMORIES, _DATA = 2, 5, 11
_MEMORY_KIND: Final = 0x02
_I32_CONST, _END = 0x41, 0x0B
_WASM_PAGE: Final = 65536
_LONG: Final = 5
"""Bytes of a number of 32 bits in its longest form."""


class Image:
    """A file without a name, which is gone with the last one that has it."""

    def __init__(self, content: Sequence[tuple[int, memoryview]]) -> None:
        """Of what lies where; what comes later lies over what came before. Raises OSError."""
        end = max(start + len(part) for start, part in content)
        self.length: Final = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
        """Bytes, whole pages."""
        self.descriptor: Final = os.memfd_create("wasm-data", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, self.length)
        for start, part in content:
            _write(self.descriptor, part, start)


Images: TypeAlias = Mapping[int, Image]
"""By the bytes that a memory has at the start. A guest has no other memory that has so many."""


class _Section(NamedTuple):
    identifier: int
    start: int
    """Of its identifier."""
    content: int
    end: int


@dataclass(slots=True)
class _Segments:
    """Of a module with one memory, all of whose data lie at places that its code says."""

    minimum: int
    section: _Section
    heads: list[bytes]
    """What the segments are without their data; passive ones are whole."""
    content: list[tuple[int, memoryview]]


def take_out_data(code: bytes) -> tuple[bytes, Images]:
    """The code, of the same length, without the data that are in the images. What cannot be read stays as it is."""
    if not hasattr(os, "memfd_create"):
        return code, {}
    try:
        minimums, found = _read(code)
        changed, images = bytearray(code), {}
        for module in found:
            if minimums[module.minimum] == 1:
                images[module.minimum] = Image(module.content)
                changed[module.section.start : module.section.end] = _emptied(module)
    except (Malformed, OSError):
        return code, {}
    return (bytes(changed), images) if images else (code, {})


def _read(code: bytes) -> tuple[Counter[int], list[_Segments]]:
    """How many memories there are of each size, and the modules whose data can be taken out."""
    minimums: Counter[int] = Counter()
    found = []
    for module in _modules(code):
        sizes = list(_memories(code, module))
        minimums.update(sizes)
        segments = _segments(code, module, sizes)
        if segments is not None:
            found.append(segments)
    return minimums, found


def _modules(code: bytes) -> Iterator[list[_Section]]:
    """The sections of each module, however deep it lies in components."""
    left = _MOST_SECTIONS
    pending = [(0, len(code))]
    while pending:
        start, end = pending.pop()
        layer = code[start : start + 8]
        sections = list(_sections(code, start + 8, end, left))
        left -= len(sections)
        if layer == _MODULE_LAYER:
            yield sections
        elif layer == _COMPONENT_LAYER:
            pending += [(one.content, one.end) for one in sections if one.identifier in _IN_COMPONENT]
        else:
            raise Malformed(f"an unknown layer at byte {start}")


def _sections(code: bytes, start: int, end: int, most: int) -> Iterator[_Section]:
    cursor = Cursor(code, start, end)
    while not cursor.is_done:
        if (most := most - 1) < 0:
            raise Malformed(f"it has more than {_MOST_SECTIONS} sections")
        begin, identifier, length = cursor.at, cursor.byte(), cursor.unsigned()
        content = cursor.at
        cursor.part(length)
        yield _Section(identifier, begin, content, cursor.at)


def _memories(code: bytes, module: list[_Section]) -> Iterator[int]:
    """How large they are at the start, in bytes."""
    for section in module:
        if section.identifier == _MEMORIES:
            cursor = Cursor(code, section.content, section.end)
            for _ in range(cursor.count()):
                if (flags := cursor.byte()) > 1:
                    raise Malformed(f"a memory has the flags {flags:#04x}")
                yield cursor.unsigned() * _WASM_PAGE
                if flags:
                    cursor.unsigned()


def _segments(code: bytes, module: list[_Section], sizes: list[int]) -> _Segments | None:
    section = next((one for one in module if one.identifier == _DATA), None)
    if section is None or section.end - section.content < _LEAST or len(sizes) != 1 or _imports_memory(code, module):
        return None
    found = _Segments(sizes[0], section, [], [])
    cursor = Cursor(code, section.content, section.end)
    count = cursor.count()
    if count > _MOST_SECTIONS or not all(_read_segment(code, cursor, found) for _ in range(count)):
        return None
    if not cursor.is_done:
        raise Malformed("the data are longer than what is there")
    ends = [start + len(part) for start, part in found.content]
    if not ends or max(ends) > found.minimum or sum(len(part) for _, part in found.content) < _LEAST:
        return None
    return found if max(ends) <= _MOST_SPACE * (section.end - section.content) else None


def _imports_memory(code: bytes, module: list[_Section]) -> bool:
    for section in module:
        if section.identifier == _IMPORTS:
            cursor = Cursor(code, section.content, section.end)
            if (count := cursor.count()) > _MOST_IMPORTS:
                raise Malformed(f"{count} imports")
            if _MEMORY_KIND in [module_import_kind(cursor) for _ in range(count)]:
                return True
    return False


def _read_segment(code: bytes, cursor: Cursor, found: _Segments) -> bool:
    """False: where it lies is not a plain number."""
    begin = cursor.at
    flags = cursor.unsigned()
    place = None
    if flags != 1:
        place = _place(cursor) if flags == 0 else None
        if place is None:
            return False
    head = cursor.at
    length = cursor.unsigned()
    start = cursor.at
    cursor.part(length)
    if place is None:
        found.heads.append(code[begin : cursor.at])
    else:
        found.heads.append(code[begin:head] + b"\0")
        found.content.append((place, memoryview(code)[start : cursor.at]))
    return True


def _place(cursor: Cursor) -> int | None:
    if cursor.byte() != _I32_CONST:
        return None
    begin = cursor.at
    number = cursor.unsigned()
    is_negative = number >> (7 * (cursor.at - begin) - 1)
    return None if cursor.byte() != _END or is_negative else number


def _emptied(module: _Segments) -> bytes:
    """The section of data without them, and as much as was there of a section that means nothing."""
    section = module.section
    count, heads = len(module.heads), b"".join(module.heads)
    content = _long(count) + heads
    data = bytes([_DATA]) + _long(len(content)) + content
    rest = section.end - section.start - len(data) - 1 - _LONG
    return data + b"\0" + _long(rest) + bytes(rest)


def _long(number: int) -> bytes:
    """LEB128 in five bytes."""
    return bytes([number >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)] + [number >> 28])


def _write(descriptor: int, part: memoryview, start: int) -> None:
    while part:
        written = os.pwrite(descriptor, part, start)
        part, start = part[written:], start + written
