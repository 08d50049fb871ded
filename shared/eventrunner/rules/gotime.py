"""Go's time.Time as far as rules use it: making, reading and formatting moments."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from eventrunner.rules.values import Failure, GoInt, Int64

__all__ = ["METHODS", "call", "format_layout", "make_time"]

_MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# The parts of a Go layout, longest first.
_LAYOUT = re.compile(
    r"January|Monday|2006|Jan(?![a-z])|Mon(?![a-z])|MST|Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07"
    r"|002|01|02|03|04|05|06|15|PM|pm|__2|_2|[.,]0+(?![0-9])|[.,]9+(?![0-9])|1|2|3|4|5"
)


def make_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | Failure:
    """Local time; values out of range are carried over, as in `2024-01-32`."""
    years, months = divmod(month - 1, 12)
    try:
        start = datetime(year + years, months + 1, 1)
        return (start + timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)).astimezone()
    except (ValueError, OverflowError):
        return Failure("a time outside the years 1 to 9999")


def _offset(moment: datetime, colon: str, zulu: bool) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds() // 60)
    if zulu and not minutes:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{hours:02}" if colon == "none" else f"{sign}{hours:02}{colon}{rest:02}"


_PARTS: dict[str, Callable[[datetime], str]] = {
    "January": lambda t: _MONTHS[t.month - 1],
    "Jan": lambda t: _MONTHS[t.month - 1][:3],
    "Monday": lambda t: _DAYS[t.weekday()],
    "Mon": lambda t: _DAYS[t.weekday()][:3],
    "MST": lambda t: t.tzname() or "",
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "01": lambda t: f"{t.month:02}",
    "1": lambda t: str(t.month),
    "02": lambda t: f"{t.day:02}",
    "_2": lambda t: f"{t.day:2}",
    "2": lambda t: str(t.day),
    "002": lambda t: f"{t.timetuple().tm_yday:03}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3}",
    "15": lambda t: f"{t.hour:02}",
    "03": lambda t: f"{t.hour % 12 or 12:02}",
    "3": lambda t: str(t.hour % 12 or 12),
    "04": lambda t: f"{t.minute:02}",
    "4": lambda t: str(t.minute),
    "05": lambda t: f"{t.second:02}",
    "5": lambda t: str(t.second),
    "PM": lambda t: "PM" if t.hour >= 12 else "AM",
    "pm": lambda t: "pm" if t.hour >= 12 else "am",
    "Z07:00": lambda t: _offset(t, ":", True),
    "Z0700": lambda t: _offset(t, "", True),
    "Z07": lambda t: _offset(t, "none", True),
    "-07:00": lambda t: _offset(t, ":", False),
    "-0700": lambda t: _offset(t, "", False),
    "-07": lambda t: _offset(t, "none", False),
    "Z07:00:00": lambda t: _offset(t, ":", True) + ("" if not t.utcoffset() else ":00"),
    "Z070000": lambda t: _offset(t, "", True) + ("" if not t.utcoffset() else "00"),
    "-07:00:00": lambda t: _offset(t, ":", False) + ":00",
    "-070000": lambda t: _offset(t, "", False) + "00",
}


def format_layout(moment: datetime, layout: str) -> str:
    """Go's `Time.Format`: the layout shows how the reference time Mon Jan 2 15:04:05 MST 2006 would look."""

    def part(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] in ".,":
            digits = f"{moment.microsecond:06}000"[: len(token) - 1]
            digits = digits.rstrip("0") if token[1] == "9" else digits
            return token[0] + digits if digits else ""
        return _PARTS[token](moment)

    return _LAYOUT.sub(part, layout)


def _ordinal(moment: datetime) -> GoInt:
    return GoInt(moment.timetuple().tm_yday)


METHODS: dict[str, tuple[str, Callable[..., Any]]] = {
    "Year": ("", lambda t: GoInt(t.year)),
    "Month": ("", lambda t: GoInt(t.month)),
    "Day": ("", lambda t: GoInt(t.day)),
    "Hour": ("", lambda t: GoInt(t.hour)),
    "Minute": ("", lambda t: GoInt(t.minute)),
    "Second": ("", lambda t: GoInt(t.second)),
    "Nanosecond": ("", lambda t: GoInt(t.microsecond * 1000)),
    "YearDay": ("", _ordinal),
    "Weekday": ("", lambda t: GoInt((t.weekday() + 1) % 7)),
    "Unix": ("", lambda t: Int64(int(t.timestamp() // 1))),
    "UnixMilli": ("", lambda t: Int64(int(t.timestamp() * 1000 // 1))),
    "UnixMicro": ("", lambda t: Int64(round(t.timestamp() * 1_000_000))),
    "UnixNano": ("", lambda t: Int64(round(t.timestamp() * 1_000_000) * 1000)),
    "IsZero": ("", lambda t: False),
    "Before": ("t", lambda t, other: t < other),
    "After": ("t", lambda t, other: t > other),
    "Equal": ("t", lambda t, other: t == other),
    "Compare": ("t", lambda t, other: GoInt((t > other) - (t < other))),
    "Format": ("s", format_layout),
    "String": ("", lambda t: format_layout(t, "2006-01-02 15:04:05.999999 -0700 MST")),
}
_TYPES = {"t": datetime, "s": str}


def call(moment: datetime, name: str, args: tuple[Any, ...]) -> Any:
    entry = METHODS.get(name)
    if entry is None:
        return Failure(f"a time has no method {name}")
    kinds, method = entry
    if len(args) != len(kinds) or any(type(item) is not _TYPES[kind] for item, kind in zip(args, kinds, strict=True)):
        return Failure(f"wrong arguments for {name} of a time")
    return method(moment, *args)
