"""Consumers are checked and stored over a real registry and object store; their bytes lie there once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.api.consumers import ConsumerCalls
from eventrunner.storage.modules import ModuleStore
from eventrunner.storage.records import Consumer, StoredModule
from eventrunner.wasm.signing import SecretKey
from support_api import api_function
from support_wasm import actor, custom_section, register_key, signed, signing_key
from support_wasm import component as unsigned
from support_wasm import signed_component as component

from tests.unit.api.test_api import ALICE, BOB, Caller

WASM = {"content_type": "application/wasm"}
OTHER = SecretKey(bytes(range(1, 33)))
GOOD = component("wasmcloud:messaging/consumer@0.2.0", "wasi:clocks/wall-clock@0.2.3")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_MAX_CONSUMERS", "3")
        patch.setenv("EVENTRUNNER_MAX_MODULE_BYTES", "300000")
        patch.setenv("EVENTRUNNER_MAX_CONSUMER_BYTES", "500000")
        with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
            yield Caller(app.test_client(), registry)


@pytest.fixture
def call(platform: Caller) -> Caller:
    for tenant in ("acme", "globex"):
        platform("PUT", f"tenants/{tenant}", {})
        for item in platform.json("GET", f"consumers/{tenant}")["consumers"]:
            assert platform("DELETE", f"consumers/{tenant}/{item['name']}").status_code == 204
    register_key(platform.registry, "acme", "globex")
    return platform


def modules(call: Caller) -> ModuleStore:
    return ModuleStore(call.registry)


def sha(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


def put(call: Caller, path: str, code: bytes, status: int = 201, **more: Any) -> Any:
    return call.json("PUT", f"consumers/{path}", code, status=status, **WASM, **more)


def test_events_before_the_rules_are_refused_with_what_to_do(call: Caller) -> None:
    problem = call.problem(422, "PUT", "consumers/acme/alerts?stream=events", GOOD, **WASM)
    assert "Leave `stream` out" in problem["detail"]
    assert [error["field"] for error in problem["errors"]] == ["stream"]


def test_a_consumer_is_stored_with_its_bytes(call: Caller) -> None:
    made = put(call, "acme/alerts?stream=results&type=order.*&type=refund&ordered=true&fuel=7&instance=reuse", GOOD)
    assert made["module"] == {
        "sha256": sha(GOOD),
        "size": len(GOOD),
        "kind": "component",
        "imports": ["wasmcloud:messaging/consumer@0.2.0", "wasi:clocks/wall-clock@0.2.3"],
        "exports": ["wasmcloud:messaging/handler@0.2.0"],
    }
    assert made["signed_by"] == signing_key().id
    assert made["subscription"] == {
        "stream": "results", "types": ["order.*", "refund"], "sources": [], "ordered": True
    }  # fmt: skip
    assert made["limits"]["fuel"] == 7
    assert (made["limits"]["milliseconds"], made["instance"]) == (1000, "reuse")
    assert made["status"]["state"] == "stored"
    assert made["status"]["replicas"] == 0
    assert call.json("GET", "consumers/acme/alerts") == made
    assert modules(call).read(sha(GOOD)) == GOOD
    record = Consumer.from_json(call.registry.entry("consumers", "acme.alerts")[0])  # type: ignore[index]
    assert record.durable_name == "acme=alerts"


def test_a_wapc_module_is_stored_too(call: Caller) -> None:
    made = put(call, "acme/old", signed(actor(("wapc", "__host_call"))))
    assert (made["module"]["kind"], made["module"]["imports"]) == ("module", ["wapc.__host_call"])


def test_another_upload_takes_its_place(call: Caller) -> None:
    first = put(call, "acme/alerts?type=order", GOOD)
    other = component(filling=5)
    second = put(call, "acme/alerts", other, 200)
    assert (second["created"], second["subscription"]["types"]) == (first["created"], [])
    assert second["updated"] > first["updated"]
    assert modules(call).read(sha(GOOD)) is None
    assert modules(call).read(sha(other)) == other


def test_the_same_bytes_lie_there_once_and_until_nobody_has_them(call: Caller) -> None:
    before = stored_bytes(call)
    large = component(filling=200_000)
    for path in ("acme/a", "acme/b", "globex/a"):
        put(call, path, large)
    assert 200_000 < stored_bytes(call) - before < 250_000
    for path in ("acme/a", "globex/a"):
        call("DELETE", f"consumers/{path}")
        assert modules(call).read(sha(large)) == large
    call("DELETE", "consumers/acme/b")
    assert modules(call).read(sha(large)) is None
    assert stored_bytes(call) - before < 1000


def stored_bytes(call: Caller) -> int:
    async def read(client: Any) -> int:
        return int((await client.jetstream().stream_info("OBJ_modules")).state.bytes)

    return call.registry.run(read)


def test_many_who_store_and_remove_the_same_bytes_leave_them_to_who_has_them(call: Caller) -> None:
    code = component(filling=100_000)

    def upload_and_remove(number: int) -> None:
        tenant = "acme" if number % 2 else "globex"
        for _ in range(12):
            assert call("PUT", f"consumers/{tenant}/c", code, **WASM).status_code in (200, 201, 409)
            assert call("DELETE", f"consumers/{tenant}/c").status_code in (204, 404, 409)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upload_and_remove, range(4)))
    for tenant in ("acme", "globex"):
        there = call("GET", f"consumers/{tenant}/c").status_code == 200
        assert not there or modules(call).read(sha(code)) == code
    put(call, "acme/last", code)
    assert modules(call).read(sha(code)) == code


def test_bytes_that_get_a_record_while_they_are_removed_are_put_back(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = modules(call)
    store.keep(GOOD)
    read = ModuleStore.read
    stored = StoredModule(sha(GOOD), len(GOOD), "component", [], [])

    def read_late(self: ModuleStore, name: str) -> bytes | None:
        call.registry.put("consumers", "acme.late", Consumer("acme", "late", module=stored).to_json())
        return read(self, name)

    monkeypatch.setattr(ModuleStore, "read", read_late)
    store.release(sha(GOOD))
    assert read(store, sha(GOOD)) == GOOD


def test_bytes_that_are_removed_before_their_record_is_written_are_put_back(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ConsumerCalls._write

    def write_late(self: ConsumerCalls, *arguments: Any) -> Any:
        modules(call).release(sha(GOOD))
        assert modules(call).read(sha(GOOD)) is None
        return write(self, *arguments)

    monkeypatch.setattr(ConsumerCalls, "_write", write_late)
    put(call, "acme/late", GOOD)
    assert modules(call).read(sha(GOOD)) == GOOD


class TestLimitsOfThePlan:
    @pytest.fixture
    def small(self, call: Caller) -> Iterator[Caller]:
        consumers = {"ceilings": {"fuel": 1000, "milliseconds": 50}, "defaults": {"fuel": 500, "publishes": 7}}
        call("PUT", "plans/small", {"charges": [], "consumers": consumers})
        call.json("PUT", "tenants/acme", {"plan": "small"}, status=200)
        yield call
        call("PUT", "tenants/acme", {})

    def test_what_is_not_asked_for_comes_from_it(self, small: Caller) -> None:
        limits = put(small, "acme/alerts?publishes=8", GOOD)["limits"]
        assert limits == {
            "fuel": 500, "milliseconds": 50, "memory_bytes": 64 * 1024**2, "output_bytes": 1024**2, "publishes": 8,
            "log_bytes": 64 * 1024,
        }  # fmt: skip
        assert small.json("GET", "consumers/acme/alerts")["limits"] == limits

    def test_more_is_refused_with_the_limit_the_plan_and_its_ceiling(self, small: Caller) -> None:
        put(small, "acme/alerts?fuel=1000", GOOD)
        problem = small.problem(422, "PUT", "consumers/acme/alerts?fuel=1001&milliseconds=51", GOOD, **WASM)
        assert problem["type"] == "urn:eventrunner:error:over-plan"
        assert "plan small allows fuel of at most 1000, milliseconds of at most 50" in problem["detail"]
        assert [item["field"] for item in problem["errors"]] == ["fuel", "milliseconds"]
        assert small.json("GET", "consumers/acme/alerts")["limits"]["fuel"] == 1000

    def test_another_tenant_has_those_of_its_own(self, small: Caller) -> None:
        assert put(small, "globex/alerts?fuel=100000000000", GOOD)["limits"]["milliseconds"] == 1000

    def test_what_was_admitted_stays_until_the_next_upload(self, small: Caller) -> None:
        made = put(small, "acme/alerts?fuel=900", GOOD)
        small.json("PUT", "plans/small", {"charges": [], "consumers": {"ceilings": {"fuel": 800}}}, status=200)
        assert small.json("GET", "consumers/acme/alerts") == made
        problem = small.problem(422, "PUT", "consumers/acme/alerts?fuel=900", GOOD, **WASM)
        assert "fuel of at most 800" in problem["detail"]
        assert put(small, "acme/alerts", GOOD, 200)["limits"]["fuel"] == 800

    def test_a_plan_over_the_platforms_bound_is_not_taken(self, call: Caller) -> None:
        consumers = {"ceilings": {"fuel": 10**11 + 1}}
        problem = call.problem(422, "PUT", "plans/huge", {"charges": [], "consumers": consumers})
        assert [item["field"] for item in problem["errors"]] == ["consumers.ceilings.fuel"]
        call.problem(404, "GET", "plans/huge")


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "found"),
        [
            (b"", "is empty"),
            (b"\x7fELF\x02\x01\x01\x00", "begins with 7f 45 4c 46"),
            (b"\0asm\x02\0\0\0", "version 2 and layer 0"),
            (GOOD[:-3], "is no WebAssembly component that can be read"),
        ],
    )
    def test_what_is_no_webassembly(self, call: Caller, body: bytes, found: str) -> None:
        problem = call.problem(422, "PUT", "consumers/acme/x", body, **WASM)
        assert problem["type"] == "urn:eventrunner:error:not-webassembly"
        assert found in problem["detail"]
        assert problem["errors"][0]["field"] == "body"

    def test_another_content_type(self, call: Caller) -> None:
        problem = call.problem(415, "PUT", "consumers/acme/x", GOOD, content_type="application/octet-stream")
        assert problem["type"] == "urn:eventrunner:error:unsupported-media"
        assert "application/wasm" in problem["detail"]

    def test_a_forbidden_import_by_its_name(self, call: Caller) -> None:
        code = component("wasi:clocks/wall-clock@0.2.0", "wasi:sockets/tcp@0.2.0", "wasi:filesystem/types@0.2.0")
        problem = call.problem(422, "PUT", "consumers/acme/x", code, **WASM)
        assert problem["type"] == "urn:eventrunner:error:forbidden-import"
        assert "wasi:sockets/tcp@0.2.0, wasi:filesystem/types@0.2.0" in problem["detail"]
        fields = [item["field"] for item in problem["errors"]]
        assert fields == ["imports.wasi:sockets/tcp@0.2.0", "imports.wasi:filesystem/types@0.2.0"]
        problem = call.problem(
            422, "PUT", "consumers/acme/x", signed(actor(("wasi_snapshot_preview1", "fd_write"))), **WASM
        )
        assert "wasi_snapshot_preview1.fd_write" in problem["detail"]
        assert modules(call).read(sha(code)) is None

    def test_what_events_cannot_be_handed_to(self, call: Caller) -> None:
        problem = call.problem(422, "PUT", "consumers/acme/x", component(serves=False), **WASM)
        assert problem["type"] == "urn:eventrunner:error:no-handler"
        assert problem["errors"][0]["field"] == "exports"

    def test_an_unsigned_module(self, call: Caller) -> None:
        problem = self.refused(call, unsigned(), "unsigned-module")
        assert "eventrunner consumer sign" in problem["detail"]
        assert "detached" in problem["detail"]

    def test_a_key_of_nobodys_by_the_id_that_the_module_tells(self, call: Caller) -> None:
        detail = self.refused(call, signed(unsigned(), OTHER), "unknown-signing-key")["detail"]
        assert OTHER.public.module_id.hex() in detail
        assert signing_key().id in detail
        assert "eventrunner tenant signing-key add acme" in detail

    def test_another_tenants_key(self, call: Caller) -> None:
        register_key(call.registry, "globex", key=OTHER.public)
        code = signed(unsigned(), OTHER)
        self.refused(call, code, "unknown-signing-key")
        assert put(call, "globex/x", code)["signed_by"] == OTHER.public.id

    def test_a_revoked_key(self, call: Caller) -> None:
        put(call, "acme/x", GOOD)
        assert call("DELETE", f"signing-keys/acme/{signing_key().id}").status_code == 204
        assert "has registered no key" in self.refused(call, component(filling=3), "unknown-signing-key")["detail"]

    def test_a_tampered_byte(self, call: Caller) -> None:
        changed = bytearray(GOOD)
        changed[-1] ^= 1
        self.refused(call, bytes(changed).replace(b"clock@0.2.3", b"clock@0.2.4"), "tampered-module")

    def test_a_part_that_is_signed(self, call: Caller) -> None:
        part = signed(unsigned() + custom_section("signature_delimiter", bytes(16)))
        self.refused(call, part + custom_section("x", b""), "partly-signed-module")

    def test_a_signature_that_cannot_be_read(self, call: Caller) -> None:
        code = unsigned()
        self.refused(call, code[:8] + custom_section("signature", b"\1") + code[8:], "malformed-signature")

    def test_a_key_that_the_policy_does_not_admit(self, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WasmPolicy, "admits", lambda *_: False)
        assert signing_key().id in self.refused(call, GOOD, "forbidden-signer")["detail"]

    def refused(self, call: Caller, code: bytes, error: str) -> Any:
        problem = call.problem(422, "PUT", "consumers/acme/refused", code, **WASM)
        assert problem["type"] == f"urn:eventrunner:error:{error}"
        assert modules(call).read(sha(code)) is None
        return problem

    def test_what_is_too_large(self, call: Caller) -> None:
        problem = call.problem(413, "PUT", "consumers/acme/x", component(filling=300_000), **WASM)
        assert problem["type"] == "urn:eventrunner:error:body-too-large"
        assert "300000" in problem["detail"]

    def test_more_consumers_or_bytes_than_a_tenant_may_have(self, call: Caller) -> None:
        put(call, "acme/a", component(filling=250_000))
        too_much = component(filling=250_001)
        assert "bytes" in call.problem(409, "PUT", "consumers/acme/b", too_much, **WASM)["detail"]
        assert modules(call).read(sha(too_much)) is None
        put(call, "acme/a", too_much, 200)
        for name in ("b", "c"):
            put(call, f"acme/{name}", too_much)
        assert "3 consumers" in call.problem(409, "PUT", "consumers/acme/d", GOOD, **WASM)["detail"]
        put(call, "acme/c", GOOD, 200)
        put(call, "globex/a", too_much)

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("fuel=0", "fuel"),
            ("memory_bytes=99999999999", "memory_bytes"),
            ("milliseconds=1.5", "milliseconds"),
            ("log_bytes=1048577", "log_bytes"),
            ("stream=raw", "stream"),
            ("type=", "type"),
            ("type=a%0ab", "type"),
            ("ordered=yes", "ordered"),
            ("instance=old", "instance"),
            ("typ=a", "typ"),
            ("&".join(["source=s"] * 33), "source"),
        ],
    )
    def test_a_wrong_setting(self, call: Caller, query: str, field: str) -> None:
        problem = call.problem(422, "PUT", f"consumers/acme/x?{query}", GOOD, **WASM)
        assert [item["field"] for item in problem["errors"]] == [field]

    @pytest.mark.parametrize("name", ["a.b", "a b", "*", "x" * 65, "ä"])
    def test_a_name_that_is_none(self, call: Caller, name: str) -> None:
        for method in ("PUT", "GET", "DELETE"):
            problem = call.problem(422, method, f"consumers/acme/{name}", GOOD if method == "PUT" else None, **WASM)
            assert problem["errors"][0]["field"] == "name"

    def test_an_unknown_tenant_or_consumer(self, call: Caller) -> None:
        call.problem(404, "PUT", "consumers/nobody/x", GOOD, **WASM)
        call.problem(404, "GET", "consumers/nobody")
        for method, path in (("GET", "x"), ("DELETE", "x"), ("GET", "x/logs")):
            assert "none at all" in call.problem(404, method, f"consumers/acme/{path}")["detail"]


def test_nobody_overwrites_what_they_have_not_seen(call: Caller) -> None:
    made = call("PUT", "consumers/acme/alerts", GOOD, headers={"If-None-Match": "*"}, **WASM)
    tag = made.headers["ETag"]
    other = component(filling=9)
    call.problem(412, "PUT", "consumers/acme/alerts", other, headers={"If-None-Match": "*"}, **WASM)
    call.problem(412, "PUT", "consumers/acme/alerts", other, headers={"If-Match": '"1"'}, **WASM)
    assert modules(call).read(sha(other)) is None
    call.problem(412, "DELETE", "consumers/acme/alerts", headers={"If-Match": '"1"'})
    assert call("GET", "consumers/acme/alerts", headers={"If-None-Match": tag}).status_code == 304
    assert call("PUT", "consumers/acme/alerts", other, headers={"If-Match": tag}, **WASM).status_code == 200
    call.problem(412, "DELETE", "consumers/acme/alerts", headers={"If-Match": tag})


def test_the_list_comes_in_pages(call: Caller) -> None:
    for name in ("c", "a", "b"):
        put(call, f"acme/{name}", GOOD)
    first = call.json("GET", "consumers/acme?limit=2")
    assert [item["name"] for item in first["consumers"]] == ["a", "b"]
    second = call.json("GET", f"consumers/acme?cursor={first['next']}")
    assert ([item["name"] for item in second["consumers"]], second["next"]) == (["c"], None)


def test_another_tenant_is_refused(call: Caller) -> None:
    put(call, "acme/alerts", GOOD, who=ALICE)
    for method, path in (
        ("GET", ""),
        ("GET", "/alerts"),
        ("GET", "/alerts/logs"),
        ("DELETE", "/alerts"),
        ("PUT", "/alerts"),
    ):
        call.problem(403, method, f"consumers/acme{path}", GOOD if method == "PUT" else None, who=BOB, **WASM)
    assert call("DELETE", "consumers/acme/alerts", who=ALICE).status_code == 204


def test_uploads_and_removals_are_in_the_audit_log(call: Caller) -> None:
    put(call, "acme/audited", GOOD, who=ALICE)
    call("DELETE", "consumers/acme/audited", who=ALICE)
    entries = [item for item in call.json("GET", "audit/acme?limit=1000")["entries"] if "audited" in item["thing"]]
    assert [(item["call"].partition(" ")[0], item["subject"], item["status"]) for item in entries] == [
        ("PUT", "alice", 201), ("DELETE", "alice", 204)
    ]  # fmt: skip
    assert all(write["bucket"] == "consumers" for item in entries for write in item["writes"])


def test_a_record_of_somebody_else_stays_readable(call: Caller) -> None:
    call.registry.put(
        "consumers", "acme.alarms", json.dumps({"tenant": "acme", "name": "alarms", "wasm": "x"}).encode()
    )
    assert call.json("GET", "consumers/acme/alarms")["module"] is None
