"""The Event: a CloudEvent 1.0 whose `data` stays the raw bytes of its JSON value.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from eventrunner.clock import parse_local_time
from eventrunner.errors import FieldError, InvalidInput

__all__ = [
    "AFTER_RULES",
    "CONTENT_ATTRIBUTES",
    "CORE_ATTRIBUTES",
    "NO_DATA",
    "USAGE_ATTRIBUTES",
    "USAGE_TYPE",
    "Event",
    "Identity",
    "content_digest",
    "is_json_type",
    "micros",
]

Identity: TypeAlias = tuple[str, str, str]
"""(tenantid, source, id): what makes an event the same event."""

USAGE_TYPE = "eventrunner.usage"
"""Type of the records that carry the usage of events that never reach the analytics."""

CORE_ATTRIBUTES = (
    "id",
    "source",
    "type",
    "specversion",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
)
CONTENT_ATTRIBUTES = ("type", "time")
"""Beside its data, what has to be equal in two events of one identity for them to be the same event."""
USAGE_ATTRIBUTES = ("usagein", "usageout", "usagecpu", "usagemem", "usagerules")

AFTER_RULES = "afterrules"
"""Attribute of events that rules are not to see: what a consumer has published as a result."""

EXTENSIONS_FIELD = "(extensions)"
"""Wire name of `Event.extensions`, which no attribute can have; what comes from outside is refused with it."""

NO_DATA = msgspec.Raw(b"")
"""The only value of `data` that is left out when the event is written: the encoder compares by identity."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _specversion() -> str:
    return "1.0"


# gc=False: an event can be part of no cycle, and thousands of them at once would keep the collector busy.
class Event(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True, gc=False, eq=False):
    """One CloudEvent. Mutable, because a stage that changes an attribute should not pay for a copy."""

    id: str
    source: str
    type: str
    # A factory, because a plain default would be left out when the event is written.
    specversion: str = msgspec.field(default_factory=_specversion)
    tenantid: str = ""
    subject: str | None = None
    time: str | None = None
    """RFC 3339, as the producer wrote it."""
    datacontenttype: str | None = None
    dataschema: str | None = None
    traceparent: str | None = None
    """W3C Trace Context of the request that brought the event."""
    receivedtime: str | None = None
    """When ingest accepted the event: RFC 3339 in UTC with microseconds."""
    usagein: int = 0
    """Bytes received at ingest."""
    usageout: int = 0
    """Bytes published to the tenant's stream."""
    usagecpu: int = 0
    """CPU nanoseconds that the stages spent, by share of the batch."""
    usagemem: int = 0
    """KiB·milliseconds of memory that the stages held, by share of the batch."""
    usagerules: int = 0
    """Rule conditions evaluated."""
    data: msgspec.Raw = NO_DATA
    """The JSON value as bytes; empty when there is none. Text of a non-JSON content type is a JSON string here."""
    data_base64: str | None = None
    """The payload in base64 when it is binary; then `data` is empty."""
    extensions: dict[str, str | int | bool] | None = msgspec.field(default=None, name=EXTENSIONS_FIELD)
    """Every other attribute."""

    def __eq__(self, other: object) -> bool:
        # By hand, because the decoders make subclasses that differ in nothing.
        if not isinstance(other, Event):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Event.__struct_fields__)

    __hash__ = None  # type: ignore[assignment]

    @property
    def identity(self) -> Identity:
        return (self.tenantid, self.source, self.id)

    @property
    def json_data(self) -> bytes:
        """`data` as bytes; `b""` when the event has none or a binary one."""
        return bytes(self.data)

    def decoded_data(self) -> Any:
        """The JSON value of `data`; None when there is none."""
        return msgspec.json.decode(self.data) if len(memoryview(self.data)) else None

    def payload(self) -> bytes:
        """The bytes that `datacontenttype` describes, as an HTTP body or NATS payload holds them."""
        if self.data_base64 is not None:
            try:
                return base64.b64decode(self.data_base64, validate=True)
            except binascii.Error as error:
                message = "not valid base64"
                raise InvalidInput(f"data_base64 is {message}.", (FieldError("data_base64", message),)) from error
        raw = bytes(self.data)
        if raw[:1] == b'"' and not is_json_type(self.datacontenttype):
            text: str = msgspec.json.decode(raw, type=str)
            return text.encode()
        return raw

    def set_payload(self, body: bytes, datacontenttype: str | None) -> None:
        """Takes an HTTP body or NATS payload. Raises InvalidInput when the type says JSON and the body is not."""
        self.datacontenttype = datacontenttype
        self.data, self.data_base64 = NO_DATA, None
        if not body:
            return
        if is_json_type(datacontenttype):
            try:
                msgspec.json.decode(body, type=msgspec.Raw)
                body.decode()
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                message = f"not valid JSON: {error}"
                raise InvalidInput(f"The data is {message}.", (FieldError("data", message),)) from error
            self.data = msgspec.Raw(body.strip())
            return
        try:
            self.data = msgspec.Raw(msgspec.json.encode(body.decode()))
        except UnicodeDecodeError:
            self.data_base64 = base64.b64encode(body).decode()

    def original_digest(self) -> str:
        """Of the content as it came. Whoever changes the content has to keep it in `originaldigest`, because the event
        may be delivered again, and what is made of it then be something else."""
        known = (self.extensions or {}).get("originaldigest")
        return str(known) if known else content_digest(self.type, self.time, self.data, self.data_base64)

    def set_extension(self, name: str, value: str | int | bool) -> None:
        if self.extensions is None:
            self.extensions = {}
        self.extensions[name] = value


def content_digest(type: str, time: str | None, data: msgspec.Raw, data_base64: str | None) -> str:
    digest = blake2b(data, digest_size=12)
    for text in (type, time, data_base64):
        digest.update(b"\0" + text.encode() if text is not None else b"\1")
    return digest.hexdigest()


@lru_cache(8192)
def micros(timestamp: str) -> int:
    """Microseconds since the epoch of an RFC 3339 timestamp. Raises ValueError."""
    return (parse_local_time(timestamp) - _EPOCH) // _MICROSECOND


def is_json_type(datacontenttype: str | None) -> bool:
    """Whether the media type holds JSON. A missing one does: JSON is the default of the JSON format."""
    if datacontenttype is None or datacontenttype == "application/json":
        return True
    media = datacontenttype.partition(";")[0].strip().lower()
    return media in ("application/json", "text/json") or media.endswith("+json")
