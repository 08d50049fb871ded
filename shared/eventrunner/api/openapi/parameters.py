"""Parameters that several calls have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventrunner.api.conditions import TAGS_PATTERN
from eventrunner.api.idempotency import KEY_PATTERN
from eventrunner.api.openapi.call import Answer, Parameter, Schema, json_answer
from eventrunner.api.pages import DEFAULT_LIMIT, MAX_LIMIT
from eventrunner.api.texts import NAME_PATTERN, TENANT_PATTERN
from eventrunner.tenancy import PLATFORM

__all__ = [
    "CURSOR",
    "EVENT_ID",
    "EVENT_SOURCE",
    "EVENT_TYPE",
    "FROM",
    "IDEMPOTENCY_KEY",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "LAST_EVENT_ID",
    "NOT_MODIFIED",
    "OWNER",
    "PAGE",
    "SET_NAME",
    "TENANT",
    "TO",
    "choice",
    "in_path",
    "limit",
    "tagged",
    "text",
]

# What a gateway never lets through in a segment, escaped or not: controls, slashes, and the segments `.` and `..`.
_SEGMENT: Final = r"^(?!\.{1,2}$)[^\u0000-\u001f\u007f/\\]+$"
_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f]*$"


def in_path(name: str, description: str = "", pattern: str = _SEGMENT) -> Parameter:
    schema = {"type": "string", "pattern": pattern, "minLength": 1, "maxLength": 256}
    return Parameter(name, schema, description, "path", required=True)


def text(name: str, description: str = "", **more: Any) -> Parameter:
    schema = {"type": "string", "minLength": 1, "pattern": _PRINTABLE}
    return Parameter(name, schema | more, description)


def choice(name: str, values: Sequence[str], description: str = "", **more: Any) -> Parameter:
    return Parameter(name, {"type": "string", "enum": list(values), **more}, description)


def tagged(schema: Schema, description: str = "") -> Answer:
    """With an ETag."""
    return json_answer(schema, description, ETag=_TAG)


def limit(default: int, most: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", schema, "At most so many in the answer")


_TAG: Final = {"type": "string", "pattern": '^"[!#-~]+"$'}
_TAGS: Final = {"type": "string", "pattern": TAGS_PATTERN, "examples": ['"17"']}
IF_MATCH: Final = Parameter("If-Match", _TAGS, "412 unless the thing has this ETag", "header")
IF_NONE_MATCH: Final = Parameter(
    "If-None-Match", _TAGS, "GET: 304 where the thing has this ETag; else 412. `*`: only where there is none", "header"
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    {"type": "string", "pattern": KEY_PATTERN},
    "For a day, the same key with the same body makes nothing again, also where it is not known what the first request "
    "has made (5xx); with another body it is refused. 429 when the tenant has used too many of them within a day",
    "header",
)
NOT_MODIFIED: Final = Answer(description="As the caller has it", headers={"ETag": _TAG})
TENANT: Final = in_path("tenant", pattern=TENANT_PATTERN)
OWNER: Final = in_path(
    "tenant", f"A tenant, or {PLATFORM} for the rules of the platform", f"{TENANT_PATTERN}|^{PLATFORM}$"
)
SET_NAME: Final = in_path("name", pattern=f"^(?!explain$){NAME_PATTERN[1:]}")
EVENT_ID: Final = in_path("id", "Of the event", r"^(?!\.{1,2}$)(?!stream$)[^\u0000-\u001f\u007f/\\]+$")
EVENT_SOURCE: Final = text("source", "Of events from this source only")
EVENT_TYPE: Final = text("type", "Of events of this type only")
FROM: Final = Parameter("from", {"type": "string", "format": "date-time"}, "Not before this time")
TO: Final = Parameter("to", {"type": "string", "format": "date-time"}, "Before this time")
CURSOR: Final = text("cursor", "The `next` of the answer before, with all other parameters as they were")
PAGE: Final = (limit(DEFAULT_LIMIT, MAX_LIMIT), CURSOR)
LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID", {"type": "string", "pattern": "^[0-9]{1,18}\\.[0-9]{1,18}$"}, "Go on after this one", "header"
)
