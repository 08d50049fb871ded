"""The embedded engine decides like the real OPA, and OPA's own tests of the policy pass."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.policy import Policy
from support import require

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".cache" / "opa-1.22.2"
POLICY = [f"policies/{name}" for name in ("authz.rego", "data.json")]

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
    require("go")
    binary = TOOLS / "opa"
    if not binary.exists():
        subprocess.run(
            ["nice", "-n", "15", "go", "install", "github.com/open-policy-agent/opa@v1.22.2"],
            env={**os.environ, "GOBIN": str(TOOLS)},
            check=True,
            timeout=1400,
        )
    return binary


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


def test_the_policys_own_tests_pass(opa):
    run(opa, "check", "--strict", "policies/authz.rego", "policies/authz_test.rego")
    assert "PASS" in run(opa, "test", *POLICY, "policies/authz_test.rego")


def test_the_policy_is_formatted(opa):
    assert run(opa, "fmt", "--list", "policies") == ""


def test_the_embedded_engine_answers_every_question_like_opa(opa, tmp_path):
    documents = questions()
    (tmp_path / "cases.json").write_text(json.dumps({"cases": documents}))
    query = "[answer | some document in data.cases; answer := data.eventrunner.authz.allow with input as document]"
    sources = [argument for path in (*POLICY, tmp_path / "cases.json") for argument in ("--data", path)]
    answer = json.loads(run(opa, "eval", "--format", "json", *sources, query))
    theirs = answer["result"][0]["expressions"][0]["value"]
    policy = Policy.from_folder(ROOT / "policies")
    ours = [policy.evaluate(document) for document in documents]
    different = [item for item in zip(documents, theirs, ours, strict=True) if item[1] is not item[2]]
    assert different == []
    assert 100 < sum(theirs) < len(theirs)
