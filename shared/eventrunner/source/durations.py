"""Lengths of time: ISO 8601 as in Knative's DeliverySpec, and Go's notation as in NACK's manifests."""

from __future__ import annotations

import re

__all__ = ["parse_go", "parse_iso"]

_ISO = re.compile(
    r"P(?!$)(?:(?P<weeks>\d+(?:[.,]\d+)?)W)?(?:(?P<days>\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?!$)(?:(?P<hours>\d+(?:[.,]\d+)?)H)?(?:(?P<minutes>\d+(?:[.,]\d+)?)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)
_ISO_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_GO_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_iso(text: str) -> float:
    """Seconds of a duration such as `PT0.2S` or `P1DT2H`; years and months have no fixed length. Raises ValueError."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"not an ISO 8601 duration of weeks or less, such as PT0.2S: {text!r}")
    parts = match.groupdict()
    return sum(float(value.replace(",", ".")) * _ISO_SECONDS[name] for name, value in parts.items() if value)


def parse_go(text: str) -> int:
    """Nanoseconds of a duration such as `1h30m`. Raises ValueError."""
    parts = _GO_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration such as 2m or 1h30m: {text!r}")
    return sum(round(float(number) * _GO_NANOSECONDS[unit]) for number, unit in parts)
