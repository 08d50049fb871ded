"""Who is calling and whether they may: one decision, whatever asks for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from eventrunner.access.access_rules import Credential, Permission, TenantFrom
from eventrunner.access.credentials import Authenticator
from eventrunner.access.decision_log import DecisionLog
from eventrunner.access.identity import Identity
from eventrunner.access.key_sets import await_keys
from eventrunner.access.policy import Policy, Verdict, question
from eventrunner.errors import Forbidden, Unauthenticated

__all__ = ["Authorizer"]


class Authorizer:
    def __init__(self, authenticator: Authenticator, policy: Policy) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._decisions = DecisionLog()

    async def authorize(
        self,
        headers: Mapping[str, str],
        credentials: Sequence[Credential],
        permission: Permission | None,
        tenant: str = "",
    ) -> Identity:
        """`tenant`: the one that the path names. Raises Unauthenticated, Forbidden and what the key lookup raises."""
        started = time.perf_counter()
        try:
            identity = await await_keys(lambda: self._authenticator.identify(headers, credentials))
        except Unauthenticated as error:
            self._decisions.note_unknown(error, time.perf_counter() - started)
            raise
        if permission is not None:
            self._check(identity, permission, tenant)
        return identity

    def _check(self, identity: Identity, permission: Permission, tenant: str) -> None:
        if permission.tenant is TenantFrom.CALLER:
            tenant = identity.tenant
        elif permission.tenant is TenantFrom.NOBODY:
            tenant = ""
        resource, action = permission.resource, permission.action
        started = time.perf_counter()
        verdict = self._policy.decide(identity, resource, action, tenant)
        seconds = time.perf_counter() - started
        self._decisions.note(verdict, seconds, lambda: question(identity, resource, action, tenant))
        if verdict is not Verdict.ALLOWED:
            whose = f" of tenant {tenant}" if tenant else ""
            raise Forbidden(f"You lack the permission {action!r} for {resource}{whose}.")
