"""The identity token is believed only if the gateway signed it, for us, and not long ago."""

from __future__ import annotations

import base64
import hmac
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from eventrunner.access.identity import AUDIENCE, ISSUER, LIFETIME_SECONDS, Identity, Signer, Verifier, make_keys
from eventrunner.access.senders import SOURCE_ISSUER
from eventrunner.errors import ConfigurationError, Unauthenticated, Unavailable

KEYS = make_keys("one")
JWKS = Signer(KEYS).public_keys
NOW = datetime(2026, 10, 1, tzinfo=UTC)
ALICE = Identity("alice", "acme", ("user", "event_publisher"))


def at(seconds: float):
    return lambda: NOW + timedelta(seconds=seconds)


def claims(**changes: object) -> dict[str, object]:
    issued = int(NOW.timestamp())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "tenant": "acme", "roles": ["user"], "iat": issued}
    return {**good, "exp": issued + LIFETIME_SECONDS, **changes}


def bearer(payload: dict[str, object], keys: str = KEYS, **header: str) -> str:
    key = jwt.PyJWK(json.loads(keys)["keys"][0])
    return "Bearer " + jwt.encode(payload, key, "ES256", headers={"kid": "one", **header})


def verify(header: str | None, clock, keys: str = JWKS) -> Identity:
    return Verifier(keys, clock).verify(header)


def test_a_signed_identity_comes_back_whole():
    assert verify("Bearer " + Signer(KEYS, at(0)).sign(ALICE), at(1)) == ALICE


def test_the_scheme_is_read_in_any_case():
    assert verify("bearer " + Signer(KEYS, at(0)).sign(ALICE), at(1)) == ALICE


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


def test_the_same_token_is_handed_out_until_it_has_a_minute_left():
    watch = Watch()
    signer = Signer(KEYS, watch)
    first = signer.sign(ALICE)
    watch.seconds = LIFETIME_SECONDS - 61
    assert signer.sign(ALICE) == first
    watch.seconds = LIFETIME_SECONDS - 60
    assert signer.sign(ALICE) != first


def test_a_token_from_before_the_clock_was_set_back_is_not_handed_out_again():
    watch = Watch()
    signer = Signer(KEYS, watch)
    watch.seconds = 9000
    signer.sign(ALICE)
    watch.seconds = 2000
    assert verify("Bearer " + signer.sign(ALICE), at(2000)) == ALICE


def test_an_expired_identity_is_refused_even_if_it_was_verified_before():
    watch = Watch()
    verifier = Verifier(JWKS, watch)
    header = "Bearer " + Signer(KEYS, watch).sign(ALICE)
    assert verifier.verify(header) == ALICE
    watch.seconds = LIFETIME_SECONDS + 5
    with pytest.raises(Unavailable, match="send it again"):
        verifier.verify(header)


def test_an_expired_token_of_a_source_is_refused_for_good():
    watch = Watch()
    header = "Bearer " + Signer(KEYS, watch, issuer=SOURCE_ISSUER).sign(ALICE)
    watch.seconds = LIFETIME_SECONDS + 5
    with pytest.raises(Unauthenticated, match="expired"):
        Verifier(JWKS, watch, issuer=SOURCE_ISSUER).verify(header)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone-else"},
        {"aud": "another-service"},
        {"aud": None},
        {"sub": 7},
        {"sub": None},
        {"tenant": None},
        {"tenant": ["acme"]},
        {"roles": "admin"},
        {"roles": [1]},
        {"exp": "never"},
        {"iat": int(NOW.timestamp()) + 3600},
    ],
)
def test_wrong_claims_are_refused(changes):
    with pytest.raises(Unauthenticated):
        verify(bearer(claims(**changes)), at(0))


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "tenant", "roles", "iat", "exp"])
def test_every_claim_is_required(missing):
    payload = claims()
    del payload[missing]
    with pytest.raises(Unauthenticated):
        verify(bearer(payload), at(0))


def test_another_key_of_the_same_name_is_refused():
    with pytest.raises(Unauthenticated):
        verify(bearer(claims(), make_keys("one")), at(0))


def test_a_key_of_another_name_is_refused():
    with pytest.raises(Unauthenticated):
        verify(bearer(claims(), kid="two"), at(0))


def test_the_public_key_as_a_secret_is_refused():
    """https://auth0.com/blog/critical-vulnerabilities-in-json-web-token-libraries/"""
    head, body = ({"alg": "HS256", "kid": "one"}, claims(roles=["admin"]))
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, body)]
    signature = hmac.digest(JWKS.encode(), b".".join(parts), "sha256")
    token = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    with pytest.raises(Unauthenticated):
        verify(f"Bearer {token}", at(0))


def test_an_unsigned_token_is_refused():
    parts = ({"alg": "none", "typ": "JWT"}, claims(roles=["admin"]))
    text = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    with pytest.raises(Unauthenticated):
        verify("Bearer " + ".".join([*text, ""]), at(0))


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer \x00", "x" * 9000]
)
def test_anything_else_is_refused(header):
    with pytest.raises(Unauthenticated):
        verify(header, at(0))


def test_without_keys_no_identity_is_accepted():
    with pytest.raises(Unauthenticated, match="EVENTRUNNER_GATEWAY_JWKS"):
        verify(bearer(claims()), at(0), "")


def test_functions_are_given_nothing_to_sign_with():
    assert not {"d", "k"} & json.loads(JWKS)["keys"][0].keys()
    secret = json.dumps({"keys": [{"kty": "oct", "kid": "one", "alg": "HS256", "k": "c2VjcmV0" * 8}]})
    with pytest.raises(ConfigurationError, match="public keys"):
        verify(bearer(claims()), at(0), secret)
    with pytest.raises(ConfigurationError, match="private key"):
        Signer(JWKS)


def test_a_new_key_is_found_and_an_old_one_is_believed_while_it_is_in_the_set(tmp_path: Path):
    old, new = make_keys("old"), make_keys("new")
    both = json.dumps({"keys": [json.loads(keys)["keys"][0] for keys in (new, old)]})
    file = tmp_path / "jwks.json"
    file.write_text(Signer(old).public_keys)
    watch = Watch()
    verifier = Verifier(str(file), watch)
    with_old = "Bearer " + Signer(old, watch).sign(ALICE)
    assert verifier.verify(with_old) == ALICE
    file.write_text(Signer(both).public_keys)
    bob = replace(ALICE, subject="bob")
    with_new = "Bearer " + Signer(both, watch).sign(bob)
    deadline = time.monotonic() + 10
    while True:
        # The set is not read for every unknown key that somebody makes up.
        try:
            assert verifier.verify(with_new) == bob
            break
        except Unauthenticated:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert verifier.verify("Bearer " + Signer(old, watch).sign(replace(ALICE, subject="carol"))).subject == "carol"
