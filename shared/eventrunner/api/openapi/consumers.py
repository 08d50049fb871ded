"""Consumers and their WebAssembly."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from eventrunner.api.consumer_settings import DEPLOYED_STREAMS, INSTANCES, MOST_WORDS, WORD_PATTERN
from eventrunner.api.consumers import WASM
from eventrunner.api.openapi.call import Answer, Body, Call, Parameter, json_answer
from eventrunner.api.openapi.parameters import (
    IF_MATCH,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
    NOT_MODIFIED,
    PAGE,
    TENANT,
    choice,
    in_path,
    limit,
    tagged,
)
from eventrunner.api.texts import NAME_PATTERN, Time
from eventrunner.billing.consumer_limits import HARD_LIMITS
from eventrunner.storage.consumer_logs import MOST_LINES, LogEntry
from eventrunner.storage.records import Limits, StoredModule, Subscription

__all__ = ["CALLS"]


class SkippedMessages(msgspec.Struct):
    """Removed from the stream though the consumer had not acked them, because it did not keep up and the stream had no
    more room. The events are stored: a replay to the consumer of this time hands them over."""

    messages: Annotated[int, msgspec.Meta(ge=0)]
    """Each of up to some hundred events."""
    first: Time
    last: Time


class ConsumerStatus(msgspec.Struct):
    state: Literal["stored", "starting", "ready", "failed"]
    """`stored`: nothing has taken it up; `ready`: its module was loaded, and a process starts when events come."""
    replicas: Annotated[int, msgspec.Meta(ge=0)]
    """Processes at the moment."""
    detail: str
    """Why it cannot run."""
    updated: Time | None
    handled: Annotated[int, msgspec.Meta(ge=0)] | None
    """Events; null where that is not known just now."""
    failed: Annotated[int, msgspec.Meta(ge=0)] | None
    skipped: SkippedMessages | None


class ConsumerDocument(msgspec.Struct):
    tenant: str
    name: str
    module: StoredModule | None
    signed_by: str | None
    """Id of the tenant's signing key."""
    subscription: Subscription
    limits: Limits
    """In force since the last upload, whatever has become of the tenant's plan."""
    instance: Literal["fresh", "reuse"]
    created: Time | None
    updated: Time | None
    status: ConsumerStatus


class ConsumerDocuments(msgspec.Struct):
    consumers: list[ConsumerDocument]
    next: str | None


class ConsumerLogs(msgspec.Struct):
    logs: list[LogEntry]


def _words(name: str, description: str) -> Parameter:
    items = {"type": "string", "pattern": WORD_PATTERN}
    return Parameter(name, {"type": "array", "items": items, "maxItems": MOST_WORDS, "default": []}, description)


def _number(name: str) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": HARD_LIMITS[name]}
    return Parameter(name, schema, "Of one call, at most. The tenant's plan has the default, and may allow less")


_ALL: Final = "/api/v1/consumers/{tenant}"
_ONE: Final = f"{_ALL}/{{name}}"
_NAME: Final = in_path("name", pattern=NAME_PATTERN)
_SETTINGS: Final = (
    choice("stream", DEPLOYED_STREAMS, "Events after the rules", default="results"),
    _words("type", "Of this type only; `*` at its end stands for anything. May be repeated"),
    _words("source", "From this source only. May be repeated"),
    choice("ordered", ("true", "false"), "One event after the other", default="false"),
    choice("instance", INSTANCES, "A new instance for each event, or one for many", default="fresh"),
    *map(_number, HARD_LIMITS),
)

CALLS: Final = (
    Call(
        id="consumers-list",
        method="get",
        path=_ALL,
        summary="A tenant's consumers",
        path_parameters=(TENANT,),
        parameters=PAGE,
        answers={200: json_answer(ConsumerDocuments)},
        problems=(404, 422),
    ),
    Call(
        id="consumers-get",
        method="get",
        path=_ONE,
        summary="A consumer with its status",
        path_parameters=(TENANT, _NAME),
        parameters=(IF_NONE_MATCH,),
        answers={200: tagged(ConsumerDocument), 304: NOT_MODIFIED},
        problems=(404, 422),
    ),
    Call(
        id="consumers-put",
        method="put",
        path=_ONE,
        summary="Create or replace a consumer: its WebAssembly, which events it is handed, and its limits",
        path_parameters=(TENANT, _NAME),
        parameters=(IF_MATCH, IF_NONE_MATCH, *_SETTINGS),
        body=Body({WASM: {"type": "string", "format": "binary"}}),
        answers={200: tagged(ConsumerDocument, "Replaced"), 201: tagged(ConsumerDocument, "Created")},
        problems=(404, 409, 412, 415, 422),
    ),
    Call(
        id="consumers-delete",
        method="delete",
        path=_ONE,
        summary="Remove a consumer",
        path_parameters=(TENANT, _NAME),
        parameters=(IF_MATCH,),
        answers={204: Answer()},
        problems=(404, 409, 412, 422),
    ),
    Call(
        id="consumers-logs",
        method="get",
        path=f"{_ONE}/logs",
        summary="What a consumer has logged last, or logs as it comes",
        description="With `follow`, or to who accepts `text/event-stream`, each line as a server-sent event.",
        path_parameters=(TENANT, _NAME),
        parameters=(
            Parameter("since", {"type": "string", "format": "date-time"}, "Lines from then on"),
            limit(100, MOST_LINES),
            choice("follow", ("true", "false"), default="false"),
            LAST_EVENT_ID,
        ),
        answers={200: Answer({"application/json": ConsumerLogs, "text/event-stream": {"type": "string"}})},
        problems=(404, 422, 429),
    ),
)
