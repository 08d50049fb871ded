"""The description of the HTTP API, OpenAPI 3.1: the calls that are served, their parameters and answers."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["describe"]

_EVENT_BODY: Final = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
)
_JSON: Final = ("application/json",)
_LETTERS: Final = ("stage", "type", "from", "to")

# method, path, summary, query parameters, media types of the body, status and media types of success
_CALLS: Final[tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...], int, tuple[str, ...]], ...]] = (
    (
        "post",
        "/api/v1/events",
        "Take events in; answered once JetStream has stored them",
        ("adapter", "id", "type", "source", "subject", "time", "tenant"),
        _EVENT_BODY,
        202,
        _JSON,
    ),
    (
        "get",
        "/api/v1/events/{tenant}",
        "Stored events by time",
        ("type", "source", "from", "to", "order", "limit", "cursor"),
        (),
        200,
        _JSON,
    ),
    ("get", "/api/v1/events/{tenant}/{id}", "One event", ("source",), (), 200, ("application/cloudevents+json",)),
    ("get", "/api/v1/replays/{tenant}", "Replays of the last 30 days, the newest first", (), (), 200, _JSON),
    ("post", "/api/v1/replays/{tenant}", "Replay stored events to a consumer or a rule set", (), _JSON, 202, _JSON),
    ("get", "/api/v1/replays/{tenant}/{replay}", "How far a replay is, and what it did", (), (), 200, _JSON),
    ("delete", "/api/v1/replays/{tenant}/{replay}", "End a replay where it is", (), (), 200, _JSON),
    (
        "get",
        "/api/v1/dead-letters/{tenant}",
        "Dead letters, the oldest first, and how many there are by stage",
        (*_LETTERS, "limit", "cursor"),
        (),
        200,
        _JSON,
    ),
    (
        "get",
        "/api/v1/dead-letters/{tenant}/{letter}",
        "A dead letter: reason, stage, attempts, event",
        (),
        (),
        200,
        _JSON,
    ),
    (
        "post",
        "/api/v1/dead-letters/{tenant}/{letter}/replay",
        "Send the event back to the stage that gave it up",
        (),
        (),
        202,
        _JSON,
    ),
    ("delete", "/api/v1/dead-letters/{tenant}/{letter}", "Drop a dead letter", (), (), 204, ()),
    (
        "post",
        "/api/v1/dead-letters/{tenant}/replay",
        "Replay those that the filters fit; call again with `next` until it is null",
        (*_LETTERS, "cursor"),
        (),
        202,
        _JSON,
    ),
    (
        "delete",
        "/api/v1/dead-letters/{tenant}",
        "Drop those that the filters fit, or all; call again with `next` until it is null",
        (*_LETTERS, "all", "cursor"),
        (),
        200,
        _JSON,
    ),
    (
        "get",
        "/api/v1/events/{tenant}/{id}/trace",
        "The way of an event through the system",
        ("source",),
        (),
        200,
        _JSON,
    ),
    ("get", "/api/v1/events/{tenant}/stream", "Results as they come", ("type",), (), 200, ("text/event-stream",)),
    ("get", "/api/v1/status", "How full the streams are and what holds events up", (), (), 200, _JSON),
    ("get", "/api/v1/tenants/{tenant}", "A tenant with its keys, without their texts", (), (), 200, _JSON),
    ("put", "/api/v1/tenants/{tenant}", "Create or replace a tenant", (), _JSON, 200, _JSON),
    (
        "delete",
        "/api/v1/tenants/{tenant}",
        "Erase a tenant but for its final invoices",
        ("confirm", "unbilled"),
        (),
        200,
        _JSON,
    ),
    ("post", "/api/v1/retention/sweep", "Delete what tenants no longer want to keep", (), (), 200, _JSON),
    ("post", "/api/v1/tenants/{tenant}/keys", "Make an API key, shown this once", (), _JSON, 201, _JSON),
    ("delete", "/api/v1/tenants/{tenant}/keys/{key}", "Delete an API key", (), (), 204, ()),
    ("get", "/api/v1/plans/{plan}", "A plan's prices", (), (), 200, _JSON),
    ("put", "/api/v1/plans/{plan}", "Create or replace a plan", (), _JSON, 200, _JSON),
    ("get", "/api/v1/rules/{tenant}", "Rule sets", (), (), 200, _JSON),
    ("get", "/api/v1/rules/{tenant}/{name}", "A rule set's text and versions", ("version",), (), 200, _JSON),
    ("put", "/api/v1/rules/{tenant}/{name}", "Add a version", (), ("text/plain", "application/json"), 200, _JSON),
    ("delete", "/api/v1/rules/{tenant}/{name}", "Delete a rule set", (), (), 204, ()),
    ("post", "/api/v1/rules/{tenant}/{name}/activate", "Put a version in force", (), _JSON, 200, _JSON),
    (
        "post",
        "/api/v1/rules/{tenant}/{name}/dry-run",
        "What a draft or a version makes of events, given or stored; call again with `next` until it is null",
        (),
        _JSON,
        200,
        _JSON,
    ),
    (
        "post",
        "/api/v1/rules/{tenant}/explain",
        "What an event goes through: the platform's rules, then all of the tenant's that are in force",
        (),
        _JSON,
        200,
        _JSON,
    ),
    (
        "post",
        "/api/v1/rules/{tenant}/{name}/explain",
        "What each condition yields for an event, and what each firing did",
        (),
        _JSON,
        200,
        _JSON,
    ),
    (
        "get",
        "/api/v1/usage/{tenant}",
        "Usage by window",
        ("from", "to", "window", "tz", "group_by"),
        (),
        200,
        (*_JSON, "text/csv"),
    ),
    ("get", "/api/v1/invoice/{tenant}", "The latest invoice", (), (), 200, (*_JSON, "text/html", "text/csv")),
    ("get", "/api/v1/invoice/{tenant}/{invoice}", "One invoice", (), (), 200, (*_JSON, "text/html", "text/csv")),
    ("get", "/api/v1/invoices/{tenant}", "All invoices", (), (), 200, _JSON),
    ("post", "/api/v1/analytics/rebuild", "Make a page of analytics again from the event store", (), _JSON, 200, _JSON),
    ("post", "/api/v1/billing/close", "Close a month", (), _JSON, 200, _JSON),
)


def describe() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for method, path, summary, query, takes, status, gives in _CALLS:
        paths.setdefault(path, {})[method] = _operation(path, summary, query, takes, status, gives)
    return {
        "openapi": "3.1.0",
        "info": {"title": "EventRunner", "version": "1", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JWT."},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
            "schemas": {"Problem": _PROBLEM},
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def _operation(
    path: str, summary: str, query: tuple[str, ...], takes: tuple[str, ...], status: int, gives: tuple[str, ...]
) -> dict[str, Any]:
    success: dict[str, Any] = {"description": summary}
    if gives:
        success["content"] = {media: {} for media in gives}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [_parameter("path", part[1:-1]) for part in path.split("/") if part.startswith("{")]
        + [_parameter("query", name) for name in query],
        "responses": {str(status): success, "default": {"$ref": "#/components/responses/Problem"}},
    }
    if takes:
        operation["requestBody"] = {"content": {media: {} for media in takes}}
    return operation


def _parameter(place: str, name: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}
