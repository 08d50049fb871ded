"""The description as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec

from eventrunner.api.openapi import (
    billing,
    consumers,
    dead_letters,
    events,
    operations,
    replays,
    rules,
    signing_keys,
    tenants,
)
from eventrunner.api.openapi.call import Call, Schema, operation
from eventrunner.api.openapi.problems import Problem

__all__ = ["CALLS", "describe"]

_RESOURCES: Final = {
    "events": events.CALLS,
    "dead letters": dead_letters.CALLS,
    "replays": replays.CALLS,
    "rules": rules.CALLS,
    "consumers": consumers.CALLS,
    "signing keys": signing_keys.CALLS,
    "tenants": tenants.CALLS,
    "billing": billing.CALLS,
    "operations": operations.CALLS,
}
CALLS: Final[tuple[Call, ...]] = tuple(call for calls in _RESOURCES.values() for call in calls)

_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JWT."},
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


@cache
def describe() -> dict[str, Any]:
    types = [Problem, *_types()]
    shown, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    _numbers(components)
    schemas = dict(zip(map(_key, types), shown, strict=True))

    def to_schema(schema: Schema) -> dict[str, Any]:
        if isinstance(schema, tuple):
            return {"anyOf": [to_schema(item) for item in schema]}
        return schema if isinstance(schema, dict) else schemas[_key(schema)]

    paths: dict[str, dict[str, Any]] = {}
    for resource, calls in _RESOURCES.items():
        for call in calls:
            paths.setdefault(call.path, {})[call.method] = {"tags": [resource], **operation(call, to_schema)}
    problem = {"description": "What went wrong (RFC 9457)", "content": {"application/problem+json": {}}}
    problem["content"] = {"application/problem+json": {"schema": to_schema(Problem)}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "EventRunner", "version": "1", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{name: []} for name in _SECURITY],
        "tags": [{"name": resource} for resource in _RESOURCES],
        "paths": paths,
        "components": {"securitySchemes": _SECURITY, "schemas": components, "responses": {"Problem": problem}},
    }


def _types() -> Iterable[Schema]:
    for call in CALLS:
        contents = [answer.content for answer in call.answers.values()]
        for content in (*contents, *([call.body.content] if call.body else ())):
            for schema in content.values():
                if not isinstance(schema, dict):
                    yield from schema if isinstance(schema, tuple) else (schema,)


def _numbers(schema: Any) -> None:
    """msgspec says of a Decimal that it is a string; a whole number is read too, where one is bounded."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal" and "minimum" in schema:
            schema["type"] = ["string", "integer"]
        for value in schema.values():
            _numbers(value)
    elif isinstance(schema, list):
        for value in schema:
            _numbers(value)


def _key(schema: Schema) -> str:
    # Annotated types with schemas of their own cannot be hashed.
    return repr(schema)
