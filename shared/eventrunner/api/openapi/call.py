"""What is said of a call, and how OpenAPI says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Answer", "Body", "Call", "Parameter", "Schema", "json_answer", "json_body", "operation"]

Schema: TypeAlias = Any
"""A type that msgspec knows, a tuple of such, of which it is one, or JSON Schema as a dict."""
ToSchema: TypeAlias = Callable[[Schema], dict[str, Any]]

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    schema: dict[str, Any]
    description: str = ""
    place: str = "query"
    required: bool = False

    def document(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "in": self.place, "required": self.required, "schema": self.schema}
        return shown | ({"description": self.description} if self.description else {})


@dataclass(frozen=True, slots=True)
class Body:
    content: Mapping[str, Schema]
    """By media type."""
    required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    content: Mapping[str, Schema] = field(default_factory=dict)
    description: str = ""
    headers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Schemas by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    id: str
    """That of its access rule."""
    method: str
    path: str
    summary: str
    description: str = ""
    path_parameters: tuple[Parameter, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Answer]
    problems: tuple[int, ...] = ()
    """Statuses of problem documents besides those that every call has."""
    public: bool = False
    untagged: str = ""
    """Of a call that changes something: why there is no ETag that If-Match could name. Empty where there is one."""


def json_body(schema: Schema, *, required: bool = True) -> Body:
    return Body({"application/json": schema}, required)


def json_answer(schema: Schema, description: str = "", **headers: dict[str, Any]) -> Answer:
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    return Answer({"application/json": schema}, description, named)


def operation(call: Call, to_schema: ToSchema) -> dict[str, Any]:
    named = [parameter.name for parameter in call.path_parameters]
    assert named == _PATH_PARAMETER.findall(call.path), call.id
    responses: dict[str, Any] = {
        str(status): _answer(answer, call, to_schema) for status, answer in call.answers.items()
    }
    responses |= {str(status): {"$ref": "#/components/responses/Problem"} for status in sorted(_statuses(call))}
    shown: dict[str, Any] = {
        "operationId": call.id,
        "summary": call.summary,
        "parameters": [parameter.document() for parameter in (*call.path_parameters, *call.parameters)],
        "responses": responses | {"default": {"$ref": "#/components/responses/Problem"}},
    }
    if call.body is not None:
        shown["requestBody"] = {"required": call.body.required, "content": _content(call.body.content, to_schema)}
    if call.public:
        shown["security"] = []
    untagged = f"{call.untagged}: If-Match with one is answered 412." if call.untagged else ""
    if description := " ".join(filter(None, (call.description, untagged))):
        shown["description"] = description
    return shown


def _statuses(call: Call) -> set[int]:
    if call.public:
        return set(call.problems)
    # The gateway refuses a path that has two readings, and a service behind it may be away. Every body has a limit.
    return {400, 401, 403, 503, *call.problems, *((413,) if call.body else ()), *((412,) if call.untagged else ())}


def _answer(answer: Answer, call: Call, to_schema: ToSchema) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": answer.description or call.summary}
    if answer.content:
        shown["content"] = _content(answer.content, to_schema)
    if answer.headers:
        shown["headers"] = {name: {"required": True, "schema": schema} for name, schema in answer.headers.items()}
    return shown


def _content(content: Mapping[str, Schema], to_schema: ToSchema) -> dict[str, Any]:
    return {media: {"schema": to_schema(schema)} for media, schema in content.items()}
