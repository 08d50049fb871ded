"""Taking events in, and looking at them."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from eventrunner.api.openapi.call import Answer, Body, Call, Parameter, json_answer
from eventrunner.api.openapi.parameters import (
    CURSOR,
    EVENT_ID,
    EVENT_SOURCE,
    EVENT_TYPE,
    FROM,
    LAST_EVENT_ID,
    TENANT,
    TO,
    choice,
    limit,
    text,
)
from eventrunner.api.openapi.problems import FieldProblem
from eventrunner.api.texts import EventDocument, Time

__all__ = ["CALLS"]


class Rejected(msgspec.Struct, omit_defaults=True):
    index: int
    """Position in the body, from 0."""
    id: str | None
    error: str
    errors: list[FieldProblem] = []


class Accepted(msgspec.Struct):
    accepted: int
    rejected: list[Rejected]


class Events(msgspec.Struct):
    events: list[EventDocument]
    next: str | None


class Cause(msgspec.Struct):
    id: str
    source: str
    rule: str | None
    consumer: str | None


class Usage(msgspec.Struct):
    usagein: int
    usageout: int
    usagecpu: int
    usagemem: int
    usagerules: int


class TraceInvoice(msgspec.Struct):
    id: str
    period: str
    status: str
    lines: list[dict[str, str]]


class DerivedEvent(msgspec.Struct):
    id: str
    type: str
    rule: str
    consumer: str
    replay: str


class Ended(msgspec.Struct):
    stage: str
    kind: str


class Consumed(msgspec.Struct):
    name: str
    outcome: Literal["handled", "failed"]
    usagein: int
    usageout: int
    usagecpu: int
    usagemem: int
    fuel: int


class Trace(msgspec.Struct, omit_defaults=True):
    id: str
    source: str
    type: str
    tenant: str
    received: Time | None
    traceparent: str | None
    route: str | None
    cause: Cause | None
    replay: str | None
    stored: bool
    data_changed: bool
    usage: Usage | None
    derived: list[DerivedEvent]
    ended: list[Ended]
    consumers: list[Consumed]
    dead_letters: list[dict[str, Any]]
    invoice: TraceInvoice | None = None
    missing: list[str] = []
    """What could not be found out just now."""


# Of an array, each item is an event's data.
_RAW: Final = {"type": ["object", "array", "string", "number", "boolean", "null"], "minItems": 1}
_BATCH: Final = {"type": "array", "items": {"type": "object"}}
_SENT: Final = {
    "type": "object",
    "description": "Each server-sent event. What has no data only keeps the connection alive.",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$", "description": "For Last-Event-ID"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"type": "object", "required": ["specversion", "id", "source", "type", "tenantid"]},
        },
    },
    "required": ["id", "data"],
}
_LINES: Final = {"type": "string", "minLength": 1, "description": "A CloudEvent or a raw object on each line"}
_ID: Final = text("id", "Of events with this id only")
_NO_PATH: Final = (
    "An id with a slash or a backslash, and the ids `stream`, `.` and `..`, have no path: events-list and traces-find "
    "take them as `id` in the query."
)

CALLS: Final = (
    Call(
        id="events-publish",
        method="post",
        path="/api/v1/events",
        summary="Take events in; answered once JetStream has stored them",
        parameters=(
            *(text(name, "Of the events made of raw payloads") for name in ("type", "source", "subject", "id")),
            text("adapter", "The tenant's adapter that makes events of raw payloads"),
            Parameter("time", {"type": "string", "format": "date-time"}, "Of the events made of raw payloads"),
            Parameter("tenant", TENANT.schema, "Whose the events are; only an admin may say it"),
        ),
        body=Body(
            {
                "application/cloudevents+json": EventDocument,
                "application/cloudevents-batch+json": _BATCH,
                "application/json": _RAW,
                "application/x-ndjson": _LINES,
                "application/x-www-form-urlencoded": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        ),
        answers={202: json_answer(Accepted, "Stored; what could not be is named")},
        problems=(415, 422, 429),
    ),
    Call(
        id="events-list",
        method="get",
        path="/api/v1/events/{tenant}",
        summary="Stored events by time, or those of an id",
        description="`id` finds an event whatever its id is, from all sources or one, and goes with `source` only.",
        path_parameters=(TENANT,),
        parameters=(
            _ID,
            EVENT_TYPE,
            EVENT_SOURCE,
            FROM,
            TO,
            choice("order", ("asc", "desc"), default="asc"),
            limit(100, 1000),
            CURSOR,
        ),
        answers={200: json_answer(Events)},
        problems=(422,),
    ),
    Call(
        id="events-get",
        method="get",
        path="/api/v1/events/{tenant}/{id}",
        summary="One event",
        description=_NO_PATH,
        path_parameters=(TENANT, EVENT_ID),
        parameters=(EVENT_SOURCE,),
        answers={200: Answer({"application/cloudevents+json": EventDocument})},
        problems=(404, 409, 422),
    ),
    Call(
        id="events-trace",
        method="get",
        path="/api/v1/events/{tenant}/{id}/trace",
        summary="The way of an event through the system",
        description=_NO_PATH,
        path_parameters=(TENANT, EVENT_ID),
        parameters=(EVENT_SOURCE,),
        answers={200: json_answer(Trace)},
        problems=(404, 409, 422),
    ),
    Call(
        id="traces-find",
        method="get",
        path="/api/v1/traces/{tenant}",
        summary="The way of an event through the system, whatever its id is",
        path_parameters=(TENANT,),
        parameters=(Parameter("id", _ID.schema, "Of the event", required=True), EVENT_SOURCE),
        answers={200: json_answer(Trace)},
        problems=(404, 409, 422),
    ),
    Call(
        id="events-stream",
        method="get",
        path="/api/v1/events/{tenant}/stream",
        summary="Results as they come, as server-sent events",
        path_parameters=(TENANT,),
        parameters=(
            EVENT_TYPE,
            LAST_EVENT_ID,
        ),
        answers={200: Answer({"text/event-stream": _SENT})},
        problems=(422, 429),
    ),
)
