"""The attributes of CloudEvents, and which of them rules may write.

What the platform keeps for itself is listed here once more, so that this package stands alone; a test compares the
list with the one that events are checked by.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from eventrunner.rules.values import ActionFailed, kind_name, real

__all__ = [
    "ALWAYS",
    "ATTRIBUTES",
    "FIXED",
    "OPTIONAL",
    "SETTABLE",
    "attribute_value",
    "check_text",
    "name_problem",
    "text_problem",
]

ALWAYS = frozenset({"id", "source", "type", "specversion", "tenantid"})
OPTIONAL = frozenset({"subject", "time", "datacontenttype", "dataschema", "traceparent", "receivedtime"})
ATTRIBUTES = ALWAYS | OPTIONAL
SETTABLE = frozenset({"type", "subject", "time", "datacontenttype", "dataschema"})
"""Beside extension attributes. All of them are strings."""
FIXED = ATTRIBUTES - SETTABLE

_RESERVED_TYPES = "eventrunner."
_RESERVED_PREFIXES = ("knativeerror", "usage")
_RESERVED = frozenset(
    {
        "afterrules",
        "causeconsumer",
        "causehops",
        "causeid",
        "causerule",
        "causesource",
        "derivedids",
        "extensions",
        "originaldigest",
        "publishedid",
        "replayid",
    }
)
_NAME = re.compile(r"[a-z0-9]+")
# Control characters, surrogates and noncharacters.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))*')


@lru_cache(4096)
def name_problem(name: str) -> str | None:
    """Why rules may not write an extension attribute or a tag of that name; None if they may."""
    if name in ATTRIBUTES or name == "data":
        return "this is no extension attribute"
    if not _NAME.fullmatch(name):
        return "attribute names are lower-case ASCII letters and digits"
    if name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
        return "this attribute name is reserved"
    return None


def text_problem(name: str, text: str) -> str | None:
    """Why an attribute cannot have that value; None if it can."""
    if name in _CHECKS:
        return _CHECKS[name](text)
    return _characters(text)


def check_text(name: str, text: str) -> None:
    """Raises ActionFailed."""
    if problem := text_problem(name, text):
        raise ActionFailed(f"Event.{name} {problem}" if name in SETTABLE else f"{text[:80]!r} {problem}")


def attribute_value(name: str, value: Any) -> Any:
    """The value as the attribute holds it: a string, a boolean or a 32-bit integer; None removes the attribute.

    Raises ActionFailed.
    """
    if name not in SETTABLE and name_problem(name):
        raise ActionFailed(f"Event.{name} cannot be changed")
    if value is None and name != "type":
        return None
    if type(value) is str:
        check_text(name, value)
        return value
    if name not in SETTABLE:
        if type(value) is bool:
            return value
        if isinstance(value, int | float) and real(value).is_integer() and -(1 << 31) <= value < 1 << 31:
            return int(value)
    raise ActionFailed(f"Event.{name} cannot be {kind_name(value)}")


def _characters(text: str) -> str | None:
    return None if text.isprintable() or not _FORBIDDEN.search(text) else "must not hold control characters"


def _some_text(text: str) -> str | None:
    return _characters(text) if text else "must not be empty"


def _type(text: str) -> str | None:
    return "is reserved" if text.startswith(_RESERVED_TYPES) else _some_text(text)


def _time(text: str) -> str | None:
    try:
        if len(text) >= 20 and text[4] == "-" and text[7] == "-" and text[10] in "Tt ":
            moment = datetime.fromisoformat(text.upper())
            # It must be one in UTC too, within the calendar.
            if moment.tzinfo is not None and moment.astimezone(UTC):
                return None
    except (ValueError, OverflowError):
        pass
    return "must be an RFC 3339 timestamp"


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "type": _type,
    "subject": _some_text,
    "time": _time,
    "datacontenttype": lambda text: None if _MEDIA_TYPE.fullmatch(text) else "must be a media type (RFC 2046)",
    "dataschema": lambda text: None if _URI.fullmatch(text) else "must be an absolute URI (RFC 3986)",
}
