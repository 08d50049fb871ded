"""A tenant's signing keys are registered once, by whatever file they come in, and revoked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eventrunner.api.signing_keys import MOST_KEYS
from eventrunner.wasm.signing import SecretKey
from support_api import api_function

from tests.unit.api.test_api import ALICE, BOB, Caller

KEY = SecretKey(bytes(range(32))).public


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        yield Caller(app.test_client(), registry)


@pytest.fixture
def call(platform: Caller) -> Caller:
    for tenant in ("acme", "globex"):
        platform("PUT", f"tenants/{tenant}", {})
        for key in platform.json("GET", f"signing-keys/{tenant}")["signing_keys"]:
            assert platform("DELETE", f"signing-keys/{tenant}/{key['id']}").status_code == 204
    return platform


def register(call: Caller, public: str = KEY.to_text(), status: int = 201, **more: Any) -> Any:
    return call.json("POST", "signing-keys/acme", {"public_key": public} | more, status=status, who=ALICE)


def test_a_key_is_registered_and_listed(call: Caller) -> None:
    made = register(call, name="ci")
    assert made | {"created": ""} == {
        "tenant": "acme",
        "id": KEY.id,
        "name": "ci",
        "public_key": KEY.to_text(),
        "module_key_id": KEY.module_id.hex(),
        "created": "",
    }
    assert call.json("GET", "signing-keys/acme", who=ALICE) == {"signing_keys": [made], "next": None}
    assert call.json("GET", "signing-keys/globex", who=BOB) == {"signing_keys": [], "next": None}


def test_the_same_key_again_is_the_same_with_another_name(call: Caller) -> None:
    made = register(call, name="ci")
    assert register(call, KEY.to_pem(), 200, name="build") == made | {"name": "build"}
    assert len(call.json("GET", "signing-keys/acme")["signing_keys"]) == 1


def test_a_revoked_key_is_gone(call: Caller) -> None:
    register(call)
    assert call("DELETE", f"signing-keys/acme/{KEY.id}", who=ALICE).status_code == 204
    assert call.json("GET", "signing-keys/acme")["signing_keys"] == []
    call.problem(404, "DELETE", f"signing-keys/acme/{KEY.id}")
    call.problem(404, "DELETE", "signing-keys/acme/..")


def test_what_is_no_public_key_is_refused(call: Caller) -> None:
    for text in ("hello", "AAAA", "-----BEGIN PUBLIC KEY-----"):
        problem = call.problem(422, "POST", "signing-keys/acme", {"public_key": text})
        assert problem["errors"][0]["field"] == "public_key"
    for body in ({}, {"public_key": ""}, {"public_key": 1}, {"public_key": KEY.to_text(), "id": "x"}):
        call.problem(422, "POST", "signing-keys/acme", body)


def test_a_tenant_has_so_many_keys_at_most_however_they_come(call: Caller) -> None:
    def post(number: int) -> int:
        public = SecretKey(number.to_bytes(32)).public.to_text()
        return call("POST", "signing-keys/acme", {"public_key": public}).status_code

    for number in range(MOST_KEYS - 2):
        assert post(number) == 201
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(post, range(1000, 1004))) == [201, 201, 409, 409]
    assert len(call.json("GET", "signing-keys/acme")["signing_keys"]) == MOST_KEYS
    assert "32 signing keys" in call.problem(409, "POST", "signing-keys/acme", {"public_key": KEY.to_text()})["detail"]
    assert post(0) == 200


def test_nobody_elses_keys_are_seen_or_changed(call: Caller) -> None:
    register(call)
    call.problem(403, "GET", "signing-keys/acme", who=BOB)
    call.problem(403, "POST", "signing-keys/acme", {"public_key": KEY.to_text()}, who=BOB)
    call.problem(403, "DELETE", f"signing-keys/acme/{KEY.id}", who=BOB)
    call.problem(404, "GET", "signing-keys/nobody")


def test_every_change_is_in_the_audit_log(call: Caller) -> None:
    register(call)
    call("DELETE", f"signing-keys/acme/{KEY.id}", who=ALICE)
    made, revoked = call.json("GET", "audit/acme?limit=1000")["entries"][-2:]
    assert (made["call"], made["status"]) == ("POST /api/v1/signing-keys/{tenant}", 201)
    assert (revoked["call"], revoked["status"]) == ("DELETE /api/v1/signing-keys/{tenant}/{key}", 204)
    assert revoked["writes"][0]["bucket"] == "signing_keys"
    assert revoked["writes"][0]["before"] == made["writes"][0]["after"]
