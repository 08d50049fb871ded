"""Tokens that an issuer whom a gateway trusts could have signed, and such as it never would: what JWT libraries have
fallen for (https://www.rfc-editor.org/rfc/rfc8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from eventrunner.access.identity import make_keys
from eventrunner.errors import ConfigurationError

__all__ = ["Issuer", "SigningKey"]

_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_LIFETIME_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class SigningKey:
    id: str
    """The `kid` of its tokens."""
    algorithm: str
    private: _Private

    @classmethod
    def read(cls, text: str, key_id: str = "") -> SigningKey:
        """A private key in PEM, a JWK, or the first key of a JWKS. Raises ConfigurationError."""
        try:
            document = json.loads(text) if text.lstrip().startswith("{") else _jwk_of_pem(text)
            document = document["keys"][0] if "keys" in document else document
            key = jwt.PyJWK(document)
        except (ValueError, TypeError, KeyError, IndexError, jwt.PyJWTError) as error:
            raise ConfigurationError(f"The signing key is no private key in PEM and no JWK: {error!r}.") from error
        if not isinstance(key.key, _Private):
            raise ConfigurationError("The signing key must be a private one: an RSA, EC or Ed25519 key, not a secret.")
        key_id = key_id or str(document.get("kid", ""))
        if not key_id:
            raise ConfigurationError("The signing key has no kid: name it with --key-id as the gateway's key set does.")
        return cls(key_id, key.algorithm_name, key.key)

    def public_jwk(self) -> dict[str, Any]:
        members = _algorithm(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return {**members, "kid": self.id, "alg": self.algorithm}

    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, text: bytes) -> bytes:
        signature: bytes = _algorithm(self.algorithm).sign(text, self.private)
        return signature


@dataclass(frozen=True, slots=True)
class Issuer:
    """Of tokens that a gateway accepts."""

    name: str
    """The `iss` of its tokens."""
    audience: str
    key: SigningKey

    def token(
        self,
        tenant: str,
        *,
        claims: Mapping[str, Any],
        header: Mapping[str, Any],
        times: Mapping[str, int],
        signature: str = "",
    ) -> str:
        """A good token of a user of the tenant with these changes, as `gateway_tokens.yaml` describes them."""
        now = int(time.time())
        good = {"iss": self.name, "aud": self.audience, "sub": "mallory", "tenant": tenant, "roles": ["user"]}
        payload = {**good, "exp": now + _LIFETIME_SECONDS, **claims}
        payload |= {name: now + seconds for name, seconds in times.items()}
        algorithm, named, sign = self._signatures()[signature]
        head = {"typ": "JWT", "alg": algorithm, "kid": self.key.id, **named, **header}
        text = f"{_part(head)}.{_part(payload)}"
        return f"{text}.{_encoded(sign(text.encode()))}"

    def _signatures(self) -> Mapping[str, tuple[str, Mapping[str, Any], _Sign]]:
        """The algorithm, what more the header names, and how to sign."""
        key = self.key
        new = SigningKey.read(make_keys(key.id))
        other = f"{_part({'alg': key.algorithm, 'kid': key.id})}.{_part({'iss': self.name})}".encode()
        length = len(key.sign(b""))
        return {
            "": (key.algorithm, {}, key.sign),
            "missing": (key.algorithm, {}, lambda text: b""),
            "zero": (key.algorithm, {}, lambda text: bytes(length)),
            "other": (key.algorithm, {}, lambda text: key.sign(other)),
            "new key": (new.algorithm, {"jwk": new.public_jwk()}, new.sign),
            "none": ("none", {}, lambda text: b""),
            "public jwk": ("HS256", {}, _hs256(json.dumps(key.public_jwk()).encode())),
            "public pem": ("HS256", {}, _hs256(key.public_pem())),
        }


_Sign = Callable[[bytes], bytes]


def _hs256(secret: bytes) -> _Sign:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def _part(members: Mapping[str, Any]) -> str:
    present = {name: value for name, value in members.items() if value is not None}
    return _encoded(json.dumps(present, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _algorithm(name: str) -> Any:
    return jwt.get_algorithm_by_name(name)


_ALGORITHMS: Final = (
    (rsa.RSAPrivateKey, "RS256"),
    (ec.EllipticCurvePrivateKey, "ES256"),
    (ed25519.Ed25519PrivateKey, "EdDSA"),
)


def _jwk_of_pem(text: str) -> dict[str, Any]:
    key = serialization.load_pem_private_key(text.encode(), None)
    for kind, algorithm in _ALGORITHMS:
        if isinstance(key, kind):
            document: dict[str, Any] = _algorithm(algorithm).to_jwk(key, as_dict=True)
            return document
    raise ConfigurationError(f"The signing key is of a kind that no gateway checks here: {type(key).__name__}.")
