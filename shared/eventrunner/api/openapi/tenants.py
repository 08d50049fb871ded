"""Tenants, their keys, and the end of their data."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventrunner.api.openapi.call import Answer, Call, Parameter, json_answer, json_body
from eventrunner.api.openapi.parameters import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    NOT_MODIFIED,
    PAGE,
    TENANT,
    choice,
    in_path,
    tagged,
)
from eventrunner.api.tenants import KeyBody, RotateBody, TenantBody
from eventrunner.api.texts import Time
from eventrunner.storage.records import Quota

__all__ = ["CALLS"]


class KeyDocument(msgspec.Struct):
    id: str
    roles: list[str]
    subject: str
    created: Time
    last4: str


class UsedKey(KeyDocument):
    last_used: Time | None
    """To the minute; null: never."""
    expires: Time | None
    """Of a key that was rotated."""


class Keys(msgspec.Struct):
    keys: list[UsedKey]
    next: str | None


class TenantDocument(msgspec.Struct):
    id: str
    name: str
    plan: str
    quota: Quota | None
    adapters: list[dict[str, Any]]
    routes: list[dict[str, Any]]
    retention_days: int | None
    created: Time
    keys: list[KeyDocument]


class NewKey(msgspec.Struct):
    id: str
    key: str
    """Shown this once."""
    roles: list[str]


class Kept(msgspec.Struct):
    invoices: int


class Erased(msgspec.Struct):
    tenant: str
    erased: dict[str, int]
    kept: Kept
    discarded_usage: list[str]
    """Months."""


class Swept(msgspec.Struct):
    events: int
    rows: int


class Sweep(msgspec.Struct):
    tenants: dict[str, Swept]
    expired_keys: int


_ONE: Final = "/api/v1/tenants/{tenant}"
_KEY: Final = in_path("key", pattern="^[A-Za-z0-9_-]{1,64}$")

CALLS: Final = (
    Call(
        id="tenants-get",
        method="get",
        path=_ONE,
        summary="A tenant with its keys, without their texts",
        path_parameters=(TENANT,),
        parameters=(IF_NONE_MATCH,),
        answers={200: tagged(TenantDocument), 304: NOT_MODIFIED},
        problems=(404, 422),
    ),
    Call(
        id="tenants-put",
        method="put",
        path=_ONE,
        summary="Create or replace a tenant",
        path_parameters=(TENANT,),
        parameters=(IF_MATCH, IF_NONE_MATCH),
        body=json_body(TenantBody, required=False),
        answers={200: tagged(TenantDocument, "Replaced"), 201: tagged(TenantDocument, "Created")},
        problems=(409, 412, 422),
    ),
    Call(
        id="tenants-delete",
        method="delete",
        path=_ONE,
        summary="Erase a tenant but for its final invoices",
        path_parameters=(TENANT,),
        parameters=(
            IF_MATCH,
            Parameter("confirm", TENANT.schema, "The tenant's name once more", required=True),
            choice("unbilled", ("discard",), "Let go of usage that is on no final invoice"),
        ),
        answers={200: json_answer(Erased)},
        problems=(409, 412, 422),
    ),
    Call(
        id="retention-sweep",
        method="post",
        path="/api/v1/retention/sweep",
        summary="Delete what tenants no longer want to keep",
        answers={200: json_answer(Sweep)},
        untagged="What is swept has no ETag",
    ),
    Call(
        id="keys-list",
        method="get",
        path=f"{_ONE}/keys",
        summary="A tenant's API keys without their texts, and when they were used last",
        path_parameters=(TENANT,),
        parameters=PAGE,
        answers={200: json_answer(Keys)},
        problems=(404, 422),
    ),
    Call(
        id="keys-rotate",
        method="post",
        path=f"{_ONE}/keys/{{key}}/rotate",
        summary="A new key in place of this one, shown this once; the old one works on for the grace",
        path_parameters=(TENANT, _KEY),
        parameters=(IDEMPOTENCY_KEY,),
        body=json_body(RotateBody, required=False),
        answers={201: json_answer(NewKey, Cache_Control={"const": "no-store"})},
        problems=(404, 409, 422, 429),
        untagged="A key has no ETag, as it changes by this call only",
    ),
    Call(
        id="keys-create",
        method="post",
        path=f"{_ONE}/keys",
        summary="Make an API key, shown this once: asked again with its Idempotency-Key, 409 names its id",
        path_parameters=(TENANT,),
        parameters=(IDEMPOTENCY_KEY,),
        body=json_body(KeyBody, required=False),
        answers={201: json_answer(NewKey, Cache_Control={"const": "no-store"})},
        problems=(404, 409, 422, 429),
        untagged="What is made anew has no ETag yet (Idempotency-Key makes it once)",
    ),
    Call(
        id="keys-delete",
        method="delete",
        path=f"{_ONE}/keys/{{key}}",
        summary="Delete an API key",
        path_parameters=(TENANT, _KEY),
        answers={204: Answer()},
        problems=(404, 422),
        untagged="A key has no ETag, as nothing of it but its end can change",
    ),
)
