"""The exception tree. Every error that EventRunner raises on purpose is one of these.

EventRunnerError
├── InvalidInput            the caller's mistake; `fields` names each wrong field
│   ├── MalformedBody       not parsable at all
│   ├── MalformedPath       a path that can be read in several ways
│   ├── BodyTooLarge        over a size limit
│   ├── UnsupportedMedia    a content type or encoding that nobody here reads
│   ├── NotWebAssembly      no module or component at all; defined in `wasm.binary`
│   ├── ForbiddenImport, ForbiddenSigner, NoHandler
│   │                       a module may be no consumer; defined in `api.admission`
│   ├── OverPlan            more than a tenant's plan allows; defined in `billing.consumer_limits`
│   ├── SignatureError      a module's signature is not accepted; defined in `wasm.signature_errors`
│   └── RuleSyntaxError     GRL text that does not compile; defined in `rules.errors`
├── Unauthenticated         no or unknown credentials
├── Forbidden               known, but not allowed
├── NotFound
├── Conflict                the thing exists already with other content
├── PreconditionFailed      the thing is not as If-Match or If-None-Match say
├── QuotaExceeded           over a tenant's quota; `retry_after` seconds
├── Unavailable             a server we depend on is away; trying again later is right
└── ConfigurationError      settings or manifests that cannot work; names what to change

`retryable` tells a delivery loop whether the same input may succeed later; `status` is the HTTP status for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar

__all__ = [
    "BodyTooLarge",
    "ConfigurationError",
    "Conflict",
    "EventRunnerError",
    "FieldError",
    "Forbidden",
    "InvalidInput",
    "MalformedBody",
    "MalformedPath",
    "NotFound",
    "PreconditionFailed",
    "QuotaExceeded",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMedia",
]


@dataclass(frozen=True, slots=True)
class FieldError:
    field: str
    """Path of the wrong value, such as `time` or `lines[3].salience`."""
    message: str
    """What is wrong and what would be right."""


@dataclass(eq=False)
class EventRunnerError(Exception):
    detail: str
    """One sentence for a person: what happened and what to do."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    retryable: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.detail

    def retry_header(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, where waiting helps; else empty."""
        return {}

    def problem(self) -> dict[str, Any]:
        """The error as the members of an RFC 9457 problem document."""
        status = HTTPStatus(self.status)
        return {
            "type": f"urn:eventrunner:error:{self.code}",
            "title": status.phrase,
            "status": int(status),
            "detail": self.detail,
        }


@dataclass(eq=False)
class InvalidInput(EventRunnerError):
    fields: tuple[FieldError, ...] = ()
    """Every wrong field, collected before raising."""

    code = "invalid-input"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def problem(self) -> dict[str, Any]:
        document = EventRunnerError.problem(self)
        if self.fields:
            document["errors"] = [{"field": item.field, "message": item.message} for item in self.fields]
        return document


@dataclass(eq=False)
class MalformedBody(InvalidInput):
    code = "malformed-body"
    status = HTTPStatus.BAD_REQUEST


@dataclass(eq=False)
class MalformedPath(InvalidInput):
    code = "malformed-path"
    status = HTTPStatus.BAD_REQUEST


@dataclass(eq=False)
class BodyTooLarge(InvalidInput):
    code = "body-too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@dataclass(eq=False)
class UnsupportedMedia(InvalidInput):
    code = "unsupported-media"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@dataclass(eq=False)
class Unauthenticated(EventRunnerError):
    key: str = ""
    """Id of the API key, if there is or was such a key; not told to the caller."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED


@dataclass(eq=False)
class Forbidden(EventRunnerError):
    code = "forbidden"
    status = HTTPStatus.FORBIDDEN


@dataclass(eq=False)
class NotFound(EventRunnerError):
    code = "not-found"
    status = HTTPStatus.NOT_FOUND


@dataclass(eq=False)
class Conflict(EventRunnerError):
    code = "conflict"
    status = HTTPStatus.CONFLICT


@dataclass(eq=False)
class PreconditionFailed(EventRunnerError):
    code = "precondition-failed"
    status = HTTPStatus.PRECONDITION_FAILED


@dataclass(eq=False)
class QuotaExceeded(EventRunnerError):
    retry_after: float = field(default=1.0)
    """Seconds until the next try can succeed."""

    code = "quota-exceeded"
    status = HTTPStatus.TOO_MANY_REQUESTS
    retryable = True

    def retry_header(self) -> dict[str, str]:
        return _retry_header(self.retry_after)


@dataclass(eq=False)
class Unavailable(EventRunnerError):
    retry_after: float = field(default=1.0)
    """Seconds to wait before the next try."""

    code = "unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True

    def retry_header(self) -> dict[str, str]:
        return _retry_header(self.retry_after)


@dataclass(eq=False)
class ConfigurationError(EventRunnerError):
    code = "configuration"


def _retry_header(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
