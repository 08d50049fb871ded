"""Reads what a client sent into events, each checked on its own: one bad event never costs the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl

import msgspec

from eventrunner.errors import (
    BodyTooLarge,
    EventRunnerError,
    FieldError,
    Forbidden,
    InvalidInput,
    MalformedBody,
    UnsupportedMedia,
)
from eventrunner.events import Event, decode_incoming
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.events.envelopes import describe_request, envelope
from eventrunner.events.json_format import decode_incoming_lines, split_batch
from eventrunner.events.validation import check_event, is_plain
from eventrunner.ids import IdMaker
from eventrunner.telemetry import is_traceparent

__all__ = ["Intake", "Rejection", "Request", "read_events", "read_payload", "read_request"]

_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Request:
    """A request, decompressed, and who sent it."""

    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    body: bytes
    tenant: str
    """Tenant of the identity, or the one that an admin named; may be empty for an admin whose events name theirs."""
    is_admin: bool
    tenant_exists: Callable[[str], bool]
    received: str
    """RFC 3339, what `receivedtime` becomes."""
    traceparent: str
    max_event_bytes: int
    make_id: IdMaker

    @cached_property
    def described(self) -> str:
        """What an envelope says of the request, the same for each payload in it."""
        return describe_request(self.headers, self.query)


@dataclass(frozen=True, slots=True)
class Rejection:
    index: int
    """Position among the events of the body, from 0."""
    id: str | None
    error: EventRunnerError

    def to_json(self) -> dict[str, object]:
        document: dict[str, object] = {"index": self.index, "id": self.id, "error": self.error.detail}
        if isinstance(self.error, InvalidInput) and self.error.fields:
            document["errors"] = [{"field": item.field, "message": item.message} for item in self.error.fields]
        return document


@dataclass(slots=True)
class Intake:
    accepted: dict[str, list[Event]] = field(default_factory=dict)
    """Events by tenant, in the order of the body."""
    rejected: list[Rejection] = field(default_factory=list)
    may_be_empty: bool = False
    """What was sent is a batch, which may hold no event at all."""

    @property
    def is_refused(self) -> bool:
        """Whether the answer is `refusal`."""
        return not self.accepted and not (self.may_be_empty and not self.rejected)

    @property
    def count(self) -> int:
        return sum(len(events) for events in self.accepted.values())

    def refusal(self) -> EventRunnerError:
        """The answer when nothing was accepted: what all rejections have in common, else 422."""
        if not self.rejected:
            return MalformedBody("The body holds no event.")
        kinds = {type(rejection.error) for rejection in self.rejected}
        first = self.rejected[0].error
        if len(self.rejected) == 1 or (len(kinds) == 1 and not isinstance(first, InvalidInput | MalformedBody)):
            return first
        fields = tuple(FieldError(f"[{item.index}]", item.error.detail) for item in self.rejected)
        if kinds == {BodyTooLarge}:
            return BodyTooLarge("Every event is too large.", fields)
        return InvalidInput("No event in the body is acceptable.", fields)


def read_request(request: Request) -> Intake:
    """Reads any body of the contract. Raises MalformedBody or UnsupportedMedia when nothing of it is readable."""
    # The decoders look at the text of attributes only; this is the one place that looks at every byte.
    if not request.body.isascii():
        _check_utf8(request)
    return _charged(lambda: _read(request))


def read_payload(request: Request) -> Intake:
    """Reads a body that is one event in JSON, or one JSON payload."""
    return _charged(lambda: _read_items(request, [request.body], _read_line))


def read_events(
    request: Request, items: Sequence[bytes], decode: Callable[[bytes], Event], id_of: Callable[[bytes], str | None]
) -> Intake:
    """Reads events in another format. `decode` raises InvalidInput for what is none; `id_of` may know its id."""
    return _charged(lambda: _read_items(request, items, lambda item: check_event(decode(item)), id_of=id_of))


def _charged(read: Callable[[], Intake]) -> Intake:
    """What is read, the time that it takes charged to its events."""
    started = time.thread_time_ns()
    intake = read()
    count = intake.count
    if count:
        share = (time.thread_time_ns() - started) // count
        for events in intake.accepted.values():
            for event in events:
                event.usagecpu = share
    return intake


def _check_utf8(request: Request) -> None:
    if is_binary(request.headers):
        return
    try:
        request.body.decode()
    except UnicodeDecodeError as error:
        # A line of NDJSON is rejected alone.
        if _media(request) != "application/x-ndjson":
            raise MalformedBody(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _read(request: Request) -> Intake:
    media = _media(request)
    if media == "application/x-ndjson":
        lines = [line for line in request.body.split(b"\n") if line and not line.isspace()]
        return _read_items(request, lines, _read_line, _plain_events(request.body, len(lines)))
    if media == BATCH_TYPE:
        intake = _read_items(request, split_batch(request.body), _decode)
        intake.may_be_empty = True
        return intake
    if media == STRUCTURED_TYPE:
        return _read_items(request, [request.body], _decode)
    if is_binary(request.headers):
        return _read_items(request, [request.body], lambda body: check_event(read_binary(request.headers, bytes(body))))
    if media == "application/json":
        return _read_items(request, _json_values(request.body), lambda raw: _wrap(request, bytes(raw)))
    if media == "application/x-www-form-urlencoded":
        return _read_items(request, [request.body], lambda body: _read_form(request, bytes(body)))
    raise UnsupportedMedia(
        f"Content type {media or 'missing'}: send {STRUCTURED_TYPE}, {BATCH_TYPE}, application/x-ndjson, "
        "application/json, application/x-www-form-urlencoded or a binary-mode CloudEvent."
    )


_Item = bytes | msgspec.Raw


def _plain_events(body: bytes, count: int) -> Sequence[Event | None]:
    """The lines that are events without anything out of the ordinary, which almost all are. None for any other."""
    # The decoder does not look at the bytes of `data`, so that text beyond ASCII is checked line by line.
    events = decode_incoming_lines(body) if body.isascii() else None
    if events is None or len(events) != count:
        return ()
    return [event if is_plain(event) else None for event in events]


def _read_items(
    request: Request,
    items: Sequence[_Item],
    read: Callable[..., Event],
    known: Sequence[Event | None] = (),
    id_of: Callable[..., str | None] | None = None,
) -> Intake:
    """`known`: what has been read already."""
    intake = Intake()
    accepted, limit = intake.accepted, request.max_event_bytes
    tenant_events = accepted.setdefault(request.tenant, [])
    with_request = read is _read_line
    for index, item in enumerate(items):
        event: Event | None = None
        try:
            size = len(memoryview(item))
            if size > limit:
                raise BodyTooLarge(f"The event has {size} bytes; the limit is {limit}.")
            event = known[index] if known else None
            if event is None:
                event = read(request, item) if with_request else read(item)
            _take(request, event, size)
        except EventRunnerError as error:
            id = event.id if event is not None else (id_of or _id_of)(item)
            intake.rejected.append(Rejection(index, id, error))
            continue
        if event.tenantid == request.tenant:
            tenant_events.append(event)
        else:
            accepted.setdefault(event.tenantid, []).append(event)
    if not tenant_events:
        del accepted[request.tenant]
    return intake


def _take(request: Request, event: Event, size: int) -> None:
    """Checks the event and writes what only ingest knows over what the client may have sent."""
    if not event.tenantid:
        event.tenantid = request.tenant
    if event.tenantid != request.tenant or not request.tenant:
        _check_other_tenant(request, event.tenantid)
    event.receivedtime = request.received
    if event.traceparent is None or not is_traceparent(event.traceparent):
        event.traceparent = request.traceparent
    event.usagein = size
    event.usageout = event.usagecpu = event.usagemem = event.usagerules = 0


def _check_other_tenant(request: Request, tenant: str) -> None:
    if not tenant:
        message = "name the tenant by tenantid or ?tenant="
        raise InvalidInput(f"An admin's event needs a tenant: {message}.", (FieldError("tenantid", message),))
    if not request.is_admin:
        raise Forbidden(f"This key may not send events of tenant {tenant!r}.")
    if not request.tenant_exists(tenant):
        raise Forbidden(f"There is no tenant {tenant!r}.")


def _decode(item: _Item) -> Event:
    return check_event(decode_incoming(item))


def _read_line(request: Request, line: bytes) -> Event:
    """A line of NDJSON is a CloudEvent when it says `specversion`, else a raw payload."""
    if b'"specversion"' not in line:
        return _wrap(request, line)
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise MalformedBody(f"The line is not UTF-8: {error.reason} at byte {error.start}.") from error
    try:
        return _decode(line)
    except MalformedBody:
        raise
    except InvalidInput:
        if "specversion" not in _members_decoder.decode(line):
            return _wrap(request, line)
        raise


def _wrap(request: Request, payload: bytes, content_type: str = "application/json") -> Event:
    try:
        return envelope(payload.strip(), content_type, id=request.make_id(), request=request.described)
    except InvalidInput as error:
        raise MalformedBody(error.detail) from error


def _read_form(request: Request, body: bytes) -> Event:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The form cannot be read: {error}.") from error
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        known = fields.get(name)
        if known is None:
            fields[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            fields[name] = [known, value]
    if set(fields) == {"payload"} and "x-github-event" in request.headers:
        # GitHub sends its JSON like this when a webhook is set up for forms.
        return _wrap(request, str(fields["payload"]).encode())
    return _wrap(request, msgspec.json.encode(fields))


def _json_values(body: bytes) -> Sequence[_Item]:
    """The members of an array, or the one value."""
    return split_batch(body) if body.lstrip()[:1] == b"[" else [body]


def _id_of(item: _Item) -> str | None:
    try:
        return msgspec.json.decode(item, type=_WithId).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _WithId(msgspec.Struct):
    id: str | None = None
