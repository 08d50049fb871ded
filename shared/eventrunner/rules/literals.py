"""The values of literals: Go's number and string syntax. Each function raises ValueError with what is wrong."""

from __future__ import annotations

import math
import re

from eventrunner.rules.values import Int64

__all__ = ["float_value", "int_value", "string_value"]

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def int_value(text: str, negative: bool) -> Int64:
    """Decimal, hexadecimal (`0x`) or octal (leading 0), in the range of int64."""
    if text[:2] in ("0x", "0X"):
        value = int(text, 16)
    elif len(text) > 1 and text[0] == "0":
        value = int(text, 8)
    else:
        value = int(text) if len(text) < 40 else 1 << 64
    value = -value if negative else value
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError("this integer does not fit into 64 bits")
    return Int64(value)


def float_value(text: str, negative: bool) -> float:
    try:
        value = float.fromhex(text) if text[:2] in ("0x", "0X") else float(text)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise ValueError("this number does not fit into a 64-bit float")
    return -value if negative else value


def string_value(text: str) -> str:
    """Undoes the quotes and Go's escapes. Only the delimiter itself can be escaped as a quote."""
    quote, body = text[0], text[1:-1]
    if quote in body.replace("\\\\", "").replace("\\" + quote, ""):
        raise ValueError(f"a doubled {quote} is not an escape: write \\{quote}")
    if "\\" not in body:
        return body

    # Bytes, because \xHH and \NNN are bytes of UTF-8 in Go; what is not UTF-8 becomes U+FFFD.
    def decode(found: re.Match[str]) -> str:
        return _unescape(found[1], quote)

    unescaped = _ESCAPE.sub(decode, body)
    return unescaped.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _unescape(code: str, quote: str) -> str:
    if code in _SIMPLE:
        return _SIMPLE[code]
    if code == quote:
        return quote
    if len(code) == 3 and code[0] in "01234567x":
        return _byte(int(code[1:], 16) if code[0] == "x" else int(code, 8))
    if len(code) in (5, 9) and code[0] in "uU":
        point = int(code[1:], 16)
        if point > 0x10FFFF or 0xD800 <= point < 0xE000:
            raise ValueError(f"\\{code} is not a character")
        return chr(point)
    raise ValueError(f"\\{code} is not an escape; write \\\\ for a backslash")


def _byte(value: int) -> str:
    if value > 255:
        raise ValueError("an octal escape goes up to \\377")
    # surrogateescape carries single bytes through a str.
    return chr(value) if value < 128 else chr(0xDC00 + value)
