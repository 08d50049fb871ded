"""The request matrix: role by call by own or another tenant, and everything that is no honest question."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from eventrunner.access.access_rules import load_access_rules
from eventrunner.access.identity import Identity
from eventrunner.access.policy import Policy, question
from eventrunner.errors import ConfigurationError

FOLDER = Path(__file__).parents[3] / "policies"
POLICY = Policy.from_folder(FOLDER)

CALLS = sorted(
    {
        (rule.permission.resource, rule.permission.action)
        for rule in load_access_rules(FOLDER / "access-rules.yaml")
        if rule.permission is not None
    }
)
OPERATORS_ONLY = {
    ("analytics", "rebuild"),
    ("billing", "close"),
    ("keys", "create"),
    ("keys", "delete"),
    ("keys", "rotate"),
    ("metrics", "get"),
    ("plans", "put"),
    ("retention", "sweep"),
    ("status", "get"),
    ("tenants", "delete"),
    ("tenants", "put"),
}
PUBLISH = ("events", "publish")
ROLES = ["admin", "user", "event_publisher", "unknown_role"]


def expected(role: str, call: tuple[str, str], tenant: str) -> bool:
    if role == "admin":
        return True
    own = tenant == "acme" or (tenant == "" and call[0] == "plans")
    if role == "user":
        return own and call not in OPERATORS_ONLY and call != PUBLISH
    return role == "event_publisher" and tenant == "acme" and call == PUBLISH


@pytest.mark.parametrize("tenant", ["acme", "globex", "ACME", ""])
@pytest.mark.parametrize("role", ROLES)
def test_the_matrix_of_roles_calls_and_tenants(role, tenant):
    alice = Identity("alice", "acme", (role,))
    wrong = [call for call in CALLS if POLICY.allows(alice, *call, tenant) is not expected(role, call, tenant)]
    assert wrong == []


def test_the_matrix_covers_every_call():
    assert len(CALLS) == 46


def test_nobody_may_do_anything():
    assert not any(POLICY.allows(None, *call, tenant) for call in CALLS for tenant in ("acme", ""))


def test_who_claims_to_be_of_the_platform_is_still_no_admin():
    mallory = Identity("mallory", "_platform", ("user",))
    assert not any(POLICY.allows(mallory, *call, "_platform") for call in CALLS)
    assert POLICY.allows(Identity("root", "", ("admin",)), "rules", "put", "_platform")


def test_roles_add_up():
    both = Identity("alice", "acme", ("event_publisher", "user"))
    assert POLICY.allows(both, *PUBLISH, "acme")
    assert POLICY.allows(both, "rules", "put", "acme")
    assert not POLICY.allows(both, "rules", "put", "globex")


def test_a_caller_without_a_tenant_owns_nothing():
    stray = Identity("stray", "", ("user", "event_publisher"))
    assert {call for call in CALLS if POLICY.allows(stray, *call, "")} == {("plans", "get")}


@pytest.mark.parametrize(
    "text",
    [
        'acme", "roles": ["admin"], "x": "',
        'alice"}, "subject": {"authenticated": true, "roles": ["admin"], "tenant": "acme"}, "x": {"y": "',
        "{{ .Extra.roles }}",
        "admin",
        "*",
        "\\u0061dmin",
        "acme\x00",
        "acme\n",
        " acme",
    ],
)
def test_text_that_looks_like_policy_stays_text(text):
    assert not POLICY.allows(Identity(text, text, (text + "x",)), "tenants", "put", "acme")
    assert not POLICY.allows(Identity("alice", text, ("user",)), "rules", "get", "acme")
    assert not POLICY.allows(Identity("alice", "acme", ("user",)), "rules", "get", text)
    assert not POLICY.allows(Identity("alice", "acme", ("user",)), text, text, "acme")


@pytest.mark.parametrize(
    "subject",
    [
        None,
        [],
        "admin",
        {},
        {"authenticated": "true", "tenant": "acme", "roles": ["admin"]},
        {"authenticated": 1, "tenant": "acme", "roles": ["admin"]},
        {"authenticated": True, "tenant": "acme", "roles": "admin"},
        {"authenticated": True, "tenant": "acme", "roles": {"a": "admin"}},
        {"authenticated": True, "tenant": "acme", "roles": [["admin"]]},
        {"authenticated": True, "tenant": "acme", "roles": [None, 1, {}]},
        {"authenticated": True, "tenant": "acme"},
    ],
)
def test_a_subject_of_another_shape_is_denied(subject):
    document = question(None, "events", "list", "acme") | {"subject": subject}
    assert POLICY.evaluate(document) is False


@pytest.mark.parametrize("tenant", [None, 0, [], {}, ["acme"]])
def test_a_tenant_that_is_no_text_is_nobodys(tenant):
    document = question(Identity("alice", "acme", ("user",)), "events", "list", "acme")
    document["tenant"] = document["subject"]["tenant"] = tenant
    assert POLICY.evaluate(document) is False


def test_a_policy_that_fails_denies():
    broken = Policy.from_text("package eventrunner.authz\n\nallow := ", "{}")
    assert broken.allows(Identity("root", "", ("admin",)), "events", "list", "acme") is False


def test_a_policy_without_a_default_denies_what_it_does_not_say():
    silent = Policy.from_text('package eventrunner.authz\n\nallow if input.action == "get"\n', "{}")
    assert silent.allows(None, "x", "get", "") is True
    assert silent.allows(None, "x", "put", "") is False


def test_an_answer_that_is_not_true_denies():
    chatty = Policy.from_text('package eventrunner.authz\n\nallow := "yes"\n', "{}")
    assert chatty.allows(None, "x", "get", "") is False


def test_a_missing_policy_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"authz\.rego"):
        Policy.from_folder(tmp_path)


def test_threads_share_one_policy():
    policy, answers = Policy.from_folder(FOLDER), []

    def ask(tenant: str) -> None:
        alice = Identity("alice", tenant, ("user",))
        answers.extend(policy.allows(alice, "rules", "get", f"t{number}") for number in range(50))

    threads = [threading.Thread(target=ask, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers.count(True), len(answers)) == (8, 400)
