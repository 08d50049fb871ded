"""GRL's operators on values of any kind. Each returns a value or a `Failure`; none raises.

The generated code handles the common cases itself and calls these for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from eventrunner.rules.budget import LARGE, check
from eventrunner.rules.limits import MAX_STRING
from eventrunner.rules.values import (
    BOOL,
    FLOAT,
    INT,
    KINDS,
    STRING,
    TIME,
    UINT,
    Failure,
    Int64,
    Uint64,
    kind_name,
    real,
    wrap_int64,
)

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "and_left",
    "boolean",
    "float_text",
    "negate",
    "or_left",
    "text_of",
]

_NUMBERS = frozenset({FLOAT, INT, UINT})


def _refuse(symbol: str, left: Any, right: Any) -> Failure:
    for side in (left, right):
        if type(side) is Failure:
            return side
    return Failure(f"{kind_name(left)} {symbol} {kind_name(right)} is not possible")


def float_text(value: float) -> str:
    """Go's %f."""
    if math.isfinite(value):
        return f"{value:f}"
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def text_of(value: Any) -> str | None:
    """How a value looks when it is joined to a string; None if it cannot be."""
    kind = KINDS.get(type(value), -1)
    if kind == STRING:
        return str(value)
    if kind == FLOAT:
        return float_text(real(value))
    if kind in (INT, UINT):
        return int.__str__(value)
    if kind == BOOL:
        return "true" if value else "false"
    if kind == TIME:
        return _rfc3339(value)
    return None


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _arithmetic(symbol: str, compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def operate(left: Any, right: Any) -> Any:
        kind, other = KINDS.get(type(left), -1), KINDS.get(type(right), -1)
        if kind not in _NUMBERS or other not in _NUMBERS:
            return _refuse(symbol, left, right)
        if kind == FLOAT or other == FLOAT:
            return compute(real(left), real(right))
        return _integer(compute(int(left), int(right)), kind, other)

    return operate


def _integer(value: int, kind: int, other: int) -> Int64 | Uint64:
    return Uint64(value % (1 << 64)) if kind == other == UINT else wrap_int64(value)


_sum = _arithmetic("+", lambda left, right: left + right)


def _add(left: Any, right: Any) -> Any:
    kind, other = KINDS.get(type(left), -1), KINDS.get(type(right), -1)
    if kind != STRING and not (kind in _NUMBERS and other == STRING):
        return _sum(left, right)
    head, tail = text_of(left), text_of(right)
    if head is None or tail is None:
        return _refuse("+", left, right)
    if len(head) + len(tail) > LARGE:
        check()
    if len(head) + len(tail) > MAX_STRING:
        return Failure(f"a string of more than {MAX_STRING} characters")
    return head + tail


def _divide(left: Any, right: Any) -> Any:
    if KINDS.get(type(left), -1) not in _NUMBERS or KINDS.get(type(right), -1) not in _NUMBERS:
        return _refuse("/", left, right)
    over, under = real(left), real(right)
    if under:
        return over / under
    if over == 0 or math.isnan(over) or math.isnan(under):
        return math.nan
    return math.copysign(math.inf, over) * math.copysign(1.0, under)


def _integers(symbol: str, compute: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def operate(left: Any, right: Any) -> Any:
        kind, other = KINDS.get(type(left), -1), KINDS.get(type(right), -1)
        if kind not in (INT, UINT) or other not in (INT, UINT):
            refused = _refuse(symbol, left, right)
            if kind in _NUMBERS and other in _NUMBERS:
                return Failure(f"'{symbol}' works on integers only, and every number of an event is a float")
            return refused
        if symbol == "%" and not right:
            return Failure("the remainder of a division by zero")
        return _integer(compute(int(left), int(right)), INT if symbol == "%" else kind, other)

    return operate


def _remainder(left: int, right: int) -> int:
    """C's sign: that of the dividend."""
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _equality(symbol: str, compute: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def compare(left: Any, right: Any) -> Any:
        kind, other = KINDS.get(type(left), -1), KINDS.get(type(right), -1)
        if kind in (STRING, BOOL):
            if other == -1:
                return right
            # Grule: a string or a boolean neither equals nor differs from a value of another kind.
            return compute(left, right) if kind == other else False
        if kind in _NUMBERS and other in _NUMBERS:
            return compute(*_comparable(left, right, kind, other))
        if kind == other == TIME:
            return compute(*(_with_zone(item) for item in (left, right)))
        return _refuse(symbol, left, right)

    return compare


def _with_zone(moment: datetime) -> tuple[datetime, bool]:
    """Go's == on times tells local ones from those of `UTC()`; only `Equal` compares the moments."""
    return moment, moment.tzinfo is UTC


def _comparable(left: Any, right: Any, kind: int, other: int) -> tuple[float, float]:
    if kind == FLOAT or other == FLOAT:
        return real(left), real(right)
    return left, right


def _order(symbol: str, compute: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def compare(left: Any, right: Any) -> Any:
        kind, other = KINDS.get(type(left), -1), KINDS.get(type(right), -1)
        if kind in _NUMBERS and other in _NUMBERS:
            return compute(*_comparable(left, right, kind, other))
        if kind == other == STRING:
            return compute(left, right)
        if kind == other == TIME:
            # Go's <= is "before or ==".
            return compute(left, right) and (left != right or _with_zone(left) == _with_zone(right))
        return _refuse(symbol, left, right)

    return compare


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add,
    "-": _arithmetic("-", lambda left, right: left - right),
    "*": _arithmetic("*", lambda left, right: left * right),
    "/": _divide,
    "%": _integers("%", _remainder),
    "&": _integers("&", lambda left, right: left & right),
    "|": _integers("|", lambda left, right: left | right),
}

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": _equality("==", lambda left, right: left == right),
    "!=": _equality("!=", lambda left, right: left != right),
    "<": _order("<", lambda left, right: left < right),
    "<=": _order("<=", lambda left, right: left <= right),
    ">": _order(">", lambda left, right: left > right),
    ">=": _order(">=", lambda left, right: left >= right),
}


def boolean(value: Any) -> Any:
    """The right side of `&&` and `||`."""
    if type(value) is bool or type(value) is Failure:
        return value
    return Failure(f"{kind_name(value)} where a boolean is needed")


def and_left(value: Any) -> Any:
    """What `&&` yields when its left side is not true."""
    return value if value is False else boolean(value)


def or_left(value: Any) -> Any:
    """What `||` yields when its left side is not false."""
    return value if value is True else boolean(value)


def negate(value: Any) -> Any:
    """`!`, which leaves anything but a boolean as it is."""
    return not value if type(value) is bool else value
