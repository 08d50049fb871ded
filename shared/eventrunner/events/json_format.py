"""CloudEvents JSON format and JSON batch format.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md

An event of known attributes is decoded straight into the struct (0.4 µs), and so is a batch with extension attributes
that have been met before. Anything else takes the longer way through a dict, where every wrong field is collected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eventrunner.errors import FieldError, InvalidInput, MalformedBody
from eventrunner.events.event import EXTENSIONS_FIELD, Event
from eventrunner.events.extended import ExtendedDecoder
from eventrunner.events.validation import check_attributes

__all__ = [
    "decode_batch",
    "decode_event",
    "decode_incoming",
    "decode_incoming_lines",
    "encode_batch",
    "encode_event",
    "split_batch",
]


class _Incoming(Event, kw_only=True, gc=False, eq=False):
    """An event from outside, where `specversion` must be there."""

    specversion: str
    # Said again so that it stays the last member, as `encode_event` needs.
    extensions: dict[str, str | int | bool] | None = msgspec.field(default=None, name=EXTENSIONS_FIELD)


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(Event)
_batch_decoder = msgspec.json.Decoder(list[Event])
_extended_decoder = ExtendedDecoder()
_incoming_decoder = msgspec.json.Decoder(_Incoming)
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

_STRINGS = frozenset(
    name for name, kind in Event.__annotations__.items() if "str" in kind and name not in ("extensions", "data")
)
_INTEGERS = frozenset(name for name, kind in Event.__annotations__.items() if kind == "int")
_REQUIRED = ("id", "source", "type", "specversion")
_EXTENSIONS_TOKEN = f',"{EXTENSIONS_FIELD}":{{'.encode()


def decode_event(body: bytes | memoryview | msgspec.Raw) -> Event:
    """Reads one event that this system wrote. Raises MalformedBody or InvalidInput."""
    try:
        return _event_decoder.decode(body)
    except msgspec.ValidationError:
        return _decode_members(body, required=_REQUIRED[:3])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def decode_incoming(body: bytes | memoryview | msgspec.Raw) -> Event:
    """Reads one event from outside; the attribute rules are `validation`'s. Raises MalformedBody or InvalidInput.

    The caller has checked that the body is UTF-8: bytes inside `data` are not looked at here.
    """
    try:
        event = _incoming_decoder.decode(body)
        return event if event.extensions is None else _decode_members(body, required=_REQUIRED)
    except msgspec.ValidationError:
        return _decode_members(body, required=_REQUIRED)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def decode_incoming_lines(body: bytes) -> list[Event] | None:
    """Reads NDJSON of events from outside in one go, half as dear as line by line. None when some line is no event."""
    try:
        return list(_incoming_decoder.decode_lines(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def decode_batch(body: bytes | memoryview) -> list[Event]:
    """Reads a JSON batch that this system wrote. Raises MalformedBody or InvalidInput."""
    try:
        return _batch_decoder.decode(body)
    except msgspec.ValidationError:
        return _decode_extended(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def _decode_extended(body: bytes | memoryview) -> list[Event]:
    events = _extended_decoder.decode(body)
    if events is None:
        events = [decode_event(raw) for raw in split_batch(body)]
        _extended_decoder.learn(events)
    return events


def split_batch(body: bytes | memoryview) -> list[msgspec.Raw]:
    """The members of a JSON array, undecoded. Raises MalformedBody when the body is not one."""
    try:
        return _raws_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise MalformedBody("A batch is a JSON array of CloudEvents.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error


def encode_event(event: Event) -> bytes:
    """One structured event."""
    body = _encoder.encode(event)
    if event.extensions is None:
        return body
    # Extension attributes are members of the event itself, which a struct cannot express: the wrapper object around
    # them is cut out. It is the last member, and a quote inside any value is escaped, so the last match is the one.
    start = body.rindex(_EXTENSIONS_TOKEN)
    inner = body[start + len(_EXTENSIONS_TOKEN) : -2]
    return body[:start] + (b"," + inner if inner else b"") + b"}"


def encode_batch(events: Sequence[Event]) -> bytes:
    """The JSON batch of the events."""
    if all(event.extensions is None for event in events):
        return _encoder.encode(events)
    return join_batch(encode_event(event) for event in events)


def join_batch(bodies: Iterable[bytes]) -> bytes:
    """The JSON batch of structured events."""
    return b"[" + b",".join(bodies) + b"]"


def _malformed(error: Exception) -> MalformedBody:
    if isinstance(error, RecursionError):
        return MalformedBody("The JSON is nested too deeply.")
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody(f"The JSON is not UTF-8: {error.reason} at byte {error.start}.")
    return MalformedBody(f"{error}.")


def _decode_members(body: bytes | memoryview | msgspec.Raw, *, required: tuple[str, ...]) -> Event:
    try:
        members = _members_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput("A CloudEvent is a JSON object.", (FieldError("", "must be a JSON object"),)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from error
    values: dict[str, Any] = {}
    extensions: dict[str, str | int | bool] = {}
    problems: list[FieldError] = []
    for name, raw in members.items():
        if name == "data":
            values["data"] = raw
            continue
        value, message = _attribute(name, raw)
        if message:
            problems.append(FieldError(name, message))
        elif value is None:
            continue
        elif name in _STRINGS or name in _INTEGERS:
            values[name] = value
        else:
            extensions[name] = value
    named = {problem.field for problem in problems}
    problems += [FieldError(name, "is required") for name in required if name not in values and name not in named]
    if extensions:
        # The order that `extended` gives them too: the same event has the same bytes whichever way it was read.
        values["extensions"] = dict(sorted(extensions.items()))
    return check_attributes(values, problems)


def _attribute(name: str, raw: msgspec.Raw) -> tuple[Any, str | None]:
    """The value of an attribute and, when it cannot be one, why. A null counts as absent."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, f"not readable: {error}"
    if value is None:
        return None, None
    if name in _STRINGS:
        return value, None if isinstance(value, str) else "must be a string"
    if name in _INTEGERS:
        return value, None if type(value) is int else "must be an integer"
    if isinstance(value, str | bool | int):
        return value, None
    return None, "an extension attribute is a string, a boolean or a 32-bit integer"
