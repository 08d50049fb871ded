"""Dead letters: the original event with Knative's error attributes, one event a message.

All attributes begin with `knativeerror`, so that a replay finds the original event by leaving them out. Where the event
came from is in the message's headers. `source.letters` reads what is written here.
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
from eventrunner.events.headers import CONSUMER_HEADER, ORIGIN_HEADER
from eventrunner.source.message import Message, Part, Past
from eventrunner.source.publication import HEADER_ROOM, Publication
from eventrunner.source.spec import SourceSpec

__all__ = ["UNDECODABLE_TYPE", "Verdict", "dead_letter", "letter_of_failure", "letter_of_reply"]

UNDECODABLE_TYPE = "eventrunner.undecodable"
"""Of the event that carries, in its data, what came and is none."""

_DATA_LIMIT = 1024
_BODY_LIMIT = 256 * 1024
"""Bytes kept of a message that is no event; its beginning tells what it was."""
_TOO_LARGE = "too large for a dead letter, its data was left out"
_CUT = {"knativeerrorcut": True}
"""Says that the letter does not hold the whole event, so that it cannot be replayed."""

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

    def attributes(self) -> dict[str, str | int]:
        return {
            "knativeerrordest": self.destination,
            "knativeerrorcode": self.status,
            "knativeerrordata": _printable(self.reason),
        }


def dead_letter(
    part: Part, verdict: Verdict, spec: SourceSpec, max_payload: int, clock: Clock = utc_now
) -> Publication:
    """Of a part that is a single event, or that cannot be read as events."""
    message, body = part.message, _readable(part)
    event = (None if message.problem else _event(body)) or _wrapped(part, body, spec)
    letter = {**event, **verdict.attributes(), **_counts(verdict.attempts, message.past, clock)}
    place = f"{spec.stream}.{spec.consumer}.{message.sequence}.{message.stored}.{part.offset}"
    return _publication(letter, message.tenant, message.subject, spec, max_payload, f"{place}.{_digest(body)}.dead")


def letter_of_failure(
    raw: bytes,
    tenant: str,
    origin: str,
    past: Past | None,
    attempts: int,
    spec: SourceSpec,
    max_payload: int,
    clock: Clock = utc_now,
) -> Publication:
    """Of an event that the stage itself has given up, with its reason; `origin` is the subject that it came from."""
    # By its content, not by the parcel: a redelivery in other company is the same dead letter. A replay is not.
    message_id = f"{spec.stream}.{spec.consumer}.{_digest(raw)}.{past.attempts if past else 0}.failed"
    letter = {**(_event(raw) or {}), **_counts(attempts, past, clock)}
    return _publication(letter, tenant, origin, spec, max_payload, message_id, failure=True)


def letter_of_reply(
    raw: bytes, tenant: str, verdict: Verdict, spec: SourceSpec, max_payload: int, prefix: str, clock: Clock = utc_now
) -> Publication:
    """Of a sink's result that can neither be stored nor posted. It cannot be replayed: it is not what came in."""
    letter = {**(_event(raw) or {}), **verdict.attributes(), **_counts(verdict.attempts, None, clock)}
    return _publication(letter, tenant, "", spec, max_payload, f"{prefix}.{_digest(raw)}.dead")


def _publication(
    letter: Mapping[str, object],
    tenant: str,
    origin: str,
    spec: SourceSpec,
    max_payload: int,
    message_id: str,
    *,
    failure: bool = False,
) -> Publication:
    body = _encode(letter)
    if len(body) > max_payload - HEADER_ROOM:
        rest = {name: value for name, value in letter.items() if name not in ("data", "data_base64")}
        reason = msgspec.json.decode(_encode(letter.get("knativeerrordata", "")))
        body = _encode({**rest, "knativeerrordata": f"{reason}; {_TOO_LARGE}", **_CUT})
    headers: tuple[tuple[str, str], ...] = ((CONSUMER_HEADER, spec.consumer),)
    if origin:
        headers += ((ORIGIN_HEADER, origin),)
    subject = spec.dead_letter.of(tenant)
    return Publication(subject, body, STRUCTURED_TYPE, message_id, failure=failure, more_headers=headers)


def _counts(attempts: int, past: Past | None, clock: Clock) -> dict[str, str | int]:
    """Over all replays."""
    now = format_time(clock())
    return {
        "knativeerrorattempts": attempts + (past.attempts if past else 0),
        "knativeerrorfirst": (past.first if past else "") or now,
        "knativeerrorlast": now,
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


def _wrapped(part: Part, body: bytes, spec: SourceSpec) -> dict[str, object]:
    """An event that carries what came, because that is none itself."""
    message: Message = part.message
    if not message.problem and part.members is message.members and message.whole is not None:
        body = message.whole
    return {
        "specversion": "1.0",
        "id": f"{spec.stream}-{message.sequence}-{message.stored}-{part.offset}",
        "source": f"/eventrunner/streams/{spec.stream}",
        "type": UNDECODABLE_TYPE,
        "tenantid": message.tenant,
        "datacontenttype": "application/octet-stream",
        "data_base64": base64.b64encode(body[:_BODY_LIMIT]).decode(),
        **(_CUT if len(body) > _BODY_LIMIT else {}),
    }


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def _printable(text: str) -> str:
    """The string rules of CloudEvents attributes: no control characters."""
    cut = text.encode(errors="replace")[:_DATA_LIMIT].decode(errors="ignore")
    return "".join(character if character.isprintable() else " " for character in cut)
