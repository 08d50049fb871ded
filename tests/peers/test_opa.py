"""The embedded engine decides like the real OPA, and OPA's own tests of the policy pass."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.policy import Policy
from eventrunner.access.wasm_policy import WasmPolicy
from support_opa import POLICY, opa_binary

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
WASM = [f"policies/{name}" for name in ("wasm.rego", "data.json")]

# Names, and texts that an engine may confuse with them.
TEXTS: list[Any] = [
    "acme", "globex", "", "ACME", "acme ", "acme\n", "acme\\n", "acme\0", '"acme"', 'acme"', "'acme'", "`acme`", '"',
    '""', "acme\\", "ac\\me", "ac\\\\me", "\\u0061cme", "%61cme", "{acme}", "[acme]", "é", "e\u0301", "😀", "\u2028",
    "0", "1", "1.0", "-0", "1e3", "true", "false", "null", "[]", "{}", None, 0, 1, 1.5, 1000, True, False, [], {},
    ["acme"], {"acme": 1},
]  # fmt: skip
ROLES: list[Any] = [
    ["admin"], ["user"], ["event_publisher"], ["user", "event_publisher"], ["user", "admin"], [], "admin", None,
    {"admin": 1}, {"a": "admin"}, [["admin"]], [None], [1], [True], ['"admin"'], ["admin\n"], ["admin\0"],
    ["\\u0061dmin"], ["scope"], ["roles"],
]  # fmt: skip
RESOURCES: list[Any] = ["events", "plans", "rules", "keys", "tenants", '"events"', "scope", "", None, 1, [], {}]
ACTIONS: list[Any] = ["list", "get", "publish", "put", "create", "close", '"get"', "", None, 1, ["get"]]
AUTHENTICATED: list[Any] = [True] * 8 + [False, None, 1, "true", [], {}]


@pytest.fixture(scope="module")
def opa() -> Path:
    return opa_binary()


def run(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout


def questions() -> list[dict[str, Any]]:
    choose = random.Random(20261001).choice
    documents = [question(tenant, other, ["user"], "events", "list", True) for tenant in TEXTS for other in TEXTS]
    documents += [
        question(choose(TEXTS), choose(TEXTS), choose(ROLES), choose(RESOURCES), choose(ACTIONS), choose(AUTHENTICATED))
        for _ in range(3000)
    ]
    data = json.loads((ROOT / "policies" / "data.json").read_text())["eventrunner"]["access"]["roles"]
    documents += [
        question("acme", tenant, [role], resource, action, True)
        for role in data
        for resource, actions in data["admin"]["permissions"].items()
        for action in actions
        for tenant in ("acme", "globex", "")
    ]
    return documents + [without_something(document, choose) for document in documents[-500:]]


def question(own: Any, tenant: Any, roles: Any, resource: Any, action: Any, authenticated: Any) -> dict[str, Any]:
    subject = {"authenticated": authenticated, "id": "alice", "tenant": own, "roles": roles}
    return {"subject": subject, "resource": resource, "action": action, "tenant": tenant}


def without_something(document: dict[str, Any], choose: Any) -> dict[str, Any]:
    gone = choose(
        ["subject", "resource", "action", "tenant", "subject.roles", "subject.tenant", "subject.authenticated"]
    )
    smaller = json.loads(json.dumps(document))
    holder, _, member = gone.rpartition(".")
    del (smaller[holder] if holder else smaller)[member]
    return smaller


@pytest.mark.parametrize("name", ["authz", "wasm"])
def test_the_policies_own_tests_pass(opa, name):
    files = (f"policies/{name}.rego", f"policies/{name}_test.rego")
    run(opa, "check", "--strict", *files)
    assert "PASS" in run(opa, "test", *files, "policies/data.json")


def test_the_policy_is_formatted(opa):
    assert run(opa, "fmt", "--list", "policies") == ""


def answers(opa: Path, folder: Path, sources: list[str], rule: str, documents: list[dict[str, Any]]) -> list[bool]:
    (folder / "cases.json").write_text(json.dumps({"cases": documents}))
    query = f"[answer | some document in data.cases; answer := data.{rule} with input as document]"
    arguments = [argument for path in (*sources, folder / "cases.json") for argument in ("--data", path)]
    answer = json.loads(run(opa, "eval", "--format", "json", *arguments, query))
    return answer["result"][0]["expressions"][0]["value"]


def test_the_embedded_engine_answers_every_question_like_opa(opa, tmp_path):
    documents = questions()
    theirs = answers(opa, tmp_path, POLICY, "eventrunner.authz.allow", documents)
    policy = Policy.from_folder(ROOT / "policies")
    ours = [policy.evaluate(document) for document in documents]
    different = [item for item in zip(documents, theirs, ours, strict=True) if item[1] is not item[2]]
    assert different == []
    assert 100 < sum(theirs) < len(theirs)


INTERFACES: list[Any] = [
    "wasmcloud:messaging/consumer", "wasmcloud:messaging/types", "wasmcloud:messaging/handler",
    "wasi:clocks/wall-clock", "wasi:clocks", "wasi:random/random",
    "wasi:logging/logging", "wasi:io/poll", "wasi:sockets/tcp", "wapc", "env",
    "__guest_call", "_start", "wasi_snapshot_preview1", "imports", "component", *TEXTS,
]  # fmt: skip
VERSIONS: list[Any] = [
    "0.2", "0.2.0", "0.2.6", "0.20.0", "0.2.", ".", "0.3.0", "0.1.0-draft", "0.2.0+x", "0.2.0 ", "0.2.0\0", *TEXTS,
]  # fmt: skip
MEMBERS: list[Any] = ["__host_call", "__console_log", "__guest_call", "fd_write", '"__host_call"', *TEXTS]
KINDS: list[Any] = ["component", "module", "", None, 1, ["component"]]
TOKENS = [
    "events",
    "results",
    "raw",
    "acme",
    "globex",
    "order",
    "",
    "*",
    ">",
    "a b",
    "a*",
    "\r\n",
    "\0",
    "%2A",
    "é",
    '"',
]


def wasm_questions() -> list[dict[str, Any]]:
    choose = random.Random(20261127).choice
    documents: list[dict[str, Any]] = []
    for _ in range(1500):
        asked = {"tenant": choose(TEXTS), "kind": choose(KINDS[:2] * 4 + KINDS)}
        named = {"name": choose(INTERFACES), "version": choose(VERSIONS), "member": choose(MEMBERS)}
        documents.append({"action": choose(["import", "serve", "publish", "", None]), **asked, **named})
    for kind in ("component", "module"):
        for action in ("import", "serve"):
            for name in INTERFACES[:16]:
                for rest in (
                    ({"version": item} for item in VERSIONS[:11])
                    if kind == "component"
                    else ({"member": item} for item in MEMBERS[:5])
                ):
                    documents.append({"action": action, "tenant": "acme", "kind": kind, "name": name, **rest})
    for _ in range(1500):
        subject = ".".join(choose(TOKENS) for _ in range(choose([1, 2, 3, 4])))
        documents.append({"action": "publish", "tenant": choose(["acme", "globex", ""]), "subject": subject})
    for _ in range(500):
        signed = {"signed_by": choose(TEXTS), "registered": choose([[], ["acme"], TEXTS[:9], TEXTS[9:], *TEXTS])}
        documents.append({"action": "admit", "tenant": choose(["acme", *TEXTS]), "kind": choose(KINDS), **signed})
    documents += [
        {"action": "publish", "tenant": tenant, "subject": f"events.{other}.order"}
        for tenant in TEXTS
        for other in TEXTS
    ]
    documents += [{"action": "publish", "tenant": "acme", "subject": subject} for subject in TEXTS]
    return documents + [{name: item[name] for name in item if name != choose(list(item))} for item in documents[::7]]


def test_the_embedded_engine_judges_consumers_like_opa(opa, tmp_path):
    sources = [argument for path in (*WASM, "policies/wasm_test.rego") for argument in ("--data", path)]
    asked = json.loads(run(opa, "eval", "--format", "json", *sources, "data.eventrunner.wasm_test.inputs"))
    documents = wasm_questions() + (own := asked["result"][0]["expressions"][0]["value"])
    assert len(own) > 70
    theirs = answers(opa, tmp_path, WASM, "eventrunner.wasm.allow", documents)
    policy = WasmPolicy.from_folder(ROOT / "policies")
    ours = [policy.evaluate(document) for document in documents]
    different = [item for item in zip(documents, theirs, ours, strict=True) if item[1] is not item[2]]
    assert different == []
    allowed = [document["action"] for document, answer in zip(documents, theirs, strict=True) if answer]
    assert {"admit", "import", "serve", "publish"} == set(allowed)
    assert 50 < len(allowed) < len(documents) / 2
