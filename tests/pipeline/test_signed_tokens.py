"""The local gateway makes of keys and tokens what the real Oathkeeper does in `tests/peers/test_oathkeeper.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_key_server import key_server
from support_signed_tokens import ISSUER, ISSUER_PUBLIC_KEYS, check_gateway

from tests.unit.local.test_dev import running

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(300)]


def test_keys_and_signed_tokens_are_answered_as_everywhere(tmp_path: Path) -> None:
    with key_server(ISSUER_PUBLIC_KEYS) as provider:
        trusted = {"EVENTRUNNER_JWKS": provider.url, "EVENTRUNNER_JWT_ISSUERS": ISSUER}
        with running(tmp_path / "data", **trusted) as (_, ready):
            check_gateway(ready["url"], ready["admin_key"], tmp_path)
