"""A place in a binary, and the numbers and texts that WebAssembly has there."""

from __future__ import annotations

__all__ = ["Cursor", "Malformed"]

_MOST_BYTES = 10
"""Of a number of 64 bits."""


class Malformed(Exception):
    """What is there cannot be read; the text says where and why."""


class Cursor:
    def __init__(self, code: bytes, start: int = 0, end: int | None = None) -> None:
        self._code = code
        self._at = start
        self._end = len(code) if end is None else end

    @property
    def at(self) -> int:
        return self._at

    @property
    def is_done(self) -> bool:
        return self._at >= self._end

    def byte(self) -> int:
        if self._at >= self._end:
            raise Malformed(f"it ends at byte {self._at}, in the middle of something")
        self._at += 1
        return self._code[self._at - 1]

    def unsigned(self) -> int:
        """LEB128. Read generously up to 64 bits, as signed numbers are, which are only passed over."""
        result = 0
        for index in range(_MOST_BYTES):
            byte = self.byte()
            result |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return result
        raise Malformed(f"a number is too long at byte {self._at}")

    def count(self) -> int:
        """Of items that follow, each of which has a byte at least."""
        number = self.unsigned()
        if number > self._end - self._at:
            raise Malformed(f"{number} items are announced where {self._end - self._at} bytes are left")
        return number

    def part(self, length: int) -> Cursor:
        """The next bytes as a cursor of their own."""
        start = self._skip(length)
        return Cursor(self._code, start, self._at)

    def take(self, length: int) -> bytes:
        start = self._skip(length)
        return self._code[start : self._at]

    def text(self) -> str:
        start = self._skip(self.unsigned())
        try:
            return self._code[start : self._at].decode()
        except UnicodeDecodeError:
            raise Malformed(f"the name at byte {start} is not UTF-8") from None

    def fail(self, what: str) -> Malformed:
        return Malformed(f"{what} at byte {self._at - 1}")

    def _skip(self, length: int) -> int:
        start = self._at
        if length > self._end - start:
            raise Malformed(f"{length} bytes are announced at byte {start}, {self._end - start} are left")
        self._at += length
        return start
