"""Identities as the gateway signs them, with keys of the tests' own."""

from __future__ import annotations

from eventrunner.access.identity import Signer, Verifier, make_keys

__all__ = ["JWKS", "SIGNER", "sign", "verify"]

SIGNER = Signer(make_keys("tests"))
JWKS = SIGNER.public_keys
"""What a function is given as EVENTRUNNER_GATEWAY_JWKS."""
sign = SIGNER.sign
verify = Verifier(JWKS).verify
