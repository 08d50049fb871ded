"""Go's fmt verbs for `LogFormat`, which formats exactly one value."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from eventrunner.rules.operators import text_of
from eventrunner.rules.values import (
    ARRAY,
    BOOL,
    FLOAT,
    INT,
    KINDS,
    MAP,
    STRING,
    STRINGS,
    TIME,
    UINT,
    GoInt,
    real,
)

__all__ = ["format_value", "quote", "sprint"]

_VERB = re.compile(r"%([-+# 0]*)([0-9]+)?(?:\.([0-9]*))?(.)?", re.DOTALL)
_MAX_DIGITS = 6
"""Of a width or precision."""
_GO_NAMES = {
    FLOAT: "float64",
    INT: "int64",
    UINT: "uint64",
    STRING: "string",
    BOOL: "bool",
    ARRAY: "[]interface {}",
    STRINGS: "[]string",
    MAP: "map[string]interface {}",
    TIME: "time.Time",
}


def sprint(value: float) -> str:
    """Go's %v of a float64: the shortest text that reads back the same, with an exponent below 1e-4 and from 1e6."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = len(digits) - 1 + int(exponent) if value else 0
    if -5 < power < 6:
        return f"{Decimal(repr(value)).normalize():f}"
    head, tail = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{head}{'.' if tail else ''}{tail}e{power:+03d}"


_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def quote(text: str) -> str:
    """Go's strconv.Quote."""
    return f'"{"".join(_escaped(char) for char in text)}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char == " " or char.isprintable():
        return char
    point = ord(char)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def format_value(layout: str, value: Any) -> str:
    """`fmt.Sprintf(layout, value)`; mistakes show as Go shows them."""
    used = False

    def verb(found: re.Match[str]) -> str:
        nonlocal used
        letter = found[4]
        if letter == "%":
            return "%"
        if letter is None:
            return "%!(NOVERB)"
        if used:
            return f"%!{letter}(MISSING)"
        used = True
        return _apply(found[1], found[2] or "", found[3], letter, value)

    text = _VERB.sub(verb, layout)
    return text if used else f"{text}%!(EXTRA {_typed(value)})"


def _apply(flags: str, width: str, precision: str | None, letter: str, value: Any) -> str:
    if len(width) > _MAX_DIGITS or len(precision or "") > _MAX_DIGITS:
        return "%!(BADWIDTH)"
    text = _convert(flags, precision, letter, value)
    if text is None:
        return f"%!{letter}({_typed(value)})"
    size = int(width or 0)
    if "-" in flags:
        return text.ljust(size)
    return text.zfill(size) if "0" in flags and KINDS.get(type(value)) in (FLOAT, INT, UINT) else text.rjust(size)


def _convert(flags: str, precision: str | None, letter: str, value: Any) -> str | None:
    kind = KINDS.get(type(value), -1)
    plus = "+" if "+" in flags else " " if " " in flags else ""
    if letter == "v":
        return quote(value) if kind == STRING and "#" in flags else _plain(value)
    if letter == "T":
        return _go_name(value)
    if kind == FLOAT and letter in "fFeEgG":
        return _float(plus, precision, letter, real(value))
    if kind in (INT, UINT) and letter in "dxXobcU":
        return _integer(plus, letter, int(value))
    if kind == STRING and letter in "sqx":
        shown = value if precision is None else value[: int(precision)]
        return shown if letter == "s" else quote(shown) if letter == "q" else shown.encode().hex()
    if kind == BOOL and letter == "t":
        return text_of(value)
    return None


def _integer(plus: str, letter: str, value: int) -> str:
    if letter == "c":
        return chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
    return f"U+{value:04X}" if letter == "U" else f"{value:{plus}{letter}}"


def _go_name(value: Any) -> str:
    return "int" if type(value) is GoInt else _GO_NAMES.get(KINDS.get(type(value), -1), "interface {}")


def _float(plus: str, precision: str | None, letter: str, value: float) -> str:
    if letter in "gG" and precision is None:
        return sprint(value)
    return f"{value:{plus}.{precision or ('6' if precision is None else '0')}{letter}}"


def _plain(value: Any) -> str:
    kind = KINDS.get(type(value), -1)
    if kind == FLOAT:
        return sprint(real(value))
    if isinstance(value, list):
        return "[" + " ".join(_plain(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(value[key])}" for key in sorted(value)) + "]"
    return text_of(value) or "<nil>"


def _typed(value: Any) -> str:
    return f"{_go_name(value)}={_plain(value)}"
