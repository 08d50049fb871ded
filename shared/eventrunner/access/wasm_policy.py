"""By whose signature a tenant's consumer comes in, and what it may import and publish, by `policies/wasm.rego`.

Whatever goes wrong, the answer is no."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from eventrunner.access.rego import RegoRule
from eventrunner.wasm.binary import Import, Kind, Module

__all__ = ["WasmPolicy"]

_log = logging.getLogger(__name__)
_ENTRYPOINT = "eventrunner/wasm/allow"
_REMEMBERED = 20_000
_MOST_SUBJECT = 1_024
"""Characters, as the answers are remembered by it. It is a guest that chooses it."""


class WasmPolicy:
    """Safe to share between threads."""

    def __init__(self, rule: RegoRule) -> None:
        self._rule = rule
        self._may_publish = lru_cache(maxsize=_REMEMBERED)(self._publishes)

    @classmethod
    def from_folder(cls, folder: Path) -> WasmPolicy:
        """Reads `wasm.rego` and `data.json`. Raises ConfigurationError if they are missing."""
        return cls(RegoRule.from_folder(folder, "wasm.rego", _ENTRYPOINT))

    def admits(self, kind: Kind, tenant: str, signed_by: str, registered: Sequence[str]) -> bool:
        """Whether it may come in with a signature that one of the tenant's keys has verified; keys by their ids."""
        asked = {"action": "admit", "tenant": tenant, "kind": kind.value}
        return self._asks(asked | {"signed_by": signed_by, "registered": list(registered)})

    def forbidden(self, module: Module, tenant: str) -> list[Import]:
        """The imports that the tenant's consumer may not have."""
        return [item for item in module.imports if not self._asks(_imports(module.kind, item, tenant))]

    def serves(self, module: Module) -> bool:
        """Whether it has an export by which events can be handed to it."""
        return any(self._asks(_serves(module.kind, name)) for name in module.exports)

    def may_publish(self, tenant: str, subject: str) -> bool:
        return len(subject) <= _MOST_SUBJECT and self._may_publish(tenant, subject)

    def evaluate(self, document: Mapping[str, Any]) -> bool:
        """The answer to any input document. Raises what the engine raises."""
        return self._rule.evaluate(document)

    def _publishes(self, tenant: str, subject: str) -> bool:
        return self._asks({"action": "publish", "tenant": tenant, "subject": subject})

    def _asks(self, document: Mapping[str, Any]) -> bool:
        try:
            return self.evaluate(document)
        except Exception:
            _log.exception("the policy failed on %s; denied", document.get("action"))
            return False


def _imports(kind: Kind, item: Import, tenant: str) -> dict[str, Any]:
    asked = {"action": "import", "tenant": tenant, "kind": kind.value}
    if kind is Kind.MODULE:
        return asked | {"name": item.name, "member": item.member}
    name, _, version = item.name.partition("@")
    return asked | {"name": name, "version": version}


def _serves(kind: Kind, export: str) -> dict[str, Any]:
    name, _, version = export.partition("@") if kind is Kind.COMPONENT else (export, "", "")
    return {"action": "serve", "kind": kind.value, "name": name, "version": version}
