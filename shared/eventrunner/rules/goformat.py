"""Numbers and strings as Go's strconv writes them."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

__all__ = ["binary_float", "hex_float", "quote", "quote_rune", "sprint"]

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
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


def _parts(value: float) -> tuple[str, int, int]:
    """Sign, mantissa and exponent: the size of the value is mantissa * 2**(exponent - 52)."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    exponent, mantissa = bits >> 52 & 0x7FF, bits & (1 << 52) - 1
    if exponent:
        mantissa |= 1 << 52
    return "-" if bits >> 63 else "", mantissa, max(exponent, 1) - 1023


def binary_float(value: float) -> str:
    """Go's %b, such as 4503599627370496p-52."""
    sign, mantissa, exponent = _parts(value)
    return f"{sign}{mantissa}p{exponent - 52:+d}"


def hex_float(value: float, precision: int) -> str:
    """Go's %x, such as 0x1.4p+02; a precision below 0 asks for as many digits as there are."""
    sign, mantissa, exponent = _parts(value)
    exponent = exponent if mantissa else 0
    if mantissa:
        shift = 53 - mantissa.bit_length()
        mantissa, exponent = mantissa << shift, exponent - shift
    if 0 <= precision < 13:
        dropped = 52 - 4 * precision
        extra = mantissa & (1 << dropped) - 1
        mantissa >>= dropped
        mantissa += _rounds_up(extra, mantissa, dropped)
        if mantissa >> 4 * precision > 1:
            mantissa, exponent = mantissa >> 1, exponent + 1
        digits = f"{mantissa & (1 << 4 * precision) - 1:0{precision}x}" if precision else ""
    else:
        digits = f"{mantissa & (1 << 52) - 1:013x}".ljust(precision, "0")
        digits = digits.rstrip("0") if precision < 0 else digits
    return f"{sign}0x{1 if mantissa else 0}{'.' if digits else ''}{digits}p{exponent:+03d}"


def _rounds_up(extra: int, kept: int, dropped: int) -> bool:
    """Half to even."""
    half = 1 << dropped - 1
    return extra > half or (extra == half and kept & 1 == 1)


def quote(text: str, ascii_only: bool = False) -> str:
    """Go's strconv.Quote, or QuoteToASCII."""
    return f'"{"".join(_escaped(char, chr(34), ascii_only) for char in text)}"'


def quote_rune(char: str, ascii_only: bool = False) -> str:
    """Go's strconv.QuoteRune, or QuoteRuneToASCII."""
    return f"'{_escaped(char, chr(39), ascii_only)}'"


def _escaped(char: str, delimiter: str, ascii_only: bool) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char == delimiter:
        return "\\" + char
    if char == " " or (char.isprintable() and (char.isascii() or not ascii_only)):
        return char
    point = ord(char)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
