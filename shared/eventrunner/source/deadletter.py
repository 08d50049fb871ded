"""Dead letters: the original event with Knative's error attributes, one event a message.

All attributes begin with `knativeerror`, so that a replay finds the original event by leaving them out.
https://knative.dev/docs/eventing/event-delivery/
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from eventrunner.clock import Clock, format_time, utc_now
from eventrunner.errors import InvalidInput
from eventrunner.events.binary import STRUCTURED_TYPE
from eventrunner.source.message import Message, Part
from eventrunner.source.publication import HEADER_ROOM, Publication
from eventrunner.source.spec import SourceSpec

__all__ = ["Verdict", "dead_letter", "letter_of_reply"]

_DATA_LIMIT = 1024
_BODY_LIMIT = 256 * 1024
"""Bytes kept of a message that is no event; its beginning tells what it was."""
_TOO_LARGE = "too large for a dead letter, its data was left out"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an event is given up."""

    status: int
    """0: no answer came."""
    reason: str
    attempts: int
    destination: str


def dead_letter(
    part: Part, verdict: Verdict, spec: SourceSpec, max_payload: int, clock: Clock = utc_now
) -> Publication:
    """Of a part that is a single event, or that cannot be read as events."""
    message, body = part.message, _readable(part)
    event = (None if message.problem else _event(body)) or _wrapped(part, body, spec)
    origin = f"{spec.stream}.{spec.consumer}.{message.sequence}.{message.stored}.{part.offset}"
    return _letter(event, message.tenant, verdict, spec, max_payload, f"{origin}.{_digest(body)}.dead", clock)


def letter_of_reply(
    raw: bytes, tenant: str, verdict: Verdict, spec: SourceSpec, max_payload: int, prefix: str, clock: Clock = utc_now
) -> Publication:
    """Of a sink's result that can neither be stored nor posted."""
    event = _event(raw) or {}
    return _letter(event, tenant, verdict, spec, max_payload, f"{prefix}.{_digest(raw)}.dead", clock)


def _letter(
    event: Mapping[str, msgspec.Raw],
    tenant: str,
    verdict: Verdict,
    spec: SourceSpec,
    max_payload: int,
    message_id: str,
    clock: Clock,
) -> Publication:
    body = _encode({**event, **_errors(verdict, verdict.reason, clock)})
    if len(body) > max_payload - HEADER_ROOM:
        rest = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
        body = _encode({**rest, **_errors(verdict, f"{verdict.reason}; {_TOO_LARGE}", clock)})
    return Publication(spec.dead_letter.of(tenant), body, STRUCTURED_TYPE, message_id)


def _errors(verdict: Verdict, reason: str, clock: Clock) -> dict[str, str | int]:
    return {
        "knativeerrordest": verdict.destination,
        "knativeerrorcode": verdict.status,
        "knativeerrordata": _printable(reason),
        "knativeerrorattempts": verdict.attempts,
        "knativeerrortime": format_time(clock()),
    }


def _readable(part: Part) -> bytes:
    """The JSON; what came, if that cannot be unpacked."""
    try:
        return part.text()
    except InvalidInput:
        return part.members


def _event(members: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _members.decode(members)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _wrapped(part: Part, body: bytes, spec: SourceSpec) -> dict[str, msgspec.Raw]:
    """An event that carries what came, because that is none itself."""
    message: Message = part.message
    attributes = {
        "specversion": "1.0",
        "id": f"{spec.stream}-{message.sequence}-{message.stored}-{part.offset}",
        "source": f"/eventrunner/streams/{spec.stream}",
        "type": "eventrunner.undecodable",
        "tenantid": message.tenant,
        "datacontenttype": "application/octet-stream",
        "data_base64": base64.b64encode(body[:_BODY_LIMIT]).decode(),
    }
    return {name: msgspec.Raw(_encode(value)) for name, value in attributes.items()}


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def _printable(text: str) -> str:
    """The string rules of CloudEvents attributes: no control characters."""
    cut = text.encode(errors="replace")[:_DATA_LIMIT].decode(errors="ignore")
    return "".join(character if character.isprintable() else " " for character in cut)
