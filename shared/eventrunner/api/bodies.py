"""Request bodies and query parameters, read into values; what is wrong is named by field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from flask import Request

from eventrunner.errors import BodyTooLarge, FieldError, InvalidInput, MalformedBody
from eventrunner.events.event import micros

__all__ = ["read_choice", "read_json", "read_limit", "read_text", "read_time", "read_word", "refuse_unknown"]

T = TypeVar("T", bound=msgspec.Struct)

_MAX_TEXT_BYTES = 256 * 1024
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_WHERE = re.compile(r"(?P<message>.*?)(?: - at `\$\.?(?P<field>[^`]*)`)?", re.DOTALL)


def read_json(request: Request, kind: type[T]) -> T:
    """An empty body is an empty object. Raises MalformedBody, and InvalidInput that names the wrong field."""
    try:
        return msgspec.json.decode(request.get_data() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        found = _WHERE.fullmatch(str(error))
        assert found is not None
        problem = FieldError(found["field"] or "", found["message"])
        raise InvalidInput(f"The body is not valid: {problem.message}.", (problem,)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error


def read_text(request: Request) -> str:
    """Raises MalformedBody for what is not UTF-8, BodyTooLarge over 256 KiB."""
    body = request.get_data()
    if len(body) > _MAX_TEXT_BYTES:
        raise BodyTooLarge(f"The text has {len(body)} bytes; the limit is {_MAX_TEXT_BYTES}.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(f"The text is not UTF-8: {error}.") from error


def refuse_unknown(arguments: Mapping[str, Any], known: frozenset[str]) -> None:
    """A misspelt filter must not answer with everything."""
    unknown = tuple(FieldError(name, "unknown query parameter") for name in arguments if name not in known)
    if unknown:
        raise InvalidInput(f"Known query parameters are {', '.join(sorted(known))}.", unknown)


def read_word(arguments: Mapping[str, str], name: str) -> str | None:
    """What an attribute of an event may be compared with. Raises InvalidInput for what no attribute can be."""
    text = arguments.get(name)
    if text is not None and (not text or _CONTROL.search(text)):
        raise InvalidInput(f"The {name} is not valid.", (FieldError(name, "a text without control characters"),))
    return text


def read_choice(arguments: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    """Raises InvalidInput for what is none of the choices."""
    text = arguments.get(name)
    if text is not None and text not in choices:
        raise InvalidInput(f"The {name} is not valid.", (FieldError(name, " or ".join(choices)),))
    return text


def read_limit(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    raise InvalidInput("The limit is not valid.", (FieldError("limit", f"a whole number from 1 to {most}"),))


def read_time(name: str, text: str | None) -> int | None:
    """Microseconds since 1970. Raises InvalidInput that names the parameter."""
    if text is None:
        return None
    try:
        # The + of an offset that was not escaped arrives as a blank.
        return micros(text[:11] + text[11:].replace(" ", "+"))
    except ValueError as error:
        raise InvalidInput(f"{text!r} is not a time.", (FieldError(name, "RFC 3339 with an offset"),)) from error
