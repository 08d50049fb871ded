"""The keys that a tenant signs its modules with: a module runs only while its key is among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from flask import Request, Response

from eventrunner.access.identity import Identity
from eventrunner.api.backend import Backend, check_own
from eventrunner.api.bodies import read_json
from eventrunner.api.pages import read_page
from eventrunner.api.texts import ShortText
from eventrunner.clock import Clock, format_time
from eventrunner.errors import Conflict, NotFound
from eventrunner.stage.answers import json_response
from eventrunner.storage import records
from eventrunner.storage.records import SigningKey, tenant_key
from eventrunner.wasm.signing_keys import PublicKey

__all__ = ["MOST_KEYS", "SigningKeyBody", "SigningKeyCalls"]

MOST_KEYS: Final = 32
"""Of a tenant. Each may have to be tried with each signature of a module."""


class SigningKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    public_key: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Ed25519: as PEM, as OpenSSH's line, or base64 of wasmsign2's file, of DER or of the 32 bytes."""
    name: ShortText = ""
    """For people."""


class SigningKeyCalls:
    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    def list_all(self, request: Request, identity: Identity, tenant: str) -> Response:
        self._check_access(identity, tenant)
        found, _ = self._backend.registry.among_now(records.SIGNING_KEYS, tenant)
        keys = [SigningKey.from_json(value) for value in found.values()]
        page, following = read_page(request, keys, lambda key: f"{key.created} {key.id}")
        return json_response({"signing_keys": [_document(key) for key in page], "next": following})

    def create(self, request: Request, identity: Identity, tenant: str) -> Response:
        """The same key again keeps its time, and gets the name that is given now."""
        self._check_access(identity, tenant)
        body = read_json(request, SigningKeyBody)
        public = PublicKey.parse(body.public_key.encode())
        is_new, written = False, SigningKey(tenant, public.id, public.to_text(), body.name)

        def change(stored: bytes | None, others: Mapping[str, bytes]) -> bytes:
            nonlocal is_new
            is_new = stored is None
            if len(others) >= MOST_KEYS:
                raise Conflict(f"{tenant} has {len(others)} signing keys, as many as it may: remove one first.")
            written.created = format_time(self._clock()) if stored is None else SigningKey.from_json(stored).created
            return written.to_json()

        self._backend.change_among(records.SIGNING_KEYS, tenant_key(tenant, public.id), change)
        return json_response(_document(written), 201 if is_new else 200)

    def delete(self, _: Request, identity: Identity, tenant: str, key: str) -> Response:
        """What is signed with it runs no longer."""
        self._check_access(identity, tenant)
        entry = self._backend.entry(records.SIGNING_KEYS, tenant_key(tenant, key))
        if entry is None:
            raise NotFound(f"Tenant {tenant} has no signing key {key}.")
        self._backend.registry.purge(records.SIGNING_KEYS, tenant_key(tenant, key), entry[1])
        return Response(status=204)

    def _check_access(self, identity: Identity, tenant: str) -> None:
        """Raises Forbidden, and NotFound for a tenant that is not there."""
        check_own(identity, tenant)
        self._backend.tenant(tenant)


def _document(key: SigningKey) -> dict[str, Any]:
    module_id = PublicKey.parse(key.public.encode()).module_id.hex()
    return {
        "tenant": key.tenant,
        "id": key.id,
        "name": key.name,
        "public_key": key.public,
        "module_key_id": module_id,
        "created": key.created,
    }
