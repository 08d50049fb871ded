"""From what a guest has published to events of its tenant.

All of them go to EVENTS, so that each is stored, analysed and billed like any other; only those published to `events.…`
are judged by rules there, those to `results.…` are not.

An event's id follows from its cause, the consumer and its position, whatever id the guest gave it: guests take random
ones, or the one of the event that they were handed, and then a redelivery would be another event, or an echo the same
one. The guest's own id stays in `publishedid`. What it says of the attributes that the platform writes is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.events import Event, check_event, decode_incoming
from eventrunner.events.event import AFTER_RULES, USAGE_ATTRIBUTES
from eventrunner.events.validation import is_reserved_extension
from eventrunner.ids import derived_id
from eventrunner.wasm.outcomes import Message

__all__ = ["MOST_HOPS", "LoopDetected", "Publishing", "Unpublishable"]

MOST_HOPS: Final = 16
"""Consumers and rules that an event may come through one after the other, each by what the one before has published."""
_MARK: Final = b'"specversion"'
_RESULTS: Final = "results."
_NO_ID: Final = "-"


class Unpublishable(InvalidInput):
    """What a guest has published cannot be an event of its tenant."""

    code = "unpublishable"


class LoopDetected(InvalidInput):
    """Trying again is no use."""

    code = "loop-detected"
    status = HTTPStatus.LOOP_DETECTED


class Policy(Protocol):
    def may_publish(self, tenant: str, subject: str) -> bool: ...


class _Kind(msgspec.Struct):
    specversion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_kinds = msgspec.json.Decoder(_Kind)


class Publishing:
    """Of one consumer. Safe to share between threads."""

    def __init__(self, policy: Policy, tenant: str, consumer: str, max_bytes: int) -> None:
        """`max_bytes`: of the body of one message."""
        self._policy = policy
        self._tenant = tenant
        self._consumer = consumer
        self._max_bytes = max_bytes

    def events(self, cause: Event, published: Iterable[Message]) -> list[Event]:
        """What the guest has made of the cause. Raises Unpublishable or LoopDetected: then nothing of it counts."""
        return [self._event(cause, message, position) for position, message in enumerate(published)]

    def _event(self, cause: Event, message: Message, position: int) -> Event:
        subject, size = message.subject, len(message.body)
        if not self._policy.may_publish(self._tenant, subject):
            allowed = f"events.{self._tenant}.<type> or results.{self._tenant}.<type>"
            raise Unpublishable(
                f"published to {subject[:200]!r}; a consumer of {self._tenant} may publish only to {allowed}"
            )
        if size > self._max_bytes:
            raise Unpublishable(f"published {size} bytes to {subject[:200]!r}; an event may have {self._max_bytes}")
        hops = _hops(cause) + 1
        if hops > MOST_HOPS:
            raise LoopDetected(f"it is the {hops}th of a chain of events that consumers published: a loop")
        try:
            event = _read(message, cause)
        except InvalidInput as error:
            raise Unpublishable(f"published to {subject[:200]!r} what is no event: {error.detail}") from error
        return self._own(event, cause, hops, position, after_rules=subject.startswith(_RESULTS))

    def _own(self, event: Event, cause: Event, hops: int, position: int, *, after_rules: bool) -> Event:
        """Names the event and says where it comes from."""
        own_id, event.id = event.id, derived_id(*cause.identity, "consumer", self._consumer, str(position))
        event.tenantid, event.receivedtime, event.traceparent = self._tenant, cause.receivedtime, cause.traceparent
        extensions = event.extensions or {}
        if own_id not in (_NO_ID, cause.id):
            extensions["publishedid"] = own_id
        extensions |= {"causeid": cause.id, "causeconsumer": self._consumer, "causehops": hops}
        if event.source != cause.source:
            extensions["causesource"] = cause.source
        if after_rules:
            extensions[AFTER_RULES] = True
        if cause.extensions is not None and (replay := cause.extensions.get("replayid")):
            extensions["replayid"] = replay
        event.extensions = extensions
        return event


def _hops(event: Event) -> int:
    hops = event.extensions.get("causehops", 0) if event.extensions else 0
    return hops if isinstance(hops, int) else 0


def _read(message: Message, cause: Event) -> Event:
    """Raises InvalidInput."""
    body = message.body
    # The text may also be inside some data, which then is looked at for nothing.
    event = _structured(body) if _MARK in body and _is_structured(body) else _wrapped(message, cause)
    if event.extensions:
        event.extensions = {name: value for name, value in event.extensions.items() if not is_reserved_extension(name)}
    return check_event(event)


def _is_structured(body: bytes) -> bool:
    if body[:1] not in (b"{", b" ", b"\t", b"\r", b"\n"):
        return False
    try:
        return _kinds.decode(body).specversion is not msgspec.UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _structured(body: bytes) -> Event:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The event is not UTF-8: {error.reason} at byte {error.start}.") from error
    event = decode_incoming(body)
    for name in USAGE_ATTRIBUTES:
        setattr(event, name, 0)
    return event


def _wrapped(message: Message, cause: Event) -> Event:
    """Data of the type that the subject names: JSON if it is, else text, else binary."""
    event = Event(
        id=_NO_ID,
        source=cause.source,
        type=message.subject.split(".", 2)[2],
        subject=cause.subject,
        time=cause.time or cause.receivedtime,
    )
    try:
        event.set_payload(message.body, "application/json")
    except InvalidInput:
        event.set_payload(message.body, "text/plain")
        if event.data_base64 is not None:
            event.datacontenttype = "application/octet-stream"
    return event
