"""The gateway's word on who is calling: a short-lived JWT that replaces the caller's credentials on the way in.

A function trusts this token only; a request that went around the gateway has none and is answered 401.
Signing and checking cost tens of microseconds, so both remember their answers: a caller's token is signed again after
four of its five minutes and checked once by each function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import jwt

from eventrunner.clock import Clock, utc_now
from eventrunner.errors import ConfigurationError, Unauthenticated

__all__ = ["AUDIENCE", "ISSUER", "LIFETIME_SECONDS", "Identity", "sign", "verify"]

ISSUER: Final = "eventrunner-gateway"
AUDIENCE: Final = "eventrunner"
LIFETIME_SECONDS: Final = 300

_ALGORITHM: Final = "HS256"
_MIN_SECRET_BYTES: Final = 32
_RENEW_SECONDS: Final = 60
"""A token with less life than this is not handed out again, so that a slow request still arrives in time."""
_LEEWAY_SECONDS: Final = 5
"""How far the clocks of gateway and function may be apart."""
_CACHE_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    subject: str
    """Who: the key's subject or the `sub` of the caller's own token."""
    tenant: str
    """The tenant that the caller belongs to; empty for an operator of the platform."""
    roles: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


_signed: dict[tuple[Identity, str], tuple[str, int]] = {}
"""Tokens with the time of their issue."""
_verified: dict[tuple[str, str], tuple[Identity, float]] = {}


def sign(identity: Identity, secret: str, clock: Clock = utc_now) -> str:
    """The token itself, without `Bearer`. Raises ConfigurationError for a secret that is too short to sign with."""
    now = clock().timestamp()
    known = _signed.get((identity, secret))
    # Not one from the future either, which a clock that was set back leaves here: no function would believe it.
    if known is not None and known[1] <= now < known[1] + LIFETIME_SECONDS - _RENEW_SECONDS:
        return known[0]
    _check_secret(secret)
    issued = int(now)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": identity.subject,
        "tenant": identity.tenant,
        "roles": list(identity.roles),
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
    }
    token = jwt.encode(claims, secret, _ALGORITHM)
    if len(_signed) >= _CACHE_LIMIT:
        _signed.clear()
    _signed[identity, secret] = (token, issued)
    return token


def verify(authorization: str | None, secret: str, clock: Clock = utc_now) -> Identity:
    """Reads the header `Authorization`. Raises Unauthenticated unless it holds a living token of the gateway."""
    if not authorization:
        raise Unauthenticated("The request did not come through the gateway: it carries no identity.")
    now = clock().timestamp()
    known = _verified.get((authorization, secret))
    if known is None:
        known = _read(authorization, secret, now)
        if len(_verified) >= _CACHE_LIMIT:
            _verified.clear()
        _verified[authorization, secret] = known
    identity, expires = known
    if now >= expires + _LEEWAY_SECONDS:
        raise Unauthenticated("The identity has expired.")
    return identity


def _read(authorization: str, secret: str, now: float) -> tuple[Identity, float]:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The identity must be a bearer token of the gateway.")
    if not secret:
        raise Unauthenticated("No identity is accepted: EVENTRUNNER_GATEWAY_SECRET is not set.")
    _check_secret(secret)
    try:
        claims = jwt.decode(
            token.strip(),
            secret,
            [_ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # Times are checked here, by the clock that was passed in.
            options={
                "require": ["sub", "tenant", "roles", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidTokenError as error:
        raise Unauthenticated("The identity is not signed by the gateway.") from error
    return _identity(claims, now)


def _identity(claims: dict[str, object], now: float) -> tuple[Identity, float]:
    match claims:
        case {"sub": str(subject), "tenant": str(tenant), "roles": [*roles], "iat": int(issued), "exp": int(expires)}:
            if issued > now + _LEEWAY_SECONDS or not all(isinstance(role, str) for role in roles):
                raise Unauthenticated("The identity is not valid.")
            return Identity(subject, tenant, tuple(str(role) for role in roles)), expires
        case _:
            raise Unauthenticated("The identity is not valid.")


def _check_secret(secret: str) -> None:
    if len(secret.encode()) < _MIN_SECRET_BYTES:
        raise ConfigurationError(f"EVENTRUNNER_GATEWAY_SECRET must have at least {_MIN_SECRET_BYTES} bytes.")
