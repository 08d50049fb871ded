"""The top-level sections of a WebAssembly binary, of a core module or of a component, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from eventrunner.wasm.cursor import Cursor, Malformed

__all__ = ["PREAMBLE", "Section", "leb", "read_sections"]

PREAMBLE: Final = 8
"""Bytes before the first section."""
_CUSTOM: Final = 0
_MOST: Final = 100_000
"""Of three bytes each they would keep a process busy for long; compilers write some dozens."""


class Section(NamedTuple):
    identifier: int
    start: int
    """Where its identifier is."""
    content: int
    end: int

    def cursor(self, code: bytes) -> Cursor:
        return Cursor(code, self.content, self.end)

    def custom(self, code: bytes) -> tuple[str, int] | None:
        """Its name and where what follows the name begins; None: it is no custom section. Raises Malformed."""
        if self.identifier != _CUSTOM:
            return None
        cursor = self.cursor(code)
        return cursor.text(), cursor.at


def read_sections(code: bytes) -> Iterator[Section]:
    """Raises Malformed."""
    cursor = Cursor(code, PREAMBLE)
    for _ in range(_MOST):
        if cursor.is_done:
            return
        start = cursor.at
        identifier, size = cursor.byte(), cursor.unsigned()
        content = cursor.at
        cursor.part(size)
        yield Section(identifier, start, content, cursor.at)
    if not cursor.is_done:
        raise Malformed(f"it has more than {_MOST} sections")


def leb(number: int) -> bytes:
    """LEB128, in as few bytes as it takes."""
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
