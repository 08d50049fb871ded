"""A value as Go's fmt prints it under a verb and its flags: printArg and printValue, for the types that rules have."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventrunner.rules import gotime
from eventrunner.rules.goformat import binary_float, hex_float, quote, quote_rune, sprint
from eventrunner.rules.values import (
    ARRAY,
    BOOL,
    FLOAT,
    INT,
    KINDS,
    MAP,
    NULL,
    STRING,
    STRINGS,
    TIME,
    UINT,
    Duration,
    GoInt,
    Month,
    Weekday,
    real,
)

__all__ = ["Flags", "Printer", "go_name"]

_MAX_RUNE = 0x10FFFF
_GO_NAMES = {
    FLOAT: "float64",
    INT: "int64",
    UINT: "uint64",
    STRING: "string",
    BOOL: "bool",
    NULL: "<nil>",
    ARRAY: "[]interface {}",
    STRINGS: "[]string",
    MAP: "map[string]interface {}",
    TIME: "time.Time",
}
_BASES = {"d": 10, "v": 10, "b": 2, "o": 8, "O": 8, "x": 16, "X": 16}
_NAMED = (Duration, Month, Weekday)
_PREFIXES = {"b": "0b", "x": "0x", "X": "0X"}
_NOT_RAW = re.compile("[\x00-\x08\x0a-\x1f`\x7f\ufeff]")


@dataclass(slots=True)
class Flags:
    plus: bool = False
    minus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    go_syntax: bool = False
    """`%#v`."""
    width: int | None = None
    precision: int | None = None

    def pad(self, text: str, *, zero: bool | None = None) -> str:
        width = self.width or 0
        if self.minus:
            return text.ljust(width)
        return text.rjust(width, "0" if (self.zero if zero is None else zero) else " ")


class Printer:
    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._erring = False

    def argument(self, value: Any, verb: str) -> str:
        if verb == "T":
            return self._string(go_name(value), "s")
        if value is None:
            return self._flags.pad("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
        return self.show(value, verb)

    def show(self, value: Any, verb: str = "v") -> str:
        kind = KINDS.get(type(value), -1)
        if kind in (TIME, ARRAY, STRINGS, MAP) or type(value) in _NAMED:
            own = self._own_text(value, verb)
            if own is not None:
                return own
        if kind == FLOAT:
            return self._float(real(value), verb, value)
        if kind in (INT, UINT):
            return self._integer(int(value), verb, value)
        if kind == STRING:
            return self._string(value, verb)
        if kind == BOOL:
            return self._flags.pad("true" if value else "false") if verb in "tv" else self._bad(verb, value)
        if kind == TIME:
            return gotime.text(value) if self._erring else self._bad(verb, value)
        if kind == NULL:
            return "interface {}(nil)" if self._flags.go_syntax else "<nil>"
        return self._many(value, verb)

    def _own_text(self, value: Any, verb: str) -> str | None:
        """Of types with methods for it; and nothing but an error has a %w."""
        if self._erring:
            return None
        if verb == "w":
            return self._bad(verb, value)
        if isinstance(value, datetime) and self._flags.go_syntax:
            return self._string(gotime.go_text(value), "s")
        if verb in "vsxXq" and not self._flags.go_syntax:
            if isinstance(value, datetime):
                return self._string(gotime.text(value), verb)
            named = gotime.named_text(value) if type(value) in _NAMED else None
            return None if named is None else self._string(named, verb)
        return None

    def _bad(self, verb: str, value: Any) -> str:
        erring, self._erring = self._erring, True
        shown = self.show(value)
        self._erring = erring
        return f"%!{verb}({go_name(value)}={shown})"

    def _many(self, value: Any, verb: str) -> str:
        if isinstance(value, dict):
            items = [f"{self.show(key, verb)}:{self.show(value[key], verb)}" for key in sorted(value)]
        else:
            items = [self.show(item, verb) for item in value]
        if self._flags.go_syntax:
            return f"{go_name(value)}{{{', '.join(items)}}}"
        return f"{'map' if isinstance(value, dict) else ''}[{' '.join(items)}]"

    def _string(self, text: str, verb: str) -> str:
        flags = self._flags
        if verb in "xX":
            return self._hex_string(text, verb)
        if flags.precision is not None:
            text = text[: flags.precision]
        if verb == "q" or (verb == "v" and flags.go_syntax):
            raw = flags.sharp and not _NOT_RAW.search(text)
            return flags.pad(f"`{text}`" if raw else quote(text, flags.plus))
        return flags.pad(text) if verb in "sv" else self._bad(verb, text)

    def _hex_string(self, text: str, verb: str) -> str:
        flags, encoded = self._flags, text.encode("utf-8", "replace")
        shown = encoded if flags.precision is None else encoded[: flags.precision]
        pairs = [f"{byte:02x}" for byte in shown]
        prefix = "0x" if flags.sharp and pairs else ""
        hexed = f" {prefix}".join(pairs) if flags.space else "".join(pairs)
        hexed = prefix + hexed
        return flags.pad(hexed.upper() if verb == "X" else hexed)

    def _integer(self, number: int, verb: str, value: Any) -> str:
        flags, unsigned = self._flags, number % (1 << 64)
        if verb == "c" or verb == "q":
            usable = unsigned <= _MAX_RUNE and not 0xD800 <= unsigned < 0xE000
            char = chr(unsigned) if usable else "\ufffd"
            return flags.pad(char if verb == "c" else quote_rune(char, flags.plus))
        if verb == "U":
            return self._code_point(unsigned)
        if verb not in _BASES:
            return self._bad(verb, value)
        if verb == "v" and flags.go_syntax and KINDS[type(value)] == UINT:
            flags.sharp, verb = True, "x"
        return self._digits(number, verb)

    def _digits(self, number: int, verb: str) -> str:
        flags, size = self._flags, abs(number)
        if flags.precision == 0 and size == 0:
            return " " * (flags.width or 0)
        sign = "-" if number < 0 else "+" if flags.plus else " " if flags.space else ""
        least = flags.precision or 0
        if flags.precision is None and flags.zero and not flags.minus and flags.width is not None:
            least = flags.width - len(sign)
        digits = _in_base(size, _BASES[verb]).rjust(least, "0")
        digits = digits.upper() if verb == "X" else digits
        if flags.sharp and verb in "oO" and digits[0] != "0":
            digits = "0" + digits
        prefix = _PREFIXES.get(verb, "") if flags.sharp else ""
        return flags.pad(sign + ("0o" if verb == "O" else prefix) + digits, zero=False)

    def _code_point(self, unsigned: int) -> str:
        flags = self._flags
        text = f"U+{unsigned:0{max(4, flags.precision or 0)}X}"
        if flags.sharp and unsigned <= _MAX_RUNE and (chr(unsigned).isprintable()):
            text += f" '{chr(unsigned)}'"
        return flags.pad(text, zero=False)

    def _float(self, number: float, verb: str, value: Any) -> str:
        flags = self._flags
        if verb not in "vbgGxXfFeE":
            return self._bad(verb, value)
        text = _float_text(number, "g" if verb == "v" else verb, flags.precision)
        sign, size = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
        if not math.isfinite(number):
            return flags.pad(_infinite(flags, sign, size), zero=False)
        if flags.sharp and verb != "b":
            size = _with_point(size, verb, flags.precision)
        sign = sign if sign == "-" or flags.plus else " " if flags.space else ""
        if sign and flags.zero and not flags.minus:
            return sign + size.rjust((flags.width or 0) - 1, "0")
        return flags.pad(sign + size)


def _infinite(flags: Flags, sign: str, size: str) -> str:
    """An infinity has a sign in any case."""
    if size == "NaN" and not (flags.plus or flags.space):
        return size
    return (" " if sign == "+" and flags.space and not flags.plus else sign) + size


def go_name(value: Any) -> str:
    if type(value) in _NAMED:
        return f"time.{type(value).__name__}"
    return "int" if type(value) is GoInt else _GO_NAMES.get(KINDS.get(type(value), -1), "interface {}")


def _in_base(number: int, base: int) -> str:
    return f"{number:{ {2: 'b', 8: 'o', 10: 'd', 16: 'x'}[base] }}"


def _float_text(number: float, verb: str, precision: int | None) -> str:
    """strconv.FormatFloat."""
    if not math.isfinite(number):
        return sprint(number)
    if verb == "b":
        return binary_float(number)
    if verb in "xX":
        text = hex_float(number, -1 if precision is None else precision)
        return text.upper() if verb == "X" else text
    if verb in "gG" and precision is None:
        return sprint(number).upper() if verb == "G" else sprint(number)
    return f"{number:.{6 if precision is None else precision}{verb.lower() if verb == 'F' else verb}}"


def _with_point(size: str, verb: str, precision: int | None) -> str:
    """What `#` does: a decimal point in any case, and the trailing zeros of %g."""
    digits = (6 if precision is None else precision) if verb in "vgGx" else 0
    mark = re.search("[pP]" if verb in "xX" else "[pPeE]", size)
    head, tail = (size[: mark.start()], size[mark.start() :]) if mark else (size, "")
    digits -= len(head.replace(".", "").lstrip("0"))
    if "." not in head:
        digits -= head == "0"
        head += "."
    return head + "0" * max(0, digits) + tail
