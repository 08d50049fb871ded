"""A dead letter as it lies in the stream, and what its replay publishes. Written by `source.deadletter`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from eventrunner.errors import Conflict
from eventrunner.events.binary import STRUCTURED_TYPE
from eventrunner.events.event import micros
from eventrunner.events.headers import ATTEMPTS_HEADER, CONSUMER_HEADER, FIRST_HEADER, ONLY_HEADER, ORIGIN_HEADER
from eventrunner.ids import derived_id
from eventrunner.source.deadletter import UNDECODABLE_TYPE
from eventrunner.source.publication import Publication
from eventrunner.storage.stream_reader import StoredMessage
from eventrunner.tenancy import deadletter_subject, tenant_of_subject

__all__ = ["Letter", "LetterFilter"]

_PREFIX = "knativeerror"
_OCTETS = "application/octet-stream"
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class LetterFilter:
    tenant: str
    stage: str | None = None
    type: str | None = None
    since: int | None = None
    """Microseconds since 1970, of when the event was given up last."""
    until: int | None = None
    event_id: str | None = None
    received_before: int | None = None
    """Microseconds since 1970, of when the event was received."""

    @property
    def subject(self) -> str:
        return deadletter_subject(self.stage or "*", self.tenant)

    def matches(self, letter: Letter) -> bool:
        """Whether the letter, which is of the subject, also has the type, the id and the times."""
        return (
            (self.type is None or self.type == letter.text("type"))
            and (self.event_id is None or self.event_id == letter.text("id"))
            and (self.since is None or letter.given_up >= self.since)
            and (self.received_before is None or letter.received < self.received_before)
            and not self.is_over(letter)
        )

    def is_over(self, letter: Letter) -> bool:
        """Whether this letter and all later ones are too late."""
        return self.until is not None and letter.given_up >= self.until


class Letter:
    def __init__(self, message: StoredMessage) -> None:
        self.id = str(message.sequence)
        self.sequence = message.sequence
        self.stage = message.subject.split(".")[1]
        self.tenant = tenant_of_subject(message.subject)
        self.size = len(message.body)
        self._message = message

    @cached_property
    def _members(self) -> Mapping[str, msgspec.Raw]:
        try:
            return _decoder.decode(self._message.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}

    @cached_property
    def given_up(self) -> int:
        """When it was stored, in microseconds since 1970."""
        return micros(self._message.stored)

    @cached_property
    def received(self) -> int:
        """When its event was received, in microseconds since 1970; when it was given up, if nothing says so."""
        try:
            return micros(self.text("receivedtime"))
        except ValueError:
            return self.given_up

    def text(self, name: str) -> str:
        value = self._value(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        value = self._value(name)
        return value if type(value) is int else 0

    def _value(self, name: str) -> object:
        raw = self._members.get(name)
        return None if raw is None else msgspec.json.decode(raw)

    def event(self) -> dict[str, msgspec.Raw]:
        """The members of the original event."""
        return {name: raw for name, raw in self._members.items() if not name.startswith(_PREFIX)}

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        problem = self.problem
        return {
            "id": self.id,
            "stage": self.stage,
            "event_id": self.text("id"),
            "source": self.text("source"),
            "type": self.text("type"),
            "reason": self.text(f"{_PREFIX}data"),
            "code": self.number(f"{_PREFIX}code"),
            "destination": self.text(f"{_PREFIX}dest"),
            "attempts": self.number(f"{_PREFIX}attempts"),
            "first": self.text(f"{_PREFIX}first") or self._message.stored,
            "last": self.text(f"{_PREFIX}last") or self._message.stored,
            "replayable": not problem,
            **({"problem": problem} if problem else {}),
            "event": self.event(),
        }

    @property
    def problem(self) -> str:
        """Why it cannot be replayed; empty when it can."""
        origin = self._message.headers.get(ORIGIN_HEADER, "")
        if not self._members:
            return "it is no CloudEvent"
        if self._value(f"{_PREFIX}cut") is True:
            return "it does not hold the whole event, which was too large for a dead letter: send the event again"
        if not origin or tenant_of_subject(origin) != self.tenant:
            return "it does not say which stream its event came from: send the event again"
        return ""

    def replay(self) -> Publication:
        """The event for the stage that gave it up, and for no other. Raises Conflict when that is not possible."""
        if self.problem:
            raise Conflict(f"Dead letter {self.id} cannot be replayed: {self.problem}.")
        body, content_type = self._original()
        headers = self._message.headers
        return Publication(
            subject=headers[ORIGIN_HEADER],
            body=body,
            content_type=content_type,
            # Of this very letter: a sequence comes again when the stream was made anew.
            message_id=f"{derived_id('dead-letter', self.id, self._message.stored)}.replay",
            more_headers=(
                (ONLY_HEADER, headers.get(CONSUMER_HEADER, "")),
                (ATTEMPTS_HEADER, str(self.number(f"{_PREFIX}attempts"))),
                (FIRST_HEADER, self.text(f"{_PREFIX}first")),
            ),
        )

    def _original(self) -> tuple[bytes, str]:
        if self.text("type") == UNDECODABLE_TYPE:
            try:
                return base64.b64decode(self.text("data_base64"), validate=True), _OCTETS
            except binascii.Error:
                pass
        return msgspec.json.encode(self.event()), STRUCTURED_TYPE
