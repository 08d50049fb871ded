"""A caller's own token is believed if a key of the set signed it, for us, and it lives."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from eventrunner.access.identity import Identity
from eventrunner.access.tokens import TokenVerifier
from eventrunner.errors import ConfigurationError, Unauthenticated
from support_identity import sign

NOW = datetime(2026, 10, 1, tzinfo=UTC)
SECRET = b"an issuer's secret of 32 bytes or more"
ISSUER = "https://login.example/"


def key(**changes: object) -> dict[str, object]:
    k = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    return {"kty": "oct", "kid": "one", "alg": "HS256", "k": k, **changes}


def verifier(seconds: float = 0) -> TokenVerifier:
    return TokenVerifier(json.dumps({"keys": [key()]}), [ISSUER], clock=lambda: NOW + timedelta(seconds=seconds))


def token(secret: bytes = SECRET, algorithm: str = "HS256", kid: str | None = "one", **changes: object) -> str:
    claims = {"iss": ISSUER, "aud": "eventrunner-api", "sub": "alice", "tenant": "acme", "roles": ["user"]}
    claims["exp"] = int(NOW.timestamp()) + 60
    payload = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(payload, secret, algorithm, headers={"kid": kid} if kid else None)


def test_a_good_token_names_its_caller():
    assert verifier().verify(token()) == Identity("alice", "acme", ("user",))


def test_tenant_and_roles_may_be_missing():
    assert verifier().verify(token(tenant=None, roles=None)) == Identity("alice", "", ())


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example/"},
        {"iss": None},
        {"aud": "eventrunner"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"exp": None},
        {"exp": "soon"},
        {"exp": int(NOW.timestamp())},
        {"nbf": int(NOW.timestamp()) + 60},
        {"nbf": "now"},
        {"tenant": ["acme"]},
        {"roles": "admin"},
        {"roles": [["admin"]]},
        {"kid": "two"},
        {"kid": None},
        {"secret": b"somebody else's secret of 32 bytes or more"},
        {"algorithm": "HS512", "secret": SECRET * 2},
    ],
)
def test_anything_wrong_is_refused(changes):
    with pytest.raises(Unauthenticated):
        verifier().verify(token(**changes))


def test_a_remembered_token_expires_all_the_same():
    moments = iter([NOW, NOW, NOW + timedelta(seconds=61)])
    known = TokenVerifier(json.dumps({"keys": [key()]}), [ISSUER], clock=lambda: next(moments))
    assert known.verify(token())
    with pytest.raises(Unauthenticated, match="expired"):
        known.verify(token())


def test_a_remembered_token_is_refused_when_its_key_is_taken_out_of_the_set(tmp_path, monkeypatch):
    monkeypatch.setattr("eventrunner.access.key_sets._REFRESH_SECONDS", 0.0)
    monkeypatch.setattr("eventrunner.access.key_sets._PAUSE", 0.0)
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [key()]}))
    known = TokenVerifier(str(path), [ISSUER], clock=lambda: NOW)
    assert known.verify(token())
    assert known.verify(token())
    path.write_text(json.dumps({"keys": [key(kid="another")]}))
    with pytest.raises(Unauthenticated):
        known.verify(token())


def test_the_gateways_own_identity_is_no_token_for_the_front_door():
    with pytest.raises(Unauthenticated):
        verifier().verify(sign(Identity("alice", "acme", ("admin",))))


@pytest.mark.parametrize("jwks", ["", "{}", "[]", '{"keys": [{}]}', json.dumps({"keys": [key(alg=None)]})])
def test_a_key_set_must_say_which_algorithm_each_key_is_for(jwks):
    with pytest.raises(ConfigurationError):
        TokenVerifier(jwks, [ISSUER])
