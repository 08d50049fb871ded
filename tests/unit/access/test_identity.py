"""The identity token is believed only if the gateway signed it, for us, and not long ago."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from eventrunner.access.identity import AUDIENCE, ISSUER, LIFETIME_SECONDS, Identity, sign, verify
from eventrunner.errors import ConfigurationError, Unauthenticated

SECRET = "a gateway secret of more than 32 bytes"
NOW = datetime(2026, 10, 1, tzinfo=UTC)
ALICE = Identity("alice", "acme", ("user", "event_publisher"))


def at(seconds: float):
    return lambda: NOW + timedelta(seconds=seconds)


def claims(**changes: object) -> dict[str, object]:
    issued = int(NOW.timestamp())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "tenant": "acme", "roles": ["user"], "iat": issued}
    return {**good, "exp": issued + LIFETIME_SECONDS, **changes}


def bearer(payload: dict[str, object], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return "Bearer " + jwt.encode(payload, secret, algorithm)


def test_a_signed_identity_comes_back_whole():
    assert verify("Bearer " + sign(ALICE, SECRET, at(0)), SECRET, at(1)) == ALICE


def test_the_scheme_is_read_in_any_case():
    assert verify("bearer " + sign(ALICE, SECRET, at(0)), SECRET, at(1)) == ALICE


def test_the_same_token_is_handed_out_until_it_has_a_minute_left():
    first = sign(ALICE, SECRET, at(1000))
    assert sign(ALICE, SECRET, at(1000 + LIFETIME_SECONDS - 61)) == first
    assert sign(ALICE, SECRET, at(1000 + LIFETIME_SECONDS - 60)) != first


def test_a_token_from_before_the_clock_was_set_back_is_not_handed_out_again():
    sign(ALICE, SECRET, at(9000))
    assert verify("Bearer " + sign(ALICE, SECRET, at(2000)), SECRET, at(2000)) == ALICE


def test_an_expired_identity_is_refused_even_if_it_was_verified_before():
    header = "Bearer " + sign(ALICE, SECRET, at(5000))
    assert verify(header, SECRET, at(5000)) == ALICE
    with pytest.raises(Unauthenticated, match="expired"):
        verify(header, SECRET, at(5000 + LIFETIME_SECONDS + 5))


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
        verify(bearer(claims(**changes)), SECRET, at(0))


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "tenant", "roles", "iat", "exp"])
def test_every_claim_is_required(missing):
    payload = claims()
    del payload[missing]
    with pytest.raises(Unauthenticated):
        verify(bearer(payload), SECRET, at(0))


def test_another_secret_is_refused():
    with pytest.raises(Unauthenticated):
        verify(bearer(claims(), "another secret of more than 32 bytes!"), SECRET, at(0))


def test_another_algorithm_is_refused():
    with pytest.raises(Unauthenticated):
        verify(bearer(claims(), SECRET * 2, "HS512"), SECRET * 2, at(0))


def test_an_unsigned_token_is_refused():
    parts = ({"alg": "none", "typ": "JWT"}, claims(roles=["admin"]))
    text = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    with pytest.raises(Unauthenticated):
        verify("Bearer " + ".".join([*text, ""]), SECRET, at(0))


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Bearer \x00", "x" * 9000]
)
def test_anything_else_is_refused(header):
    with pytest.raises(Unauthenticated):
        verify(header, SECRET, at(0))


def test_without_a_secret_no_identity_is_accepted():
    with pytest.raises(Unauthenticated, match="EVENTRUNNER_GATEWAY_SECRET"):
        verify(bearer(claims()), "", at(0))


def test_a_short_secret_is_a_configuration_error():
    with pytest.raises(ConfigurationError):
        sign(ALICE, "short", at(0))
    with pytest.raises(ConfigurationError):
        verify(bearer(claims()), "short", at(0))
