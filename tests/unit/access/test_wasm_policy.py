"""A consumer imports what the contract names and publishes as its own tenant, by the policy that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eventrunner.access.rego import RegoRule
from eventrunner.access.wasm_policy import WasmPolicy
from eventrunner.errors import ConfigurationError
from eventrunner.wasm.binary import Import, Kind, Module

FOLDER = Path(__file__).parents[3] / "policies"
POLICY = WasmPolicy.from_folder(FOLDER)


def component(*imports: str, exports: tuple[str, ...] = ("wasmcloud:messaging/handler@0.2.0",)) -> Module:
    return Module(Kind.COMPONENT, tuple(Import(name) for name in imports), exports)


def test_forbidden_imports_are_named() -> None:
    good = ("wasmcloud:messaging/consumer@0.2.0", "wasi:clocks/wall-clock@0.2.3", "wasi:logging/logging@0.1.0-draft")
    bad = ("wasi:sockets/tcp@0.2.0", "wasi:clocks/wall-clock@0.20.0", "wasi:clocks/wall-clock", "get-secret", "")
    assert [item.name for item in POLICY.forbidden(component(*good, *bad), "acme")] == list(bad)


def test_a_module_may_import_wapc_only() -> None:
    imports = [Import("wapc", "__host_call"), Import("wapc", "__evil"), Import("wasi_snapshot_preview1", "fd_write")]
    module = Module(Kind.MODULE, tuple(imports), ("__guest_call",))
    assert POLICY.forbidden(module, "acme") == imports[1:]
    assert POLICY.serves(module)


def test_what_can_be_handed_no_event_serves_nothing() -> None:
    assert POLICY.serves(component())
    assert not POLICY.serves(component(exports=("wasi:cli/run@0.2.0", "wasmcloud:messaging/handler@0.3.0")))
    assert not POLICY.serves(Module(Kind.MODULE, (), ("_start", "wasmcloud:messaging/handler@0.2.0")))


def test_a_module_is_admitted_by_a_registered_key_only() -> None:
    assert POLICY.admits(Kind.COMPONENT, "acme", "k1", ["k2", "k1"])
    assert POLICY.admits(Kind.MODULE, "acme", "k1", ["k1"])
    for signed_by, registered in (("k1", []), ("k1", ["k2"]), ("", [""]), ("k1\0", ["k1"]), ("k1", ['"k1"'])):
        assert not POLICY.admits(Kind.COMPONENT, "acme", signed_by, registered)
    assert not POLICY.admits(Kind.COMPONENT, "", "k1", ["k1"])


def test_a_consumer_publishes_as_its_tenant_only() -> None:
    assert POLICY.may_publish("acme", "events.acme.order.paid")
    for subject in (
        "events.globex.order",
        "raw.acme.x",
        "events.acme",
        "events.acme.*",
        "$KV.keys.acme",
        "events.acme.a b",
    ):
        assert not POLICY.may_publish("acme", subject)
    assert not POLICY.may_publish("", "events..order")


def test_texts_that_an_engine_may_confuse_are_no_way_in() -> None:
    for text in ('"acme"', "acme\0", "acme\n", "%61cme", "\\u0061cme", "'acme'", "\ud800acme"):
        assert not POLICY.may_publish("acme", f"events.{text}.order")
        assert not POLICY.may_publish(text, "events.acme.order")
        assert POLICY.forbidden(component(f"wasi:random/random@0.2.0{text}", f"{text}:random/random@0.2.0"), "acme")
    for character in "*> \t\r\n\0":
        assert not POLICY.may_publish("acme", f"events.acme.a{character}b")


def test_a_tenant_may_be_given_more() -> None:
    data = json.loads((FOLDER / "data.json").read_text())
    data["eventrunner"]["consumers"]["tenants"] = {"acme": {"imports": {"wasi:io/streams": ["0.2"]}}}
    policy = WasmPolicy(RegoRule((FOLDER / "wasm.rego").read_text(), json.dumps(data), "eventrunner/wasm/allow"))
    assert policy.forbidden(component("wasi:io/streams@0.2.1"), "acme") == []
    assert len(policy.forbidden(component("wasi:io/streams@0.2.1"), "globex")) == 1


def test_a_policy_that_is_broken_or_missing_allows_nothing(tmp_path: Path) -> None:
    broken = WasmPolicy(RegoRule("package eventrunner.wasm\n\nallow := ", "{}", "eventrunner/wasm/allow"))
    assert not broken.may_publish("acme", "events.acme.order")
    assert not broken.serves(component())
    assert not broken.admits(Kind.COMPONENT, "acme", "k1", ["k1"])
    assert len(broken.forbidden(component("wasi:random/random@0.2.0"), "acme")) == 1
    with pytest.raises(ConfigurationError, match=r"wasm\.rego"):
        WasmPolicy.from_folder(tmp_path)
