"""The policy's decisions, by the same Rego that OPA runs in production.

The decision is a pure function of its input, so answers are remembered: a repeated question costs a lookup instead of
some 75 µs. Whatever goes wrong, the answer is no.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from eventrunner.access.identity import Identity
from eventrunner.access.rego import RegoRule

__all__ = ["Policy", "Verdict", "question"]

_log = logging.getLogger(__name__)
_ENTRYPOINT = "eventrunner/authz/allow"
_REMEMBERED = 20_000


class Verdict(Enum):
    """What came of a question, as the log of decisions says why."""

    ALLOWED = "the policy allows it"
    DENIED = "the policy does not allow it"
    FAILED = "the policy could not be asked"
    MALFORMED = "what was asked is no question"

    @classmethod
    def of(cls, allowed: bool) -> Verdict:
        return cls.ALLOWED if allowed else cls.DENIED

    @property
    def answer(self) -> str:
        return "allowed" if self is Verdict.ALLOWED else "denied"


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
        return self.decide(identity, resource, action, tenant) is Verdict.ALLOWED

    def decide(self, identity: Identity | None, resource: str, action: str, tenant: str) -> Verdict:
        try:
            return self._decide(identity, resource, action, tenant)
        except Exception:
            _log.exception("the policy failed on %s %s; denied", action, resource)
            return Verdict.FAILED

    def evaluate(self, document: Mapping[str, Any]) -> bool:
        """The answer to any input document, not remembered. Raises what the engine raises."""
        return self._rule.evaluate(document)

    def _ask(self, identity: Identity | None, resource: str, action: str, tenant: str) -> Verdict:
        return Verdict.of(self.evaluate(question(identity, resource, action, tenant)))
