"""The description of the API says what is served, behind which access rule, and is OpenAPI that others can read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eventrunner.access.access_rules import load_access_rules
from eventrunner.api import billing, function
from eventrunner.api.openapi.document import CALLS, describe
from eventrunner.stage.http import HttpFunction

ROOT = Path(__file__).parents[3]
RULES = {rule.id: rule for rule in load_access_rules(ROOT / "policies" / "access-rules.yaml")}


def operations() -> dict[tuple[str, str], Any]:
    return {(method, path): item for path, calls in describe()["paths"].items() for method, item in calls.items()}


def served() -> set[tuple[str, str]]:
    """Of the functions that are made of routes, and of ingest; names of parameters are our own affair."""
    functions: tuple[HttpFunction, ...] = (function.make_function(ROOT / "policies"), billing.make_function())
    routes = {route for item in functions for route in item.routes}
    return {(method.lower(), nameless(path)) for method, path in routes} | {("post", "/api/v1/events")}


def nameless(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_what_is_described_is_what_the_functions_serve() -> None:
    own = {("get", "/healthz"), ("get", "/readyz"), ("get", "/metrics")}
    assert {(method, nameless(path)) for method, path in operations()} - own == served()


def test_every_call_is_described_under_the_id_of_its_access_rule() -> None:
    described = {item["operationId"]: key for key, item in operations().items()}
    assert described.keys() == RULES.keys()
    for identifier, (method, path) in described.items():
        rule = RULES[identifier]
        assert rule.methods == (method.upper(),)
        assert rule.pattern.fullmatch(re.sub(r"\{\w+\}", "x", path)), identifier


def test_calls_that_need_no_credentials_are_those_of_the_access_rules() -> None:
    open_calls = {item["operationId"] for item in operations().values() if item.get("security") == []}
    assert open_calls == {rule.id for rule in RULES.values() if rule.permission is None}


def test_every_parameter_body_and_answer_has_a_schema() -> None:
    for item in operations().values():
        schemas = [parameter["schema"] for parameter in item["parameters"]]
        contents = [item.get("requestBody", {})] + [
            answer for answer in item["responses"].values() if "$ref" not in answer
        ]
        schemas += [media["schema"] for content in contents for media in content.get("content", {}).values()]
        assert all(schemas), item["operationId"]
        for parameter in item["parameters"]:
            assert parameter["schema"].keys() & {"pattern", "enum", "format", "minimum", "default"}, parameter


def test_a_call_with_a_body_may_be_answered_413() -> None:
    with_body = [item for item in operations().values() if "requestBody" in item]
    assert len(with_body) > 10
    assert all("413" in item["responses"] for item in with_body)


def test_every_reference_leads_somewhere() -> None:
    document = describe()
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place


def test_ids_are_told_apart() -> None:
    assert len({call.id for call in CALLS}) == len(CALLS)


@pytest.mark.parametrize("name", ["ReplayBody", "TenantBody", "Plan"])
def test_bodies_have_the_schemas_of_what_the_calls_decode(name: str) -> None:
    assert describe()["components"]["schemas"][name]["additionalProperties"] is False
