"""What operators do, and what everybody may ask."""

from __future__ import annotations

from typing import Final

import msgspec

from eventrunner.api.analytics import RebuildBody
from eventrunner.api.audit import AuditEntry
from eventrunner.api.openapi.call import Answer, Call, json_answer, json_body
from eventrunner.api.openapi.parameters import FROM, IF_NONE_MATCH, NOT_MODIFIED, OWNER, PAGE, TO, tagged

__all__ = ["CALLS"]


class StreamReader(msgspec.Struct):
    name: str
    unread: int
    since: str | None
    """Of the oldest unread message."""


class StreamLevel(msgspec.Struct):
    name: str
    messages: int
    bytes: int
    max_bytes: int
    readers: list[StreamReader]


class StatusDocument(msgspec.Struct):
    streams: list[StreamLevel]
    problems: list[str]
    """What to do something about."""


class AuditEntries(msgspec.Struct):
    entries: list[AuditEntry]
    next: str | None


class Rebuilt(msgspec.Struct):
    tenant: str
    of: int
    """Events that the tenant has in the store."""
    checked: int
    restored: int
    next: RebuildBody | None
    """The body of the next call."""


_TEXT: Final = {"text/plain": {"type": "string"}}

CALLS: Final = (
    Call(
        id="analytics-rebuild",
        method="post",
        path="/api/v1/analytics/rebuild",
        summary="Make a page of analytics again from the event store; call again with `next` until it is null",
        body=json_body(RebuildBody),
        answers={200: json_answer(Rebuilt)},
        problems=(422,),
        untagged="What is rebuilt has no ETag",
    ),
    Call(
        id="audit-list",
        method="get",
        path="/api/v1/audit/{tenant}",
        summary="Who changed what of a tenant, when and by which call, the oldest first",
        path_parameters=(OWNER,),
        parameters=(FROM, TO, *PAGE),
        answers={200: json_answer(AuditEntries)},
        problems=(422,),
    ),
    Call(
        id="status-get",
        method="get",
        path="/api/v1/status",
        summary="How full the streams are and what holds events up",
        answers={200: json_answer(StatusDocument)},
        problems=(422,),
    ),
    Call(
        id="metrics-get",
        method="get",
        path="/metrics",
        summary="What the gateway has counted, in Prometheus' text format; of one replica of the API behind Oathkeeper",
        answers={200: Answer(_TEXT)},
    ),
    Call(
        id="openapi",
        method="get",
        path="/api/v1/openapi.json",
        summary="This description",
        parameters=(IF_NONE_MATCH,),
        answers={200: tagged({"type": "object"}), 304: NOT_MODIFIED},
        public=True,
    ),
    Call(
        id="healthz",
        method="get",
        path="/healthz",
        summary="Whether the gateway answers",
        answers={200: Answer(_TEXT)},
        public=True,
    ),
    Call(
        id="readyz",
        method="get",
        path="/readyz",
        summary="Whether everything behind the gateway is there",
        answers={200: Answer(_TEXT), 503: Answer(_TEXT, "Not yet")},
        public=True,
    ),
)
