"""Conditional requests: what was changed meanwhile is not overwritten, what the caller has is not sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from eventrunner.api.openapi.document import CALLS
from eventrunner.api.openapi.parameters import IF_MATCH
from support_api import api_function

from tests.unit.api.test_api import CHARGES, RULE, Caller

WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "tenants/acme", {"name": "Other"}),
    ("PUT", "rules/acme/one", RULE + "\n"),
    ("POST", "rules/acme/one/activate", {}),
    ("DELETE", "rules/acme/one", None),
    ("PUT", "plans/cheap", {"charges": CHARGES}),
    ("DELETE", "tenants/acme?confirm=acme", None),
]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        yield Caller(app.test_client(), registry)


@pytest.fixture
def call(platform: Caller) -> Caller:
    platform("PUT", "tenants/acme", {})
    platform("PUT", "rules/acme/one", RULE)
    platform("PUT", "plans/cheap", {"charges": CHARGES})
    return platform


def thing(path: str) -> str:
    return path.partition("?")[0].removesuffix("/activate")


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_what_is_not_as_expected_is_not_written(call: Caller, method: str, path: str, body: Any) -> None:
    before = call("GET", thing(path))
    problem = call.problem(412, method, path, body, headers={"If-Match": '"1234567"'})
    assert before.headers["ETag"] in problem["detail"]
    assert call("GET", thing(path)).data == before.data
    assert call("GET", thing(path)).headers["ETag"] == before.headers["ETag"]


@pytest.mark.parametrize(("method", "path", "body"), WRITES[:-1])
def test_what_is_as_expected_is_written_once(call: Caller, method: str, path: str, body: Any) -> None:
    tag = call("GET", thing(path)).headers["ETag"]
    written = call(method, path, body, headers={"If-Match": tag})
    assert written.status_code in (200, 201, 204), written.text
    if method != "DELETE":
        assert written.headers["ETag"] == call("GET", thing(path)).headers["ETag"] != tag
        call.problem(412, method, path, body, headers={"If-Match": tag})


@pytest.mark.parametrize("path", ["tenants/acme", "rules/acme/one", "plans/cheap", "plans/standard", "openapi.json"])
def test_what_the_caller_has_is_not_sent_again(call: Caller, path: str) -> None:
    tag = call("GET", path).headers["ETag"]
    again = call("GET", path, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert call("GET", path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_star_creates_only(call: Caller) -> None:
    for path, body in (("tenants/new", {}), ("rules/acme/new", RULE), ("plans/new", {"charges": CHARGES})):
        assert call("PUT", path, body, headers={"If-None-Match": "*"}).status_code == 201
        call.problem(412, "PUT", path, body, headers={"If-None-Match": "*"})
    call.problem(412, "PUT", "plans/standard", {"charges": CHARGES}, headers={"If-None-Match": "*"})


def test_a_star_of_if_match_replaces_only(call: Caller) -> None:
    call.problem(412, "PUT", "tenants/absent", {}, headers={"If-Match": "*"})
    assert call("PUT", "tenants/acme", {}, headers={"If-Match": "*"}).status_code == 200


def test_a_tenants_tag_changes_with_its_keys(call: Caller) -> None:
    tag = call("GET", "tenants/acme").headers["ETag"]
    call("POST", "tenants/acme/keys", {})
    assert call("GET", "tenants/acme", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize("text", ["17", "", '"a', '"a" "b"', "*, *"])
def test_a_header_without_tags_is_refused(call: Caller, text: str) -> None:
    for name in ("If-Match", "If-None-Match"):
        problem = call.problem(422, "PUT", "tenants/acme", {}, headers={name: text})
        assert problem["errors"][0]["field"] == name


def test_the_version_asked_for_must_be_a_number(call: Caller) -> None:
    for query in ("version=x", "version=0", "vers=1"):
        call.problem(422, "GET", f"rules/acme/one?{query}")


TRIALS = {"rules-dry-run", "rules-explain", "rules-explain-all"}
UNTAGGED = {call.id: call for call in CALLS if call.untagged}


def test_every_call_that_changes_something_has_a_condition_or_says_why_not() -> None:
    """But for events, which are only ever added."""
    changing = [call for call in CALLS if call.method != "get" and call.id not in TRIALS | {"events-publish"}]
    assert [call.id for call in changing if (IF_MATCH in call.parameters) is bool(call.untagged)] == []


# The function `billing` has tests of its own.
@pytest.mark.parametrize("name", sorted(UNTAGGED.keys() - {"billing-close"}))
def test_a_condition_on_what_has_no_tag_is_not_passed_over(call: Caller, name: str) -> None:
    one = UNTAGGED[name]
    path = re.sub(r"\{\w+\}", "x", one.path.replace("{tenant}", "acme")).removeprefix("/api/v1/")
    for header, value in (("If-Match", '"1"'), ("If-None-Match", "*")):
        problem = call.problem(412, one.method.upper(), path, headers={header: value})
        assert header in problem["detail"]
    call.problem(422, one.method.upper(), path, headers={"If-Match": "1"})


def test_a_key_stays_whose_deletion_was_conditional(call: Caller) -> None:
    key = call.json("POST", "tenants/acme/keys", {}, status=201)["id"]
    for method, path in (("DELETE", f"tenants/acme/keys/{key}"), ("POST", f"tenants/acme/keys/{key}/rotate")):
        call.problem(412, method, path, headers={"If-Match": '"17"'})
    (shown,) = [item for item in call.json("GET", "tenants/acme/keys")["keys"] if item["id"] == key]
    assert shown["expires"] is None
    assert call("DELETE", f"tenants/acme/keys/{key}", headers={"If-Match": "*"}).status_code == 204
