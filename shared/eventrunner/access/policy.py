"""The policy's decisions, by the same Rego that OPA runs in production.

The decision is a pure function of its input, so answers are remembered: a repeated question costs a lookup instead of
some 75 µs. Whatever goes wrong, the answer is no.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from eventrunner.access.identity import Identity
from eventrunner.access.rego import RegoRule

__all__ = ["Policy", "question"]

_log = logging.getLogger(__name__)
_ENTRYPOINT = "eventrunner/authz/allow"
_REMEMBERED = 20_000


def question(identity: Identity | None, resource: str, action: str, tenant: str) -> dict[str, Any]:
    """The policy's input document; without an identity, that of somebody who is not authenticated."""
    subject: dict[str, Any] = {"authenticated": False, "id": "", "tenant": "", "roles": []}
    if identity is not None:
        subject = {
            "authenticated": True,
            "id": identity.subject,
            "tenant": identity.tenant,
            "roles": list(identity.roles),
        }
    return {"subject": subject, "resource": resource, "action": action, "tenant": tenant}


class Policy:
    """Safe to share between threads."""

    def __init__(self, rule: RegoRule) -> None:
        self._rule = rule
        self._decide = lru_cache(maxsize=_REMEMBERED)(self._ask)

    @classmethod
    def from_folder(cls, folder: Path) -> Policy:
        """Reads `authz.rego` and `data.json`. Raises ConfigurationError if they are missing."""
        return cls(RegoRule.from_folder(folder, "authz.rego", _ENTRYPOINT))

    @classmethod
    def from_text(cls, rego: str, data: str) -> Policy:
        return cls(RegoRule(rego, data, _ENTRYPOINT))

    def allows(self, identity: Identity | None, resource: str, action: str, tenant: str) -> bool:
        try:
            return self._decide(identity, resource, action, tenant)
        except Exception:
            _log.exception("the policy failed on %s %s; denied", action, resource)
            return False

    def evaluate(self, document: Mapping[str, Any]) -> bool:
        """The answer to any input document, not remembered. Raises what the engine raises."""
        return self._rule.evaluate(document)

    def _ask(self, identity: Identity | None, resource: str, action: str, tenant: str) -> bool:
        return self.evaluate(question(identity, resource, action, tenant))
