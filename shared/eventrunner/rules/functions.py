"""GRL's built-in functions that yield a value. As in Grule no argument is converted: an int64 is not a float64."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from eventrunner.rules import bessel, gotime, numeric
from eventrunner.rules.budget import LARGE, check
from eventrunner.rules.values import (
    ARRAY,
    FLOAT,
    INT,
    KINDS,
    MAP,
    NULL,
    STRING,
    STRINGS,
    TIME,
    UINT,
    ActionFailed,
    Failure,
    GoInt,
    Int64,
    Strings,
    Uint64,
    kind_name,
    real,
)

__all__ = [
    "CONTROL",
    "CONTROL_METHODS",
    "EVENT_CONTROL",
    "FUNCTIONS",
    "FUNCTIONS_FACT",
    "call_control",
    "call_function",
]

FUNCTIONS_FACT = "DEFUNC"
"""Grule keeps its functions on a fact of this name."""

CONTROL = {"Retract": "s", "Complete": "", "Changed": "s", "Forget": "s", "Log": "s", "LogFormat": "sx"}
"""Functions that only make sense as a statement, with the kinds of their arguments."""

CONTROL_METHODS = {
    "Retract": "retract",
    "Complete": "end",
    "Changed": "changed",
    "Forget": "changed",
    "Log": "log",
    "LogFormat": "log_format",
}
"""Methods of the execution's context that do it."""

EVENT_CONTROL = {"Emit": "s", "Drop": "s", "Tag": "sv", "RouteTo": "s"}
"""Statements that only rules on events have."""


def _is_zero(value: Any) -> Any:
    kind = KINDS[type(value)]
    if kind == NULL:
        return Failure("IsZero of null")
    if kind == TIME:
        return gotime.is_zero(value)
    return kind in (STRING, FLOAT, INT, UINT) and not value


def _is_nil(value: Any) -> Any:
    if KINDS[type(value)] in (ARRAY, MAP, STRINGS, TIME):
        return False
    return Failure(f"IsNil of {kind_name(value)}")


def _maximum(*values: float) -> float:
    best = values[0] if values else 0.0
    for value in values[1:]:
        best = value if value > best else best
    return best


def _minimum(*values: float) -> float:
    best = values[0] if values else 0.0
    for value in values[1:]:
        best = value if value < best else best
    return best


def _bessel(order: int, x: float) -> float | Failure:
    if abs(order) > bessel.MAX_ORDER:
        return Failure(f"Jn takes orders up to {bessel.MAX_ORDER}")
    check()
    return bessel.bessel(order, x)


def _is_inf(value: float, sign: int) -> bool:
    return (sign >= 0 and value == float("inf")) or (sign <= 0 and value == float("-inf"))


# f float64, i int64, u uint64, s string, t time, l []string, x anything; * any number of the kind before it.
FUNCTIONS: dict[str, tuple[str, Callable[..., Any]]] = {
    **{name: ("f", function) for name, function in numeric.UNARY.items()},
    **{name: ("ff", function) for name, function in numeric.BINARY.items()},
    "Max": ("f*", _maximum),
    "Min": ("f*", _minimum),
    "IsNaN": ("f", lambda x: x != x),
    "Signbit": ("f", lambda x: str(x).startswith("-")),
    "Ilogb": ("f", lambda x: GoInt(numeric.ilogb(x))),
    "Float64bits": ("f", lambda x: Uint64(numeric.float_bits(x))),
    "Float64frombits": ("u", numeric.float_from_bits),
    "NaN": ("", lambda: float("nan")),
    "Pow10": ("i", numeric.pow10),
    "Jn": ("if", _bessel),
    "Ldexp": ("fi", numeric.ldexp),
    "IsInf": ("fi", _is_inf),
    "IsNil": ("x", _is_nil),
    "IsZero": ("x", _is_zero),
    "StringContains": ("ss", lambda text, part: part in text),
    "ContainsStr": ("ls", lambda texts, text: text in texts),
    "MakeTime": ("iiiiii", gotime.make_time),
    "GetTimeYear": ("t", lambda t: GoInt(t.year)),
    "GetTimeMonth": ("t", lambda t: GoInt(t.month)),
    "GetTimeDay": ("t", lambda t: GoInt(t.day)),
    "GetTimeHour": ("t", lambda t: GoInt(t.hour)),
    "GetTimeMinute": ("t", lambda t: GoInt(t.minute)),
    "GetTimeSecond": ("t", lambda t: GoInt(t.second)),
    "IsTimeBefore": ("tt", lambda first, second: first < second),
    "IsTimeAfter": ("tt", lambda first, second: first > second),
    "TimeFormat": ("ts", gotime.format_layout),
}
"""`Now` is not among them: it needs the clock of the rule set."""

_TYPES: dict[str, tuple[type[Any], ...]] = {
    "f": (float, int),
    "i": (Int64,),
    "u": (Uint64,),
    "s": (str,),
    "t": (datetime,),
    "l": (Strings,),
}
_KIND_NAMES = {"f": "a float", "i": "an integer", "u": "a uint64", "s": "a string", "t": "a time", "l": "a Split"}


def call_function(name: str, *args: Any) -> Any:
    for item in args:
        if type(item) is Failure:
            return item
    entry = FUNCTIONS.get(name)
    if entry is None:
        return Failure(f"there is no function {name}")
    if len(args) > LARGE or any(isinstance(item, str | list) and len(item) > LARGE for item in args):
        check()
    kinds, function = entry
    wrong = _check(name, kinds, args)
    if wrong is not None:
        return wrong
    return function(*map(real, args)) if kinds[:1] == "f" and kinds != "fi" else function(*args)


def call_control(act: Callable[..., None], count: int, *args: Any) -> Failure | None:
    """What is meant as a statement within an expression: it is done, and its value is null."""
    if len(args) != count:
        return Failure(f"{count or 'no'} argument{'' if count == 1 else 's'} expected, not {len(args)}")
    try:
        act(*args)
    except ActionFailed as error:
        return Failure(str(error))
    return None


def _check(name: str, kinds: str, args: tuple[Any, ...]) -> Failure | None:
    wanted = kinds[0] * len(args) if kinds.endswith("*") else kinds
    if len(args) != len(wanted):
        return Failure(f"{name} takes {len(wanted)} argument{'' if len(wanted) == 1 else 's'}, not {len(args)}")
    for kind, item in zip(wanted, args, strict=True):
        if kind != "x" and type(item) not in _TYPES[kind]:
            return Failure(f"{name} takes {_KIND_NAMES[kind]} here, not {_shown(item, kind)}")
    return None


def _shown(item: Any, kind: str) -> str:
    if kind == "f" and isinstance(item, Int64):
        return "an integer (write 1.0 instead of 1)"
    return kind_name(item)
