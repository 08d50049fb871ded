"""Lists come in pages that join to the whole, whatever is deleted in between."""

from __future__ import annotations

from typing import Any

import pytest
from support_api import api_function

from tests.unit.api.test_api import RULE, Caller

REPLAY = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "r0"}}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        caller = Caller(app.test_client(), registry)
        caller("PUT", "tenants/acme", {})
        for number in range(7):
            caller.json("PUT", f"rules/acme/r{number}", RULE.replace("Late", f"Late{number}"), status=201)
            caller.json("POST", "replays/acme", REPLAY, status=202)
            caller.json("POST", "tenants/acme/keys", {}, status=201)
        yield caller


LISTS = [("rules/acme", "rules", "name"), ("replays/acme", "replays", "id")]


@pytest.mark.parametrize(("path", "member", "name"), LISTS)
@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_join_to_the_whole(call: Caller, path: str, member: str, name: str, limit: int) -> None:
    whole = call.json("GET", path)
    assert (len(whole[member]), whole["next"]) == (7, None)
    found, query = [], f"?limit={limit}"
    while query:
        page = call.json("GET", path + query)
        assert len(page[member]) <= limit
        found += page[member]
        query = page["next"] and f"?limit={limit}&cursor={page['next']}"
    assert [item[name] for item in found] == [item[name] for item in whole[member]]


def test_what_is_deleted_in_between_shifts_nothing(call: Caller) -> None:
    page = call.json("GET", "rules/acme?limit=3")
    call("DELETE", "rules/acme/r0")
    rest = call.json("GET", f"rules/acme?limit=10&cursor={page['next']}")
    assert [item["name"] for item in rest["rules"]] == ["r3", "r4", "r5", "r6"]
    call("PUT", "rules/acme/r0", RULE.replace("Late", "Late0"))


@pytest.mark.parametrize("path", [path for path, _, _ in LISTS])
@pytest.mark.parametrize("wrong", ["limit=0", "cursor=x", "cursor=", "of=1"])
def test_a_wrong_parameter_is_named(call: Caller, path: str, wrong: str) -> None:
    assert call.problem(422, "GET", f"{path}?{wrong}")["errors"][0]["field"] == wrong.partition("=")[0]
