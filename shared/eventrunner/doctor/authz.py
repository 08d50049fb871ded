"""The request matrix: which role may make which call of the API, of its own tenant's things and of another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eventrunner.access.access_rules import AccessRule, TenantFrom
from eventrunner.access.identity import Identity
from eventrunner.access.keys import ROLES
from eventrunner.access.policy import Policy

__all__ = ["Row", "matrix"]

_OWN, _OTHER = "own-tenant", "other-tenant"
_PLACES: Final = {TenantFrom.PATH: (_OWN, _OTHER), TenantFrom.CALLER: (_OWN,), TenantFrom.NOBODY: ("",)}


@dataclass(frozen=True, slots=True)
class Row:
    call: str
    """Method and path."""
    whose: str
    """`own`, `other` or empty, for what belongs to no tenant."""
    allowed: dict[str, bool]
    """By role; `nobody` has not said who they are."""


def matrix(rules: Sequence[AccessRule], policy: Policy) -> list[Row]:
    """A row for each method, path and owner, in the order of the rules."""
    return [row for rule in rules for method in rule.methods for row in _rows(rule, method, policy)]


def _rows(rule: AccessRule, method: str, policy: Policy) -> list[Row]:
    call = f"{method} {rule.template}"
    permission = rule.permission
    if permission is None:
        return [Row(call, "", dict.fromkeys(("nobody", *ROLES), True))]
    rows = []
    for tenant in _PLACES[permission.tenant]:
        allowed = {"nobody": policy.allows(None, permission.resource, permission.action, tenant)}
        for role in ROLES:
            # An operator belongs to no tenant.
            identity = Identity("alice", "" if role == "admin" else _OWN, (role,))
            allowed[role] = policy.allows(identity, permission.resource, permission.action, tenant)
        rows.append(Row(call, tenant.removesuffix("-tenant"), allowed))
    return rows
