"""Whether an uploaded module may be a tenant's consumer: what it is, who has signed it, what it imports and exports.

It is run nowhere for this, and compiled nowhere. Each reason for a no is an error with a code of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.api.backend import Backend
from eventrunner.errors import FieldError, InvalidInput
from eventrunner.storage import records
from eventrunner.storage.modules import module_name
from eventrunner.storage.records import SigningKey, StoredModule
from eventrunner.wasm.binary import Kind, Module, read_module
from eventrunner.wasm.signing import PublicKey, UnknownSigningKey, verify

__all__ = ["Admission", "Admitted", "ForbiddenImport", "ForbiddenSigner", "NoHandler"]


@dataclass(eq=False)
class ForbiddenImport(InvalidInput):
    code = "forbidden-import"


@dataclass(eq=False)
class NoHandler(InvalidInput):
    code = "no-handler"


@dataclass(eq=False)
class ForbiddenSigner(InvalidInput):
    code = "forbidden-signer"


class Admitted(NamedTuple):
    stored: StoredModule
    signed_by: str
    """Id of the tenant's key."""


class Admission:
    def __init__(self, backend: Backend, policy: WasmPolicy) -> None:
        self._backend = backend
        self._policy = policy

    def admit(self, code: bytes, tenant: str) -> Admitted:
        """Raises NotWebAssembly, the errors of `wasm.signature_errors`, and those above."""
        module = read_module(code)
        signed_by = self._signer(code, module.kind, tenant)
        self._check_imports(module, tenant)
        self._check_exports(module)
        imports = [str(item) for item in module.imports]
        stored = StoredModule(module_name(code), len(code), module.kind.value, imports, list(module.exports))
        return Admitted(stored, signed_by)

    def _signer(self, code: bytes, kind: Kind, tenant: str) -> str:
        keys = self._keys(tenant)
        ids = [key.id for key in keys]
        try:
            key = verify(code, keys)
        except UnknownSigningKey as error:
            known = f"{tenant} has the keys {', '.join(ids)}" if ids else f"{tenant} has registered no key"
            how = f"`eventrunner tenant signing-key add {tenant} FILE` registers one"
            raise UnknownSigningKey(f"{error.detail} {known}; {how}.", key_ids=error.key_ids) from error
        if not self._policy.admits(kind, tenant, key.id, ids):
            raise ForbiddenSigner(
                f"The policy of the platform does not admit what the key {key.id} of {tenant} has signed: sign the "
                "module with another one."
            )
        return key.id

    def _keys(self, tenant: str) -> Sequence[PublicKey]:
        """As the server has them: one that was revoked by another process must not admit anything."""
        found, _ = self._backend.registry.among_now(records.SIGNING_KEYS, tenant)
        return [PublicKey.parse(SigningKey.from_json(value).public.encode()) for _, value in sorted(found.items())]

    def _check_imports(self, module: Module, tenant: str) -> None:
        forbidden = self._policy.forbidden(module, tenant)
        if forbidden:
            names = ", ".join(str(item) for item in forbidden[:10])
            fields = tuple(FieldError(f"imports.{item}", "a consumer may not import this") for item in forbidden[:100])
            raise ForbiddenImport(
                f"The {module.kind} imports what a consumer may not import: {names}. Build it without.", fields
            )

    def _check_exports(self, module: Module) -> None:
        if not self._policy.serves(module):
            message = "wasmcloud:messaging/handler@0.2.0 of a component, or __guest_call of a waPC module"
            raise NoHandler(
                f"The {module.kind} exports nothing that an event could be handed to: export {message}.",
                (FieldError("exports", f"must have {message}"),),
            )
