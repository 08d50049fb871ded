"""The gateway's word on who is calling: a short-lived JWT that replaces the caller's credentials on the way in. Sources
sign what they send to sinks alike, with keys, an issuer and audiences of their own (`access.senders`).

A function trusts this token only; a request that went around the gateway has none and is answered 401. Functions have
the gateway's public keys and cannot sign. Signing and checking cost a tenth of a millisecond, so both remember their
answers: a caller's token is signed again after four of its five minutes and checked once by each function.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from eventrunner.access.key_sets import KeySet, parse_keys
from eventrunner.clock import Clock, utc_now
from eventrunner.errors import ConfigurationError, EventRunnerError, Unauthenticated, Unavailable

__all__ = ["AUDIENCE", "ISSUER", "LIFETIME_SECONDS", "Identity", "Signer", "Verifier", "make_keys"]

ISSUER: Final = "eventrunner-gateway"
AUDIENCE: Final = "eventrunner"
LIFETIME_SECONDS: Final = 300

_ALGORITHM: Final = "ES256"
_RENEW_SECONDS: Final = 60
"""A token with less life than this is not handed out again, so that a slow request still arrives in time."""
_LEEWAY_SECONDS: Final = 5
"""How far the clocks of gateway and function may be apart."""
_REMEMBERED: Final = 10_000
_LONGEST: Final = 8192
"""Characters of a header that is looked at."""


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


def make_keys(kid: str) -> str:
    """A key set (JWKS) with one new private key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    members = jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True)
    return json.dumps({"keys": [{**members, "kid": kid, "alg": _ALGORITHM, "use": "sig"}]})


class Signer:
    """Signs with the first key of a private key set; the others are there to be believed a while longer."""

    def __init__(self, keys: str, clock: Clock = utc_now, *, issuer: str = ISSUER) -> None:
        """Raises ConfigurationError for a set without a private key."""
        self._clock = clock
        self._issuer = issuer
        if not _is_private(keys):
            raise ConfigurationError(f"The key set of {issuer} must have a private key to sign with.")
        self._kid, self._key = next(iter(parse_keys(keys).items()))
        self.public_keys = _public(keys)
        """The key set that functions are given."""
        self._signed: dict[tuple[Identity, str], tuple[str, int]] = {}
        """Tokens with the time of their issue."""

    def sign(self, identity: Identity, audience: str = AUDIENCE) -> str:
        """The token itself, without `Bearer`."""
        now = self._clock().timestamp()
        known = self._signed.get((identity, audience))
        # Not one from the future either, which a clock that was set back leaves here: no function would believe it.
        if known is not None and known[1] <= now < known[1] + LIFETIME_SECONDS - _RENEW_SECONDS:
            return known[0]
        issued = int(now)
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": identity.subject,
            "tenant": identity.tenant,
            "roles": list(identity.roles),
            "iat": issued,
            "exp": issued + LIFETIME_SECONDS,
        }
        token = jwt.encode(claims, self._key, self._key.algorithm_name, headers={"kid": self._kid})
        if len(self._signed) >= _REMEMBERED:
            self._signed.clear()
        self._signed[identity, audience] = (token, issued)
        return token


class Verifier:
    """`source`: the issuer's public key set, its path, or its URL; see KeySet. Safe to share between threads."""

    def __init__(
        self,
        source: str,
        clock: Clock = utc_now,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        setting: str = "EVENTRUNNER_GATEWAY_JWKS",
    ) -> None:
        """`setting`: where an operator puts the source."""
        self._keys = KeySet(source) if source else None
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._setting = setting
        self._verified: dict[str, tuple[Identity, float, str, jwt.PyJWK]] = {}

    def verify(self, authorization: str | None) -> Identity:
        """Reads the header `Authorization`. Raises Unauthenticated unless it holds a living token of the issuer,
        Unavailable for one of the gateway that was one, and what KeySet raises."""
        if not authorization:
            raise Unauthenticated(f"The request did not come from {self._issuer}: it carries no identity.")
        now = self._clock().timestamp()
        known = self._verified.get(authorization)
        if known is None or self._keys is None or self._keys.find(known[2]) is not known[3]:
            known = self._read(authorization, now)
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[authorization] = known
        identity, expires, *_ = known
        if now >= expires + _LEEWAY_SECONDS:
            raise self._expired()
        return identity

    def _expired(self) -> EventRunnerError:
        if self._issuer == ISSUER:
            # The caller's own credentials were good, and have another life: it is the way here that took so long, or a
            # clock that was set.
            return Unavailable("The request was on its way for longer than it is vouched for; send it again.", 1.0)
        return Unauthenticated("The identity has expired.")

    def _read(self, authorization: str, now: float) -> tuple[Identity, float, str, jwt.PyJWK]:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or len(token) > _LONGEST:
            raise Unauthenticated(f"The identity must be a bearer token of {self._issuer}.")
        try:
            kid, key = self._key(token.strip())
            claims = jwt.decode(
                token.strip(),
                key,
                [key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                # Times are checked here, by the clock that was passed in.
                options={
                    "require": ["sub", "tenant", "roles", "iat", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(
                f"The identity is not one of {self._issuer} for {self._audience}: {error}."
            ) from error
        return *_identity(claims, now), kid, key

    def _key(self, token: str) -> tuple[str, jwt.PyJWK]:
        """With its id."""
        if self._keys is None:
            raise Unauthenticated(f"No identity is accepted: {self._setting} is not set.")
        kid = str(jwt.get_unverified_header(token).get("kid"))
        key = self._keys.find(kid)
        if key is None:
            raise Unauthenticated(f"The identity is not signed by {self._issuer} with a key that is known here.")
        if key.key_type == "oct":
            raise ConfigurationError(f"{self._setting} has a key that signs; give functions public keys only.")
        return kid, key


def _identity(claims: Mapping[str, object], now: float) -> tuple[Identity, float]:
    match claims:
        case {"sub": str(subject), "tenant": str(tenant), "roles": [*roles], "iat": int(issued), "exp": int(expires)}:
            if issued > now + _LEEWAY_SECONDS or not all(isinstance(role, str) for role in roles):
                raise Unauthenticated("The identity is not valid.")
            return Identity(subject, tenant, tuple(str(role) for role in roles)), expires
        case _:
            raise Unauthenticated("The identity is not valid.")


def _is_private(keys: str) -> bool:
    """Whether the first key is; also false for what is no key set."""
    try:
        return "d" in json.loads(keys)["keys"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        return False


_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def _public(keys: str) -> str:
    documents: list[dict[str, Any]] = json.loads(keys)["keys"]
    return json.dumps(
        {"keys": [{name: value for name, value in key.items() if name not in _PRIVATE} for key in documents]}
    )
