"""Signed tokens are what they say they are, and find a gateway out that believes too much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from eventrunner.access.identity import Signer, make_keys
from eventrunner.doctor.gateway import Credentials, Probe, check, signed_probes
from eventrunner.doctor.signed_tokens import Issuer, SigningKey
from eventrunner.errors import ConfigurationError

KEYS = make_keys("login")
PUBLIC = jwt.PyJWK(json.loads(Signer(KEYS).public_keys)["keys"][0])
ISSUER = Issuer("https://login.example/", "eventrunner-api", SigningKey.read(KEYS))
PROBES = signed_probes(Credentials("acme", "globex", "er_user", "er_publisher", "er_admin", "er_deleted"), ISSUER)
SIGNED_WRONGLY = {
    "an unsigned token",
    "an unsigned token of None",
    "a token without its signature",
    "a token with a signature of zeros",
    "a token with another one's signature",
    "a token by a key that it brings along",
    "a token by the public key as a secret",
    "a token by the public key's PEM as a secret",
    "a token with a key by its path",
    "a token with a key from elsewhere",
    "a token with another algorithm",
}


def _token(probe: Probe) -> str:
    return probe.request.headers["Authorization"].removeprefix("Bearer ")


def _is_signed(token: str) -> bool:
    try:
        jwt.decode(token, PUBLIC, ["ES256"], options={"verify_signature": True, **_NOTHING_ELSE})
    except jwt.InvalidTokenError:
        return False
    return True


_NOTHING_ELSE: Mapping[str, Any] = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub")}


def test_all_but_those_whose_signature_is_the_fault_are_really_signed() -> None:
    assert {probe.name for probe in PROBES if not _is_signed(_token(probe))} == SIGNED_WRONGLY


def test_there_are_none_twice() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES) >= 40


def test_a_gateway_that_checks_signatures_only_is_found_out() -> None:
    wrong = _wrong(lambda token: _is_signed(token))
    assert {"a token that has expired", "a token for another audience", "a token of another issuer"} <= wrong
    assert wrong >= {probe.name for probe in PROBES if probe.expected == (401,)} - SIGNED_WRONGLY


def test_a_gateway_that_checks_no_signatures_is_found_out() -> None:
    assert _wrong(lambda token: True) >= SIGNED_WRONGLY


def test_a_gateway_that_does_not_know_the_key_is_found_out() -> None:
    assert "a good token" in _wrong(lambda token: False)


def _wrong(believes: Any) -> set[str]:
    """Names of the probes that a gateway answers wrongly which lets in whom it believes."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return web.Response(status=200 if believes(token) else 401)

    async def run() -> set[str]:
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            results = await check(f"http://127.0.0.1:{runner.addresses[0][1]}", PROBES, lambda result: None)
        finally:
            await runner.cleanup()
        return {result.probe.name for result in results if not result.passed}

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
)
def test_a_key_in_pem_signs_what_its_public_key_verifies(key: Any, algorithm: str) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    read = SigningKey.read(pem, "one")
    assert (read.id, read.algorithm, read.public_jwk()["kid"]) == ("one", algorithm, "one")
    token = Issuer("https://login.example/", "us", read).token("acme", claims={"roles": None}, header={}, times={})
    claims = jwt.decode(token, key.public_key(), [algorithm], audience="us", issuer="https://login.example/")
    assert (claims["sub"], claims["tenant"], "roles" in claims) == ("mallory", "acme", False)


def test_a_jwk_alone_is_a_key_too() -> None:
    assert SigningKey.read(json.dumps(json.loads(KEYS)["keys"][0])).id == "login"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no private key in PEM and no JWK"),
        ("{}", "no private key in PEM and no JWK"),
        ('{"keys": []}', "no private key in PEM and no JWK"),
        (Signer(KEYS).public_keys, "must be a private one"),
        ('{"kty": "oct", "kid": "one", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}', "must be a private one"),
        (json.dumps({**json.loads(KEYS)["keys"][0], "kid": ""}), "--key-id"),
    ],
)
def test_what_is_no_signing_key_is_refused_with_what_to_do(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SigningKey.read(text)
