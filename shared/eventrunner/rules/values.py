"""The kinds of value that GRL knows, as Python types.

| GRL                     | Python                                   |
|-------------------------|------------------------------------------|
| float64                 | `float`, and `int` as JSON brought it in |
| int64, int, uint64      | `Int64`, `GoInt`, `Uint64`               |
| time.Duration and such  | `Duration`, `Month`, `Weekday`           |
| string, bool, null      | `str`, `bool`, `None`                    |
| array, []string, map    | `list`, `Strings`, `dict`                |
| time.Time               | aware `datetime`                         |
| an error                | `Failure`                                |

A plain `int` is a float64 that happens to be whole: every number of a JSON fact is a float64, and keeping the
integer lets unchanged data be written back as it came. Evaluation never raises: what fails yields a `Failure`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from eventrunner.rules.limits import MAX_ARRAY, MAX_STRING

__all__ = [
    "ARRAY",
    "BOOL",
    "FLOAT",
    "INT",
    "KINDS",
    "MAP",
    "NIL",
    "NULL",
    "STRING",
    "STRINGS",
    "TIME",
    "UINT",
    "UNREADABLE",
    "ActionFailed",
    "Duration",
    "Failure",
    "GoInt",
    "Int64",
    "Month",
    "Strings",
    "Uint64",
    "Weekday",
    "compact",
    "encode",
    "kind_name",
    "measure",
    "real",
    "wrap_int64",
]


class Int64(int):
    """An integer literal and what integer arithmetic yields."""

    __slots__ = ()


class GoInt(Int64):
    """Go's `int`, what `Len()` and the like return; differs from int64 only as an argument of built-ins."""

    __slots__ = ()


class Month(GoInt):
    """Go's time.Month: an integer with a name."""

    __slots__ = ()


class Weekday(GoInt):
    """Go's time.Weekday; Sunday is 0."""

    __slots__ = ()


class Duration(Int64):
    """Go's time.Duration, the nanoseconds between two times."""

    __slots__ = ()


class Uint64(int):
    __slots__ = ()


class Strings(list[str]):
    """Go's `[]string`, the result of `Split`."""

    __slots__ = ()


class Failure:
    """The value of an expression that could not be evaluated."""

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"Failure({self.message!r})"


class ActionFailed(Exception):
    """A statement of a `then` block could not be executed."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises."""

NIL = Failure("nil has no value: comparing with it or assigning it always fails")

FLOAT, INT, UINT, STRING, BOOL, NULL, ARRAY, STRINGS, MAP, TIME = range(10)

KINDS: dict[type[Any], int] = {
    float: FLOAT,
    int: FLOAT,
    Int64: INT,
    GoInt: INT,
    Month: INT,
    Weekday: INT,
    Duration: INT,
    Uint64: UINT,
    str: STRING,
    bool: BOOL,
    type(None): NULL,
    list: ARRAY,
    Strings: STRINGS,
    dict: MAP,
    datetime: TIME,
}

_NAMES = ("a number", "an integer", "an integer", "a string", "a boolean", "null", "an array", "an array", "a map")
_MAX_EXACT = 1 << 53


def kind_name(value: object) -> str:
    kind = KINDS.get(type(value), -1)
    return _NAMES[kind] if 0 <= kind < len(_NAMES) else "a time" if kind == TIME else "nothing"


def real(value: float) -> float:
    """The float64 of a number; integers beyond its range become infinite instead of raising."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def wrap_int64(value: int) -> Int64:
    return Int64((value + (1 << 63)) % (1 << 64) - (1 << 63))


def compact(value: Any) -> Any:
    """A computed float that is whole is kept as the integer, so that JSON shows 8 and not 8.0, as Go writes it."""
    if type(value) is float and value.is_integer() and -_MAX_EXACT < value < _MAX_EXACT and value != 0.0:
        return int(value)
    return 0 if type(value) is float and value == 0.0 and str(value) == "0.0" else value


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError


encode = msgspec.json.Encoder(enc_hook=_plain).encode
"""Any value but a Failure as JSON bytes; infinities and NaN become null."""


def measure(value: Any, nodes: int = MAX_ARRAY, characters: int = 8 * MAX_STRING) -> None:
    """Raises ActionFailed if a value has more nodes or characters, counted as often as they would be written."""
    pending = [value]
    while pending:
        item = pending.pop()
        if type(item) is dict:
            pending.extend(item.values())
            characters -= sum(map(len, item))
        elif isinstance(item, list):
            pending.extend(item)
        elif type(item) is str:
            characters -= len(item)
        nodes -= 1
        if nodes < len(pending) or characters < 0:
            raise ActionFailed("what the rules made is too large, or holds itself")
