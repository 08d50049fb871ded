"""Go's time.Time as far as rules use it: making, reading and formatting moments."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from eventrunner.rules.values import Duration, Failure, GoInt, Int64, Month, Weekday, wrap_int64

__all__ = ["METHODS", "call", "format_layout", "go_text", "is_zero", "make_time", "named_text", "text"]

_ZERO = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OUTSIDE = Failure("a time outside the years 1 to 9999")
_MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# The parts of a Go layout, longest first.
_LAYOUT = re.compile(
    r"January|Monday|2006|Jan(?![a-z])|Mon(?![a-z])|MST|Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07"
    r"|002|01|02|03|04|05|06|15|PM|pm|__2|_2(?!006)|[.,]0+(?![0-9])|[.,]9+(?![0-9])|1|2|3|4|5"
)


def make_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | Failure:
    """Local time; values out of range are carried over, as in `2024-01-32`."""
    years, months = divmod(month - 1, 12)
    try:
        start = datetime(year + years, months + 1, 1)
        moment = start + timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)
    except (ValueError, OverflowError):
        return _OUTSIDE
    return _local(moment)


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (ValueError, OverflowError):
        # Python asks for the zone within a day of the moment, which may lie outside of its calendar.
        near = datetime(2 if moment.year == 1 else 9998, 1, 1).astimezone()
        return moment.replace(tzinfo=timezone(near.utcoffset() or timedelta(), near.tzname() or ""))


def is_zero(moment: datetime) -> bool:
    """Whether this is Go's zero time."""
    return moment == _ZERO


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _difference(moment: datetime, other: datetime) -> Duration:
    nanoseconds = _nanoseconds(moment) - _nanoseconds(other)
    return Duration(max(-(1 << 63), min((1 << 63) - 1, nanoseconds)))


def _add(moment: datetime, duration: Duration) -> datetime | Failure:
    try:
        return moment + timedelta(microseconds=int(duration) // 1000)
    except OverflowError:
        return _OUTSIDE


def _in_summer(moment: datetime) -> bool:
    if moment.tzinfo is UTC:
        return False
    try:
        return time.localtime(moment.timestamp()).tm_isdst > 0
    except (OverflowError, OSError):
        return False


def named_text(value: int) -> str | None:
    """Go's `String` of the integers that have one."""
    if isinstance(value, Month):
        return _MONTHS[value - 1]
    if isinstance(value, Weekday):
        return _DAYS[value - 1]
    return _duration_text(value) if isinstance(value, Duration) else None


def _duration_text(duration: int) -> str:
    """Such as 20h55m55s or 1.5ms."""
    sign, size = "-" if duration < 0 else "", abs(int(duration))
    if not size:
        return "0s"
    for unit, nanoseconds in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if size < 1_000 * nanoseconds:
            return f"{sign}{_decimal(size, nanoseconds)}{unit}"
    minutes, rest = divmod(size, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    whole = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{whole}{_decimal(rest, 10**9)}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def go_text(moment: datetime) -> str:
    zone = "UTC" if moment.tzinfo is UTC else "Local"
    clock = f"{moment.hour}, {moment.minute}, {moment.second}, {moment.microsecond * 1000}"
    return f"time.Date({moment.year}, time.{_MONTHS[moment.month - 1]}, {moment.day}, {clock}, time.{zone})"


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


def text(moment: datetime) -> str:
    """Go's `Time.String`."""
    return format_layout(moment, "2006-01-02 15:04:05.999999 -0700 MST")


def _ordinal(moment: datetime) -> GoInt:
    return GoInt(moment.timetuple().tm_yday)


METHODS: dict[str, tuple[str, Callable[..., Any]]] = {
    "Year": ("", lambda t: GoInt(t.year)),
    "Month": ("", lambda t: Month(t.month)),
    "Day": ("", lambda t: GoInt(t.day)),
    "Hour": ("", lambda t: GoInt(t.hour)),
    "Minute": ("", lambda t: GoInt(t.minute)),
    "Second": ("", lambda t: GoInt(t.second)),
    "Nanosecond": ("", lambda t: GoInt(t.microsecond * 1000)),
    "YearDay": ("", _ordinal),
    "Weekday": ("", lambda t: Weekday((t.weekday() + 1) % 7)),
    "Unix": ("", lambda t: Int64(int(t.timestamp() // 1))),
    "UnixMilli": ("", lambda t: Int64(int(t.timestamp() * 1000 // 1))),
    "UnixMicro": ("", lambda t: Int64(round(t.timestamp() * 1_000_000))),
    "UnixNano": ("", lambda t: wrap_int64(_nanoseconds(t))),
    "IsZero": ("", is_zero),
    "IsDST": ("", _in_summer),
    "UTC": ("", lambda t: t.astimezone(UTC)),
    "Local": ("", _local),
    "Sub": ("t", _difference),
    "Add": ("d", _add),
    "Before": ("t", lambda t, other: t < other),
    "After": ("t", lambda t, other: t > other),
    "Equal": ("t", lambda t, other: t == other),
    "Compare": ("t", lambda t, other: GoInt((t > other) - (t < other))),
    "Format": ("s", format_layout),
    "String": ("", text),
    "GoString": ("", go_text),
}
_TYPES = {"t": datetime, "s": str, "d": Duration}


def call(moment: datetime, name: str, args: tuple[Any, ...]) -> Any:
    entry = METHODS.get(name)
    if entry is None:
        return Failure(f"a time has no method {name}")
    kinds, method = entry
    if len(args) != len(kinds) or any(type(item) is not _TYPES[kind] for item, kind in zip(args, kinds, strict=True)):
        return Failure(f"wrong arguments for {name} of a time")
    return method(moment, *args)
