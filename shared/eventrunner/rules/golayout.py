"""Go's fmt.Sprintf of one value: what `LogFormat` writes. Mistakes in a layout show as Go shows them.

It follows doPrintf of Go's fmt.
"""

from __future__ import annotations

from typing import Any

from eventrunner.rules.goprint import Flags, Printer, go_name
from eventrunner.rules.values import INT, KINDS, UINT

__all__ = ["format_value"]

_MAX_NUMBER = 1_000_000
"""Of a width or precision; Go takes no larger ones either."""


def format_value(layout: str, value: Any) -> str:
    """`fmt.Sprintf(layout, value)`."""
    return _Layout(layout, value).text()


class _Layout:
    """One pass over a layout. There is one argument, so its number is 0, and 1 when it is used up."""

    def __init__(self, layout: str, value: Any) -> None:
        self._layout, self._value = layout, value
        self._at = self._argument = 0
        self._reordered = False
        self._good_index = True

    def text(self) -> str:
        parts: list[str] = []
        while self._at < len(self._layout):
            end = self._layout.find("%", self._at)
            end = len(self._layout) if end < 0 else end
            parts.append(self._layout[self._at : end])
            self._at = end + 1
            if end < len(self._layout):
                parts.append(self._verb())
        if not self._reordered and self._argument == 0:
            parts.append(f"%!(EXTRA {go_name(self._value)}={Printer(Flags()).show(self._value)})")
        return "".join(parts)

    def _peek(self) -> str:
        return self._layout[self._at : self._at + 1]

    def _verb(self) -> str:
        flags, self._good_index = Flags(), True
        while (char := self._peek()) and char in "#0+- ":
            names = {"#": "sharp", "0": "zero", "+": "plus", "-": "minus", " ": "space"}
            setattr(flags, names[char], True)
            self._at += 1
        indexed = self._index()
        before, indexed = self._width(flags, indexed)
        more, indexed = self._precision(flags, indexed)
        if not indexed:
            self._index()
        verb = self._peek()
        self._at += 1
        return before + more + self._apply(flags, verb)

    def _apply(self, flags: Flags, verb: str) -> str:
        if not verb:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        if not self._good_index:
            return f"%!{verb}(BADINDEX)"
        if self._argument > 0:
            return f"%!{verb}(MISSING)"
        self._argument = 1
        if verb in "vw":
            flags.go_syntax, flags.sharp, flags.plus = flags.sharp, False, False
        return Printer(flags).argument(self._value, verb)

    def _index(self) -> bool:
        """Reads `[1]`; whether a number stood there."""
        if self._peek() != "[":
            return False
        self._reordered = True
        close = self._layout.find("]", self._at)
        digits = self._layout[self._at + 1 : close] if close >= 0 else ""
        is_number = digits.isascii() and digits.isdigit()
        self._at = close + 1 if close >= 0 else self._at + 1
        if is_number and int(digits[:9]) == 1:
            self._argument = 0
        else:
            self._good_index = False
        return is_number

    def _number(self) -> int | None:
        start = self._at
        while self._peek().isascii() and self._peek().isdigit():
            self._at += 1
        digits = self._layout[start : self._at]
        if len(digits.lstrip("0")) > 7:
            self._at = len(self._layout)
            return None
        return int(digits) if digits else None

    def _star(self) -> int | None:
        """The argument as a width or precision."""
        self._at += 1
        value, first = self._value, self._argument == 0
        self._argument += 1
        is_whole = first and KINDS.get(type(value), -1) in (INT, UINT)
        return int(value) if is_whole and abs(value) <= _MAX_NUMBER else None

    def _width(self, flags: Flags, indexed: bool) -> tuple[str, bool]:
        if self._peek() != "*":
            flags.width = self._number()
            self._good_index = self._good_index and not (indexed and flags.width is not None)
            return "", indexed
        width = self._star()
        if width is not None and width < 0:
            width, flags.minus, flags.zero = -width, True, False
        flags.width = width
        return "" if width is not None else "%!(BADWIDTH)", False

    def _precision(self, flags: Flags, indexed: bool) -> tuple[str, bool]:
        if self._peek() != ".":
            return "", indexed
        self._at += 1
        self._good_index = self._good_index and not indexed
        indexed = self._index()
        if self._peek() != "*":
            flags.precision = self._number() or 0
            return "", indexed
        precision = self._star()
        flags.precision = None if precision is not None and precision < 0 else precision
        return "" if flags.precision is not None else "%!(BADPREC)", False
