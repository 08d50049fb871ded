"""The attribute and type rules of CloudEvents 1.0, all checked before anything is raised."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from eventrunner.clock import parse_time
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.events.event import Event

__all__ = [
    "INT_MAX",
    "INT_MIN",
    "RESERVED_TYPES",
    "check_attributes",
    "check_event",
    "extension_name_problem",
    "is_plain",
    "is_reserved_extension",
    "validate",
]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
"""Range of the CloudEvents type Integer."""

RESERVED_TYPES = "eventrunner."
"""What the types of the system's own records start with."""

# Extension attributes that the system itself writes and that mean something to it: what an event cost, what became of
# it, and which event it derives from, which costs nothing.
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
        "originaldigest",
        "publishedid",
        "replayid",
    }
)
_NOT_EXTENSIONS = frozenset({*Event.__struct_fields__, "data", "data_base64"})

# Control characters, surrogates and noncharacters are not allowed in a CloudEvents String.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_NAME = re.compile(r"[a-z0-9]+")
# RFC 3986 characters; a "%" only before two hex digits.
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.+", re.DOTALL)
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf'{_TOKEN}/{_TOKEN}(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"[^"\\]*"))*')


def check_event(event: Event) -> Event:
    """Returns the event. Raises InvalidInput with every wrong attribute."""
    if problems := validate(event):
        raise _invalid(problems)
    return event


def check_attributes(values: Mapping[str, Any], problems: Sequence[FieldError]) -> Event:
    """The event of these members of `Event`, unless `problems` says that some could not be read or are missing.

    Raises InvalidInput with them and every rule that the others break.
    """
    if not problems:
        return Event(**values)
    # What is missing or unreadable is named already; these break no rule.
    others = _problems(Event(**{"id": "-", "source": "-", "type": "-", **values}))
    raise _invalid((*problems, *others))


def _invalid(problems: Sequence[FieldError]) -> InvalidInput:
    """The error that names every wrong attribute."""
    reasons = ", ".join(f"{problem.field} {problem.message}" for problem in problems)
    return InvalidInput(f"Not a valid CloudEvent: {reasons}.", tuple(problems))


def validate(event: Event) -> list[FieldError]:
    """Every rule that the event breaks; empty for a valid one."""
    return [] if is_plain(event) else _problems(event)


def is_plain(event: Event) -> bool:
    """Whether the event is one of the valid ones that almost all are: what producers repeat is checked once. Of any
    other only `validate` can tell."""
    return (
        event.specversion == "1.0"
        and event.extensions is None
        and event.data_base64 is None
        and event.subject is None
        and event.id != ""
        and event.id.isprintable()
        and (event.time is None or _time(event.time) is None)
        and _is_valid_shape(event.source, event.type, event.datacontenttype, event.dataschema)
    )


@lru_cache(4096)
def _is_valid_shape(source: str, type_: str, datacontenttype: str | None, dataschema: str | None) -> bool:
    media = None if datacontenttype is None else _media_type(datacontenttype)
    schema = None if dataschema is None else _uri(dataschema)
    return not any((_uri_reference(source), _type(type_), media, schema))


def _problems(event: Event) -> list[FieldError]:
    problems: list[FieldError] = []
    if event.specversion != "1.0":
        problems.append(FieldError("specversion", 'must be "1.0"'))
    for name, value, check in (
        ("id", event.id, _string),
        ("source", event.source, _uri_reference),
        ("type", event.type, _type),
        ("subject", event.subject, _string),
        ("time", event.time, _time),
        ("datacontenttype", event.datacontenttype, _media_type),
        ("dataschema", event.dataschema, _uri),
    ):
        if value is not None and (message := check(value)):
            problems.append(FieldError(name, message))
    if event.data_base64 is not None and not _is_base64(event.data_base64):
        problems.append(FieldError("data_base64", "must be base64 (RFC 4648), without blanks or line ends"))
    if event.data_base64 is not None and len(memoryview(event.data)):
        problems.append(FieldError("data_base64", "an event has either data or data_base64, not both"))
    if event.extensions:
        problems.extend(_extension_problems(event.extensions))
    return problems


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return True


def _string(value: str) -> str | None:
    if not value:
        return "must not be empty"
    # isprintable is one pass in C; what it refuses is rare, so only then look closer.
    if not value.isprintable() and _FORBIDDEN.search(value):
        return "must not hold control characters"
    return None


@lru_cache(4096)
def _type(value: str) -> str | None:
    if value.startswith(RESERVED_TYPES):
        return f'types that start with "{RESERVED_TYPES}" are reserved'
    return _string(value)


@lru_cache(4096)
def _uri_reference(value: str) -> str | None:
    if not value:
        return "must not be empty"
    return None if _URI_REFERENCE.fullmatch(value) else "must be a URI reference (RFC 3986)"


@lru_cache(4096)
def _uri(value: str) -> str | None:
    if _uri_reference(value) is None and _URI.fullmatch(value):
        return None
    return "must be an absolute URI (RFC 3986)"


@lru_cache(4096)
def _time(value: str) -> str | None:
    try:
        parse_time(value)
    except (ValueError, OverflowError):
        return "must be an RFC 3339 timestamp with an offset, such as 2026-01-31T12:00:00Z"
    return None


@lru_cache(1024)
def _media_type(value: str) -> str | None:
    return None if _MEDIA_TYPE.fullmatch(value) else "must be a media type (RFC 2046)"


def _extension_problems(extensions: dict[str, str | int | bool]) -> list[FieldError]:
    problems = []
    for name, value in extensions.items():
        message = extension_name_problem(name) or _extension_value(value)
        if message:
            problems.append(FieldError(name, message))
    return problems


@lru_cache(4096)
def extension_name_problem(name: str) -> str | None:
    """Why nobody but the system may write an extension attribute of that name; None if anybody may."""
    if name in _NOT_EXTENSIONS:
        return "this is no extension attribute"
    if not _NAME.fullmatch(name):
        return "attribute names are lower-case ASCII letters and digits"
    if is_reserved_extension(name):
        return "this attribute name is reserved"
    return None


def is_reserved_extension(name: str) -> bool:
    """Whether only the system may write an extension attribute of that name."""
    return name in _RESERVED or name.startswith(_RESERVED_PREFIXES)


def _extension_value(value: str | int | bool) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if INT_MIN <= value <= INT_MAX else "must be a 32-bit integer"
    return _string(value) if value else None
