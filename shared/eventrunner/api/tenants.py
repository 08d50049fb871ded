"""Tenants and their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from flask import Request, Response
from nats.aio.client import Client

from eventrunner.access.identity import Identity
from eventrunner.access.keys import ROLES, hash_key, make_key
from eventrunner.api.backend import Backend, check_admin, check_own
from eventrunner.api.bodies import read_json
from eventrunner.api.conditions import Condition, tagged, tenant_tag
from eventrunner.api.idempotency import Idempotency, Place
from eventrunner.api.pages import read_page
from eventrunner.api.texts import ShortText
from eventrunner.clock import Clock, format_time
from eventrunner.errors import FieldError, InvalidInput, NotFound
from eventrunner.events.adapters import parse_adapters
from eventrunner.events.routing import parse_routes
from eventrunner.ids import new_id
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.records import MOST_BURST, MOST_RATE, Key, Quota, Tenant, new_text
from eventrunner.storage.registry import Registry
from eventrunner.tenancy import check_tenant

__all__ = ["KeyBody", "RotateBody", "TenantBody", "TenantCalls"]


class TenantBody(msgspec.Struct, forbid_unknown_fields=True):
    """What may be set; the rest of a tenant is ours. Members that GET shows may be sent back."""

    name: ShortText = ""
    plan: ShortText = "standard"
    quota: Quota | None = None
    adapters: list[dict[str, Any]] = []
    routes: list[dict[str, Any]] = []
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = None
    id: str | None = None
    created: str | None = None
    keys: list[Any] | None = None


_LONGEST_GRACE: Final = 30 * 86_400
_Role: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(ROLES)})]


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    roles: Annotated[tuple[_Role, ...], msgspec.Meta(max_length=16, extra_json_schema={"minItems": 1})] = (
        "event_publisher",
        "user",
    )
    subject: ShortText = ""


class RotateBody(msgspec.Struct, forbid_unknown_fields=True):
    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=_LONGEST_GRACE)] = 3600
    """How long the old text still works."""


class TenantCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._idempotency = Idempotency(backend, clock)

    def get(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        record, revision = self._backend.tenant_entry(tenant)
        return tagged(request, json_response(self._document(record)), self._tag(tenant, revision))

    def put(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_admin(identity)
        check_tenant(tenant)
        condition, body = Condition(request), read_json(request, TenantBody)
        self._check(body, tenant)
        is_new, written = False, Tenant(tenant)

        def change(stored: bytes | None) -> bytes:
            nonlocal is_new, written
            is_new = stored is None
            created = format_time(self._clock()) if stored is None else Tenant.from_json(stored).created
            written = Tenant(
                tenant,
                body.name,
                body.plan,
                body.quota,
                body.adapters,
                body.routes,
                created,
                body.retention_days,
            )
            return written.to_json()

        def check(revision: int | None) -> None:
            condition.check(None if revision is None else self._tag(tenant, revision))

        revision = self._backend.change(records.TENANTS, tenant, change, check)
        response = json_response(self._document(written), 201 if is_new else 200)
        return tagged(request, response, self._tag(tenant, revision))

    def create_key(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_admin(identity)
        self._backend.tenant(tenant)
        body = read_json(request, KeyBody)
        return self._make_key(request, identity, tenant, lambda: (body.roles, body.subject), lambda: None)

    def list_keys(self, request: Request, identity: Identity, tenant: str) -> Response:
        check_own(identity, tenant)
        self._backend.tenant(tenant)
        page, following = read_page(request, self._backend.keys(tenant), lambda key: f"{key.created} {key.id}")

        async def read(client: Client) -> dict[str, bytes]:
            return await Registry(client).items(records.KEY_USES)

        uses = self._backend.registry.run(read) if page else {}
        shown = [_key_document(key) | {"last_used": _text(uses.get(key.id)), "expires": _expiry(key)} for key in page]
        return json_response({"keys": shown, "next": following})

    def rotate_key(self, request: Request, identity: Identity, tenant: str, key: str) -> Response:
        """A new key with the roles and the holder of the old one, which works on for the grace."""
        check_admin(identity)
        self._backend.tenant(tenant)
        grace = read_json(request, RotateBody).grace_seconds

        def like_old() -> tuple[Sequence[str], str]:
            old = self._find_key(tenant, key)
            return old.roles, old.subject

        def retire_old() -> None:
            with suppress(NotFound):
                self._retire(self._find_key(tenant, key), grace)

        return self._make_key(request, identity, tenant, like_old, retire_old)

    def _make_key(
        self,
        request: Request,
        identity: Identity,
        tenant: str,
        holder: Callable[[], tuple[Sequence[str], str]],
        then: Callable[[], None],
    ) -> Response:
        """`holder`: the roles and the subject that it gets, asked for only if it is made."""
        text = new_text()
        place = Place(records.KEYS, hash_key(text), new_id(), tenant)

        def make() -> Response:
            _, record = make_key(tenant, *holder(), self._clock, place.id, text)
            self._backend.registry.update(records.KEYS, record.hash, record.to_json(), 0)
            then()
            return _shown_once(text, record)

        def found(value: bytes) -> Response:
            then()
            return _shown_once("", Key.from_json(value))

        return self._idempotency.once(request, identity, place, make, found, is_shown_once=True)

    def _retire(self, old: Key, grace: int) -> None:
        """Raises NotFound if somebody has deleted it meanwhile: it must not come to life again."""
        if not grace:
            self._backend.registry.delete(records.KEYS, old.hash)
            return
        until = self._clock().timestamp() + grace

        def expire(stored: bytes | None) -> bytes:
            if stored is None:
                raise NotFound(f"There is no key {old.id} any more.")
            key = Key.from_json(stored)
            # Rotated again, it lives no longer than it would have.
            key.expires = min(key.expires, until) if key.expires else until
            return key.to_json()

        self._backend.change(records.KEYS, old.hash, expire)

    def _find_key(self, tenant: str, key: str) -> Key:
        for look_again in (True, False):
            for record in self._backend.keys(tenant):
                if record.id == key:
                    return record
            if look_again:
                self._backend.registry.catch_up(records.KEYS)
        raise NotFound(f"Tenant {tenant} has no key {key}.")

    def delete_key(self, _: Request, identity: Identity, tenant: str, key: str) -> Response:
        check_admin(identity)
        self._backend.tenant(tenant)
        self._backend.registry.delete(records.KEYS, self._find_key(tenant, key).hash)
        return Response(status=204)

    def _check(self, body: TenantBody, tenant: str) -> None:
        problems: list[FieldError] = []
        if body.id not in (None, tenant):
            problems.append(FieldError("id", f"the path says {tenant}"))
        if self._backend.plan_document(body.plan) is None:
            problems.append(FieldError("plan", f"there is no plan {body.plan!r}"))
        problems += _quota_problems(body.quota)
        for parse, documents in ((parse_adapters, body.adapters), (parse_routes, body.routes)):
            try:
                parse(documents)
            except InvalidInput as error:
                problems += error.fields or (FieldError("", error.detail),)
        if problems:
            reasons = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
            raise InvalidInput(f"Tenant {tenant} cannot be like this: {reasons}.", tuple(problems))

    def _tag(self, tenant: str, revision: int) -> str:
        return tenant_tag(revision, self._backend.keys(tenant))

    def _document(self, tenant: Tenant) -> Mapping[str, Any]:
        return {
            "id": tenant.id,
            "name": tenant.name,
            "plan": tenant.plan,
            "quota": msgspec.to_builtins(tenant.quota),
            "adapters": tenant.adapters,
            "routes": tenant.routes,
            "retention_days": tenant.retention_days,
            "created": tenant.created,
            "keys": [_key_document(key) for key in self._backend.keys(tenant.id)],
        }


def _key_document(key: Key) -> dict[str, Any]:
    return {"id": key.id, "roles": key.roles, "subject": key.subject, "created": key.created, "last4": key.last4}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _expiry(key: Key) -> str | None:
    return format_time(datetime.fromtimestamp(key.expires, UTC)) if key.expires else None


def _shown_once(text: str, key: Key) -> Response:
    response = json_response({"id": key.id, "key": text, "roles": key.roles}, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


def _quota_problems(quota: Quota | None) -> list[FieldError]:
    if quota is None:
        return []
    most = {"events_per_second": MOST_RATE, "bytes_per_second": MOST_RATE, "burst": MOST_BURST}
    return [
        FieldError(f"quota.{name}", f"must be more than 0, {limit} at most")
        for name, limit in most.items()
        if not 0 < getattr(quota, name) <= limit
    ]
