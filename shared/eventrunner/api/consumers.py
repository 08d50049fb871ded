"""Consumers: a tenant's WebAssembly, which events it is handed, and within which limits. They are checked and stored
here; whoever runs them follows the records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Any, Final, NamedTuple

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.api.admission import Admission, Admitted
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.conditions import Condition, check_revision, tagged
from eventrunner.api.consumer_settings import ConsumerSettings, read_settings
from eventrunner.api.consumer_status import Counts, counts_of, status_of
from eventrunner.api.pages import read_page
from eventrunner.api.texts import NAME_PATTERN
from eventrunner.clock import Clock, format_time
from eventrunner.errors import (
    Conflict,
    EventRunnerError,
    FieldError,
    InvalidInput,
    NotFound,
    Unavailable,
    UnsupportedMedia,
)
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.modules import module_of
from eventrunner.storage.records import Consumer, StoredModule, tenant_key

__all__ = ["WASM", "ConsumerCalls"]

WASM: Final = "application/wasm"
_NAME: Final = re.compile(NAME_PATTERN)
_AT_ONCE: Final = 2
"""Uploads that one process takes at a time: each holds all of its bytes."""
_PATIENCE: Final = 5.0


class _Written(NamedTuple):
    replaced: bytes | None
    """The record that was there before."""
    consumer: Consumer
    revision: int


class ConsumerCalls:
    def __init__(self, backend: Backend, policy: WasmPolicy, clock: Clock) -> None:
        self._backend = backend
        self._admission = Admission(backend, policy)
        self._clock = clock
        self._uploads = BoundedSemaphore(_AT_ONCE)

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        self._check_access(identity, tenant)
        page, following = read_page(request, self._all(tenant), lambda item: item.name)
        counts = counts_of(self._backend, tenant)
        return json_response({"consumers": [self._document(item, counts) for item in page], "next": following})

    def get(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        self._check_access(identity, tenant)
        consumer, revision = self._entry(tenant, name)
        document = self._document(consumer, counts_of(self._backend, tenant))
        return tagged(request, json_response(document), str(revision))

    def put(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        self._check_access(identity, tenant)
        _check_name(name)
        settings, condition = read_settings(request, self._backend.plan_of(tenant)), Condition(request)
        if request.mimetype != WASM:
            raise UnsupportedMedia(f"Content type {request.mimetype or 'missing'}: send {WASM}.")
        if not self._uploads.acquire(timeout=_PATIENCE):
            raise Unavailable("Other modules are being stored at the moment; nothing was taken. Try again.")
        try:
            return self._store(request, tenant, name, settings, condition)
        finally:
            self._uploads.release()

    def delete(self, request: Request, identity: Identity, tenant: str, name: str) -> Response:
        self._check_access(identity, tenant)
        condition = Condition(request)
        consumer, revision = self._entry(tenant, name)
        condition.check(str(revision))
        self._backend.registry.purge(records.CONSUMERS, tenant_key(tenant, name), revision)
        if consumer.module is not None:
            self._backend.modules.release(consumer.module.sha256)
        return Response(status=204)

    def _store(
        self, request: Request, tenant: str, name: str, settings: ConsumerSettings, condition: Condition
    ) -> Response:
        code = request.get_data(cache=False)
        admitted = self._admission.admit(code, tenant)
        stored = admitted.stored
        # Once more when the record is written; here so that bytes that there is no room for are not stored at all.
        self._check_room(tenant, name, stored, self._backend.registry.among(records.CONSUMERS, tenant)[0])
        modules = self._backend.modules
        modules.keep(code)
        try:
            written = self._write(tenant, name, admitted, settings, condition)
        except EventRunnerError:
            modules.release(stored.sha256)
            raise
        modules.keep(code)
        if written.replaced is not None and (before := module_of(written.replaced)) and before != stored.sha256:
            modules.release(before)
        response = json_response(self._document(written.consumer, None), 201 if written.replaced is None else 200)
        return tagged(request, response, str(written.revision))

    def _write(
        self, tenant: str, name: str, admitted: Admitted, settings: ConsumerSettings, condition: Condition
    ) -> _Written:
        now = format_time(self._clock())
        replaced: bytes | None = None
        consumer = Consumer(tenant, name)

        def change(record: bytes | None, others: Mapping[str, bytes]) -> bytes:
            nonlocal replaced, consumer
            self._check_room(tenant, name, admitted.stored, others)
            replaced = record
            # Without a dot, as a durable consumer's name, and told apart whatever the two are called.
            consumer = Consumer(tenant, name, f"{tenant}={name}") if record is None else Consumer.from_json(record)
            consumer.module, consumer.signed_by, consumer.updated = admitted.stored, admitted.signed_by, now
            consumer.subscription, consumer.limits, consumer.instance = settings
            consumer.created = consumer.created or now
            return consumer.to_json()

        key = tenant_key(tenant, name)
        revision = self._backend.change_among(records.CONSUMERS, key, change, check_revision(condition))
        return _Written(replaced, consumer, revision)

    def _check_room(self, tenant: str, name: str, stored: StoredModule, found: Mapping[str, bytes]) -> None:
        others = [Consumer.from_json(value) for other, value in found.items() if other != name]
        settings = self._backend.settings
        if len(others) >= settings.max_consumers:
            raise Conflict(f"{tenant} has {len(others)} consumers, as many as it may: remove one first.")
        modules = {item.module.sha256: item.module.size for item in others if item.module is not None}
        size = sum((modules | {stored.sha256: stored.size}).values())
        if size > settings.max_consumer_bytes:
            raise Conflict(
                f"The WebAssembly of {tenant} would take {size} bytes; the limit is {settings.max_consumer_bytes}: "
                "remove a consumer first."
            )

    def _check_access(self, identity: Identity, tenant: str) -> None:
        """Raises Forbidden, and NotFound for a tenant that is not there."""
        check_own(identity, tenant)
        self._backend.tenant(tenant)

    def _all(self, tenant: str) -> list[Consumer]:
        found, _ = self._backend.registry.among(records.CONSUMERS, tenant)
        return [Consumer.from_json(value) for value in found.values()]

    def _entry(self, tenant: str, name: str) -> tuple[Consumer, int]:
        """With its revision. Raises InvalidInput, NotFound."""
        _check_name(name)
        entry = self._backend.registry.entry(records.CONSUMERS, tenant_key(tenant, name))
        if entry is None:
            raise NotFound(f"Not found: {self._backend.no_consumer(tenant, name)}.")
        return Consumer.from_json(entry[0]), entry[1]

    def _document(self, consumer: Consumer, counts: Counts | None) -> dict[str, Any]:
        return {**_described(consumer), "status": status_of(self._backend, consumer, counts)}


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        message = "up to 64 letters, digits, '-' and '_'"
        raise InvalidInput(f"{name!r} is not a consumer's name: use {message}.", (FieldError("name", message),))


def _described(consumer: Consumer) -> dict[str, Any]:
    return {
        "tenant": consumer.tenant,
        "name": consumer.name,
        "module": msgspec.to_builtins(consumer.module),
        "signed_by": consumer.signed_by or None,
        "subscription": msgspec.to_builtins(consumer.subscription),
        "limits": msgspec.to_builtins(consumer.limits),
        "instance": consumer.instance,
        "created": consumer.created or None,
        "updated": consumer.updated or None,
    }
