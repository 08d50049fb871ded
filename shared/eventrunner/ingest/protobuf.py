"""Events in the CloudEvents protobuf format.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/protobuf-format.md
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from eventrunner.clock import format_time
from eventrunner.errors import FieldError, MalformedBody
from eventrunner.events import Event
from eventrunner.events.event import is_json_type
from eventrunner.events.validation import check_attributes
from eventrunner.ingest.proto.cloudevents_pb2 import CloudEvent, CloudEventBatch

__all__ = ["decode_event", "event_id", "split_batch"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS: Final = frozenset({"subject", "time", "datacontenttype", "dataschema", "tenantid", "traceparent"})
"""Attributes that `Event` has members for; the others that it has are the system's own."""


def decode_event(raw: bytes) -> Event:
    """Raises MalformedBody for what is no such message, InvalidInput for an event that is none."""
    try:
        message = CloudEvent.FromString(raw)
    except DecodeError as error:
        raise MalformedBody(f"Not a CloudEvent in protobuf: {error}.") from error
    values: dict[str, Any] = {
        "id": message.id,
        "source": message.source,
        "type": message.type,
        "specversion": message.spec_version,
    }
    problems = _read_attributes(message, values) if message.attributes else []
    if not message.id:
        problems.append(FieldError("id", "must not be empty"))
    event = check_attributes(values, problems)
    _read_data(message, event)
    return event


def event_id(raw: bytes) -> str | None:
    """Of an event that may be none."""
    try:
        return CloudEvent.FromString(raw).id
    except DecodeError:
        return None


def split_batch(raw: bytes) -> list[bytes]:
    """The batch's events, each as its own message. Raises MalformedBody."""
    try:
        return [event.SerializeToString() for event in CloudEventBatch.FromString(raw).events]
    except DecodeError as error:
        raise MalformedBody(f"Not a CloudEventBatch in protobuf: {error}.") from error


def _read_attributes(message: CloudEvent, values: dict[str, Any]) -> list[FieldError]:
    """Puts attributes into the members of an `Event`. Returns what cannot be read."""
    problems: list[FieldError] = []
    extensions: dict[str, str | int | bool] = {}
    for name, attribute in message.attributes.items():
        kind = attribute.WhichOneof("attr")
        if kind is None:
            problems.append(FieldError(name, "has no value"))
            continue
        try:
            value = _value(kind, getattr(attribute, kind))
        except OverflowError:
            problems.append(FieldError(name, "must be a time of the years 1 to 9999"))
            continue
        if name not in _TEXTS:
            extensions[name] = value
        elif isinstance(value, str):
            values[name] = value
        else:
            problems.append(FieldError(name, "must be a string"))
    if extensions:
        values["extensions"] = extensions
    return problems


def _value(kind: str, value: Any) -> str | int | bool:
    match kind:
        case "ce_bytes":
            return base64.b64encode(value).decode()
        case "ce_timestamp":
            return format_time(_EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000))
        case "ce_boolean":
            return bool(value)
        case "ce_integer":
            return int(value)
    return str(value)


def _read_data(message: CloudEvent, event: Event) -> None:
    match message.WhichOneof("data"):
        case "text_data" if not is_json_type(event.datacontenttype) or event.datacontenttype is None:
            event.data = msgspec.Raw(msgspec.json.encode(message.text_data))
        case "text_data":
            event.set_payload(message.text_data.encode(), event.datacontenttype)
        case "binary_data" if event.datacontenttype is None:
            event.data_base64 = base64.b64encode(message.binary_data).decode()
        case "binary_data":
            event.set_payload(message.binary_data, event.datacontenttype)
        case "proto_data":
            event.datacontenttype = event.datacontenttype or "application/protobuf"
            event.dataschema = event.dataschema or _type_url(message.proto_data.type_url)
            event.data_base64 = base64.b64encode(message.proto_data.value).decode()


def _type_url(text: str) -> str | None:
    # As google/protobuf/any.proto says: without a scheme, https is meant.
    return text if "://" in text or not text else f"https://{text}"
