"""Tokens that callers bring from their own identity provider, checked by its key set (JWKS)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

from eventrunner.access.identity import Identity
from eventrunner.access.key_sets import KeySet
from eventrunner.clock import Clock, utc_now
from eventrunner.errors import ConfigurationError, Unauthenticated
from eventrunner.settings import Settings

__all__ = ["TokenVerifier", "token_verifier"]

_REMEMBERED: Final = 10_000


class TokenVerifier:
    """`jwks`: a key set, its path, or its URL; see KeySet."""

    def __init__(
        self, jwks: str, issuers: Sequence[str], audience: str = "eventrunner-api", clock: Clock = utc_now
    ) -> None:
        self._keys = KeySet(jwks)
        self._issuers = list(issuers)
        self._audience = audience
        self._clock = clock
        self._known: dict[str, tuple[Identity, float, str, jwt.PyJWK]] = {}

    def verify(self, token: str) -> Identity:
        """Reads `sub`, `tenant` and `roles`. Raises Unauthenticated."""
        known = self._known.get(token)
        if known is None or self._keys.find(known[2]) is not known[3]:
            known = self._read(token)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[token] = known
        identity, expires, *_ = known
        if self._clock().timestamp() >= expires:
            raise Unauthenticated("The token has expired.")
        return identity

    def _read(self, token: str) -> tuple[Identity, float, str, jwt.PyJWK]:
        try:
            kid = str(jwt.get_unverified_header(token).get("kid"))
            key = self._keys.find(kid)
            if key is None:
                raise Unauthenticated("The token is signed with a key that is not known here.")
            claims = jwt.decode(
                token,
                key,
                [key.algorithm_name],
                audience=self._audience,
                issuer=self._issuers,
                options={"require": ["sub", "exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"The token is not accepted: {error}.") from error
        return *_identity(claims, self._clock().timestamp()), kid, key


def token_verifier(settings: Settings) -> TokenVerifier | None:
    """None where no identity provider is configured. Raises ConfigurationError."""
    if not settings.jwks:
        return None
    issuers = [issuer.strip() for issuer in settings.jwt_issuers.split(",") if issuer.strip()]
    if not issuers:
        raise ConfigurationError("EVENTRUNNER_JWKS needs EVENTRUNNER_JWT_ISSUERS: whose tokens are believed.")
    return TokenVerifier(settings.jwks, issuers, settings.jwt_audience)


def _identity(claims: Mapping[str, Any], now: float) -> tuple[Identity, float]:
    match {"tenant": "", "roles": [], "nbf": 0, **claims}:
        case {
            "sub": str(subject),
            "tenant": str(tenant),
            "roles": [*roles],
            "nbf": int() | float() as begins,
            "exp": int() | float() as expires,
        } if subject and all(isinstance(role, str) for role in roles):
            if now < begins:
                raise Unauthenticated("The token is not valid yet.")
            return Identity(subject, tenant, tuple(str(role) for role in roles)), expires
    raise Unauthenticated("The token's claims sub, tenant, roles, nbf or exp are of the wrong type.")
