"""Time, passed in wherever it matters so that tests can hold it still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = [
    "Clock",
    "format_time",
    "from_micros",
    "parse_local_time",
    "parse_nanoseconds",
    "parse_time",
    "utc_now",
]

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime in UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def from_micros(micros: int) -> datetime:
    """The moment so many microseconds after 1970 began."""
    return _EPOCH + timedelta(microseconds=micros)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one form in which times leave the system."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Reads an RFC 3339 timestamp into UTC. Raises ValueError for anything else, a missing offset included."""
    return parse_local_time(text).astimezone(UTC)


def parse_local_time(text: str) -> datetime:
    """The same, in the timestamp's own offset."""
    # fromisoformat reads more of ISO 8601 than RFC 3339 allows (week dates, no colons, a comma, an offset of hours).
    if len(text) < 20 or text[4] != "-" or text[7] != "-" or text[10] not in "Tt ":
        raise ValueError(f"not an RFC 3339 timestamp: {text!r}")
    if text[13] != ":" or text[16] != ":" or text[19] == ",":
        raise ValueError(f"not an RFC 3339 timestamp: {text!r}")
    if text[-1] not in "Zz" and (text[-6] not in "+-" or text[-3] != ":"):
        raise ValueError(f"timestamp without an offset of hours and minutes: {text!r}")
    return datetime.fromisoformat(text.upper())


def parse_nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of a UTC timestamp that ends in Z, all nine digits kept. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(parse_time(whole + "Z").timestamp()) * 10**9 + int(fraction[:9].ljust(9, "0"))
