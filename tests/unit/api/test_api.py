"""The API over a real registry and a real event store, called as functions-framework calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from eventrunner.access.identity import Identity
from eventrunner.access.keys import hash_key
from eventrunner.storage.event_store import Row
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.stores import open_store
from flask.testing import FlaskClient
from nats.aio.client import Client
from support_api import api_function
from support_identity import sign
from werkzeug.test import TestResponse

ADMIN = Identity("root", "platform", ("admin",))
ALICE = Identity("alice", "acme", ("user",))
BOB = Identity("bob", "globex", ("user",))
RULE = 'rule Late "late flights" salience 10 { when Event.data.delay > 15 then Emit("flight.late"); Retract("Late"); }'
OTHER = 'rule Early { when Event.data.delay < 0 then Tag("early", "yes"); Retract("Early"); }'

ODD_IDS = ["a/b", "stream", "..", ".", "back\\slash", "50 %+&?#", "trace", "é"]
"""Of which a path cannot hold all."""
CHARGES = [{"model": "per_unit", "label": "Events", "meter": "events", "unit_price": "0.10", "per": "1000"}]


class Caller:
    def __init__(self, client: FlaskClient, registry: Mirror) -> None:
        self._client = client
        self.registry = registry

    def __call__(
        self, method: str, path: str, body: Any = None, *, who: Identity | None = ADMIN, headers: Any = (), **more: Any
    ) -> TestResponse:
        headers = {**dict(headers), **({"Authorization": f"Bearer {sign(who)}"} if who else {})}
        if isinstance(body, str | bytes):
            more = {"data": body, "content_type": "text/plain", **more}
        elif body is not None:
            more = {"json": body, **more}
        return self._client.open(f"/api/v1/{path}", method=method, headers=headers, **more)

    def json(self, *args: Any, status: int | None = 200, **kwargs: Any) -> Any:
        response = self(*args, **kwargs)
        assert status in (None, response.status_code), response.text
        return response.get_json(force=True)

    def problem(self, status: int, *args: Any, **kwargs: Any) -> dict[str, Any]:
        response = self(*args, **kwargs)
        assert response.status_code == status, response.text
        assert response.content_type == "application/problem+json"
        document: dict[str, Any] = response.get_json(force=True)
        assert document["status"] == status
        return document


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("api")
    _store_events(f"sqlite:///{folder}/events.db")
    with api_function(folder) as (app, registry):
        yield Caller(app.test_client(), registry)


def _store_events(url: str) -> None:
    store = open_store(url)
    store.migrate()
    rows = []
    for number in range(250):
        source, time = f"/s{number % 2}", 1_767_225_600_000_000 + number * 1_000_000
        event = {"specversion": "1.0", "id": f"e{number}", "source": source, "type": "t", "tenantid": "acme"}
        rows.append(Row("acme", source, f"e{number}", "t", time, time, json.dumps(event).encode()))
    for event_id in ODD_IDS:
        rows.append(Row("acme", "/odd", event_id, "t", 0, 0, json.dumps({"id": event_id, "source": "/odd"}).encode()))
    rows.append(Row("acme", "/s1", "e0", "u", 0, 0, b'{"id": "e0", "source": "/s1"}'))
    store.put(rows)
    store.close()


@pytest.fixture
def call(platform: Caller) -> Caller:
    """With the tenants acme and globex, as if new."""
    for rules in platform.json("GET", "rules/_platform")["rules"]:
        platform("DELETE", f"rules/_platform/{rules['name']}")
    for tenant in ("acme", "globex"):
        for key in platform.json("PUT", f"tenants/{tenant}", {}, status=None)["keys"]:
            platform("DELETE", f"tenants/{tenant}/keys/{key['id']}")
        for rules in platform.json("GET", f"rules/{tenant}")["rules"]:
            platform("DELETE", f"rules/{tenant}/{rules['name']}")
        platform.registry.delete("tenants", tenant)
    platform.json("PUT", "tenants/acme", {"name": "Acme"}, status=201)
    platform.json("PUT", "tenants/globex", {}, status=201)
    return platform


class TestTenants:
    def test_a_tenant_is_created_then_replaced(self, call):
        created = call.json("GET", "tenants/acme")["created"]
        changed = call.json(
            "PUT", "tenants/acme", {"name": "New", "quota": {"events_per_second": 5, "bytes_per_second": 9}}
        )
        assert (changed["name"], changed["created"]) == ("New", created)
        assert changed["quota"] == {"events_per_second": 5, "bytes_per_second": 9, "burst": 2.0}

    def test_what_get_shows_may_be_put_back(self, call):
        shown = call.json("GET", "tenants/acme")
        assert call.json("PUT", "tenants/acme", shown) == shown

    def test_a_tenant_that_was_not_created_is_not_there(self, call):
        assert "PUT /api/v1/tenants/nobody" in call.problem(404, "GET", "tenants/nobody")["detail"]

    def test_every_wrong_field_is_named(self, call):
        body = {
            "plan": "golden",
            "quota": {"events_per_second": 0, "bytes_per_second": 1, "burst": -1},
            "routes": [{"when": {}}],
            "adapters": [{"name": "x"}],
        }
        fields = {item["field"] for item in call.problem(422, "PUT", "tenants/acme", body)["errors"]}
        assert fields >= {"plan", "quota.events_per_second", "quota.burst", "routes[0]"}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"nam": "x"}, ""),
            ({"name": 1}, "name"),
            ({"quota": {"events_per_second": "many", "bytes_per_second": 1}}, "quota.events_per_second"),
            ({"id": "other"}, "id"),
        ],
    )
    def test_a_body_of_another_shape_is_refused_by_field(self, call, body, field):
        assert [item["field"] for item in call.problem(422, "PUT", "tenants/acme", body)["errors"]] == [field]

    @pytest.mark.parametrize("body", ["{", b"\xff", '{"name": "\\ud800', '{"routes": [{"a": ' + "[" * 100_000])
    def test_what_is_not_json_is_400(self, call, body):
        call.problem(400, "PUT", "tenants/acme", body)

    def test_a_name_that_cannot_be_a_tenants_is_refused(self, call):
        assert call.problem(422, "PUT", "tenants/a.b", {})["errors"][0]["field"] == "tenant"


class TestKeys:
    def test_a_key_is_shown_once_and_stored_hashed(self, call):
        made = call.json("POST", "tenants/acme/keys", {"roles": ["user"]}, status=201)
        assert made.keys() == {"id", "key", "roles"}
        entry = call.registry.entry("keys", hash_key(made["key"]))
        assert entry is not None
        assert made["key"].encode() not in entry[0]
        shown = call.json("GET", "tenants/acme")["keys"]
        assert [key["id"] for key in shown] == [made["id"]]
        assert made["key"] not in json.dumps(shown)

    def test_the_answer_with_a_key_is_not_to_be_cached(self, call):
        assert call("POST", "tenants/acme/keys", {}).headers["Cache-Control"] == "no-store"

    def test_a_deleted_key_is_gone(self, call):
        made = call.json("POST", "tenants/acme/keys", {}, status=201)
        assert call("DELETE", f"tenants/acme/keys/{made['id']}").status_code == 204
        assert call.registry.entry("keys", hash_key(made["key"])) is None
        call.problem(404, "DELETE", f"tenants/acme/keys/{made['id']}")

    def test_a_key_is_deleted_through_its_own_tenant_only(self, call):
        made = call.json("POST", "tenants/acme/keys", {}, status=201)
        call.problem(404, "DELETE", f"tenants/globex/keys/{made['id']}")
        assert call.registry.entry("keys", hash_key(made["key"])) is not None

    def test_unknown_roles_are_named(self, call):
        problem = call.problem(422, "POST", "tenants/acme/keys", {"roles": ["user", "root"]})
        assert [item["field"] for item in problem["errors"]] == ["roles[1]"]

    def test_a_tenant_that_is_not_there_gets_no_key(self, call):
        call.problem(404, "POST", "tenants/nobody/keys", {"roles": ["user"]})

    def test_keys_are_listed_with_their_last_use(self, call):
        made = [call.json("POST", "tenants/acme/keys", {}, status=201)["id"] for _ in range(3)]
        call.registry.put("key_uses", made[0], b"2026-01-01T00:00:00.000000Z")
        page = call.json("GET", "tenants/acme/keys?limit=2", who=ALICE)
        rest = call.json("GET", f"tenants/acme/keys?limit=2&cursor={page['next']}")
        listed = page["keys"] + rest["keys"]
        assert ({key["id"] for key in listed}, rest["next"]) == (set(made), None)
        uses = {key["id"]: key["last_used"] for key in listed}
        assert (uses[made[0]], uses[made[1]]) == ("2026-01-01T00:00:00.000000Z", None)

    def test_a_rotated_key_is_another_text_and_the_old_one_ends_after_the_grace(self, call):
        made = call.json("POST", "tenants/acme/keys", {"roles": ["user"], "subject": "cron"}, status=201)
        path = f"tenants/acme/keys/{made['id']}/rotate"
        new = call.json("POST", path, {"grace_seconds": 60}, status=201)
        assert new["id"] != made["id"]
        listed = {key["id"]: key for key in call.json("GET", "tenants/acme/keys")["keys"]}
        assert (listed[new["id"]]["subject"], listed[new["id"]]["roles"]) == ("cron", ["user"])
        ends = listed[made["id"]]["expires"]
        assert ends is not None
        assert listed[new["id"]]["expires"] is None
        call.json("POST", path, {"grace_seconds": 3600}, status=201)
        again = {key["id"]: key["expires"] for key in call.json("GET", "tenants/acme/keys")["keys"]}
        assert again[made["id"]] == ends

    def test_a_key_that_is_rotated_without_grace_is_gone(self, call):
        made = call.json("POST", "tenants/acme/keys", {}, status=201)
        headers = {"Idempotency-Key": made["id"]}
        path = f"tenants/acme/keys/{made['id']}/rotate"
        new = call.json("POST", path, {"grace_seconds": 0}, status=201, headers=headers)
        assert call.registry.entry("keys", hash_key(made["key"])) is None
        assert call.registry.entry("keys", hash_key(new["key"])) is not None
        call.problem(404, "POST", path, {"grace_seconds": 0})
        assert new["id"] in call.problem(409, "POST", path, {"grace_seconds": 0}, headers=headers)["detail"]
        call.problem(422, "POST", path.replace(made["id"], new["id"]), {"grace_seconds": -1})


class TestRules:
    def test_each_text_is_a_version_and_none_is_in_force_before_it_is_activated(self, call):
        assert call.json("PUT", "rules/acme/flights", RULE, status=201)["active"] == 0
        assert call.json("PUT", "rules/acme/flights", OTHER, status=201)["newest"] == 2
        shown = call.json("GET", "rules/acme/flights")
        assert (shown["active"], shown["version"], shown["text"]) == (0, 2, OTHER)
        assert [item["version"] for item in shown["versions"]] == [1, 2]

    def test_the_same_text_again_is_no_new_version(self, call):
        call.json("PUT", "rules/acme/flights", RULE, status=201)
        assert call.json("PUT", "rules/acme/flights", RULE)["newest"] == 1

    def test_activate_takes_the_newest_a_named_one_or_none(self, call):
        call("PUT", "rules/acme/flights", RULE)
        call("PUT", "rules/acme/flights", OTHER)
        assert call.json("POST", "rules/acme/flights/activate")["active"] == 2
        assert call.json("POST", "rules/acme/flights/activate", {"version": 1})["active"] == 1
        assert call.json("GET", "rules/acme/flights")["text"] == RULE
        assert call.json("GET", "rules/acme/flights?version=2")["text"] == OTHER
        assert call.json("POST", "rules/acme/flights/activate", {"version": 0})["active"] == 0
        call.problem(404, "POST", "rules/acme/flights/activate", {"version": 9})

    def test_a_text_that_does_not_compile_is_refused_with_line_and_column(self, call):
        problem = call.problem(422, "PUT", "rules/acme/flights", "rule A {\n  when ??\n  then Drop();\n}")
        name, line, column = problem["errors"][0]["field"].split(":")
        assert (name, line) == ("flights", "2")
        assert int(column) > 1
        call.problem(404, "GET", "rules/acme/flights")

    def test_what_surely_does_not_work_is_answered_as_a_warning(self, call):
        text = 'rule A { when Event.type == 5 then Retract("A"); }'
        message = "a string == an integer is never true: they are of different kinds"
        warnings = [{"field": "flights:1:26", "message": message}]
        assert call.json("PUT", "rules/acme/flights", text, status=201)["warnings"] == warnings
        assert call.json("PUT", "rules/acme/flights", text)["warnings"] == warnings
        assert call.json("PUT", "rules/acme/flights", RULE, status=201)["warnings"] == []

    def test_json_rules_are_kept_as_grl(self, call):
        rule = {
            "name": "Late",
            "when": {"gt": ["Event.data.delay", 15]},
            "then": [{"call": ["Retract", {"const": "Late"}]}],
        }
        call.json("PUT", "rules/acme/flights", rule, status=201)
        shown = call.json("GET", "rules/acme/flights")
        assert shown["format"] == "grl"
        assert shown["text"].startswith("rule Late")
        assert call.problem(422, "PUT", "rules/acme/flights", {"name": "Late"})["errors"]
        (error,) = call.problem(422, "PUT", "rules/acme/flights", rule | {"when": "Event.x = 1"})["errors"]
        assert error["field"] == "flights (as GRL):3:17"

    def test_a_text_without_rules_is_refused(self, call):
        call.problem(422, "PUT", "rules/acme/flights", "// nothing")

    def test_rule_sets_that_define_the_same_rule_are_not_active_together(self, call):
        call("PUT", "rules/acme/one", RULE)
        call("PUT", "rules/acme/two", RULE)
        call.json("POST", "rules/acme/one/activate")
        assert "Late" in call.problem(422, "POST", "rules/acme/two/activate")["detail"]

    def test_the_list_holds_the_tenants_own_sets_only(self, call):
        call("PUT", "rules/acme/one", RULE)
        call("PUT", "rules/globex/two", RULE)
        assert [item["name"] for item in call.json("GET", "rules/acme")["rules"]] == ["one"]

    def test_a_deleted_set_is_gone(self, call):
        call("PUT", "rules/acme/one", RULE)
        assert call("DELETE", "rules/acme/one").status_code == 204
        call.problem(404, "GET", "rules/acme/one")
        call.problem(404, "DELETE", "rules/acme/one")

    @pytest.mark.parametrize("name", ["a.b", "a>b", "*", "a" * 65, "é"])
    def test_a_name_that_cannot_be_a_key_is_refused(self, call, name):
        assert call.problem(422, "PUT", f"rules/acme/{name}", RULE)["errors"][0]["field"] == "name"

    def test_a_text_too_long_is_413_and_one_that_is_not_utf8_400(self, call):
        call.problem(413, "PUT", "rules/acme/one", "//" + "x" * 300_000)
        call.problem(400, "PUT", "rules/acme/one", b"\xff\xfe")

    def test_old_versions_make_room_and_the_one_in_force_stays(self, call):
        padding = "//" + "x" * 200_000
        call("PUT", "rules/acme/one", RULE + padding + "0")
        call("POST", "rules/acme/one/activate")
        for number in range(1, 5):
            assert call("PUT", "rules/acme/one", RULE + padding + str(number)).status_code == 201
        shown = call.json("GET", "rules/acme/one")
        assert (shown["active"], shown["version"], shown["newest"]) == (1, 1, 5)
        assert [item["version"] for item in shown["versions"]] == [1, 4, 5]

    def test_a_text_that_the_registry_cannot_hold_is_413_and_changes_nothing(self, call):
        padding = "//" + "\x01" * 135_000
        call.problem(413, "PUT", "rules/acme/one", RULE + padding)
        call.problem(404, "GET", "rules/acme/one")
        call("PUT", "rules/acme/one", RULE + padding[:60_000])
        call("POST", "rules/acme/one/activate")
        call.problem(413, "PUT", "rules/acme/one", RULE + padding[:100_000])
        assert call.json("GET", "rules/acme/one")["newest"] == 1

    def test_sets_in_force_have_no_more_rules_together_than_one_may_have(self, call):
        for name in ("one", "two"):
            text = "".join(f"rule {name}{number} {{ when false then Complete(); }}" for number in range(3000))
            assert call("PUT", f"rules/acme/{name}", text).status_code == 201
        call.json("POST", "rules/acme/one/activate")
        assert "5000 rules" in call.problem(422, "POST", "rules/acme/two/activate")["detail"]

    def test_a_dry_run_says_what_the_rules_would_do(self, call):
        call("PUT", "rules/acme/flights", RULE)
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
        events = [event | {"data": {"delay": 20}}, event | {"id": "2", "data": {"delay": 2}}]
        answer = call.json("POST", "rules/acme/flights/dry-run", {"events": events})
        assert answer["version"] == 1
        assert [item["fired"] for item in answer["results"]] == [["Late"], []]
        assert answer["results"][0]["emitted"][0]["type"] == "flight.late"

    def test_a_dry_run_that_takes_too_long_is_refused(self, call, monkeypatch):
        monkeypatch.setattr("eventrunner.api.rule_trials._SECONDS", 0.1)
        call("PUT", "rules/acme/slow", 'rule Slow { when true then Out.x = "a".Repeat(1000000); }')
        events = [{"specversion": "1.0", "id": str(number), "source": "/s", "type": "t"} for number in range(500)]
        detail = call.problem(413, "POST", "rules/acme/slow/dry-run", {"events": events})["detail"]
        assert "send fewer" in detail

    def test_a_dry_run_names_the_wrong_event(self, call):
        call("PUT", "rules/acme/flights", RULE)
        problem = call.problem(422, "POST", "rules/acme/flights/dry-run", {"events": [{"id": "1"}]})
        assert all(item["field"].startswith("events[0].") for item in problem["errors"])

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "events"),
            ({"events": [], "from": "2026-01-01T00:00:00Z"}, "events"),
            ({"from": "yesterday"}, "from"),
            ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
            ({"from": "2026-01-01T00:00:00Z", "cursor": "x"}, "to"),
            ({"from": "2026-01-01T00:00:00Z", "tenant": "globex"}, "tenant"),
            ({"from": "2026-01-01T00:00:00Z", "text": RULE, "version": 1}, "text"),
            ({"from": "2026-01-01T00:00:00Z", "text": "rule"}, "flights:1:5"),
        ],
    )
    def test_a_dry_run_names_the_wrong_field(self, call, body, field):
        call("PUT", "rules/acme/flights", RULE)
        assert call.problem(422, "POST", "rules/acme/flights/dry-run", body)["errors"][0]["field"] == field

    def test_a_draft_of_a_set_that_is_not_there_is_tried_over_history(self, call):
        body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z", "text": OTHER}
        answer = call.json("POST", "rules/acme/new/dry-run", body, who=ALICE)
        assert (answer["version"], answer["in_force_version"], answer["read"], answer["matched"]) == (None, 0, 250, 0)
        assert (answer["progress"], answer["next"]) == (1.0, None)
        call.problem(404, "GET", "rules/acme/new")

    @pytest.mark.parametrize("body", [{}, {"id": "e1", "event": {"specversion": "1.0"}}])
    def test_an_explanation_needs_one_event(self, call, body):
        call("PUT", "rules/acme/flights", RULE)
        assert call.problem(422, "POST", "rules/acme/flights/explain", body)["errors"][0]["field"] == "event"

    def test_an_explanation_tells_each_condition_and_firing(self, call):
        call("PUT", "rules/acme/flights", RULE)
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"delay": 20}}
        answer = call.json("POST", "rules/acme/flights/explain", {"event": event}, who=ALICE)
        assert answer["conditions"][0]["when"]["parts"] == [
            {"text": "Event.data.delay", "value": 20, "kind": "a number"}
        ]
        assert answer["firings"][0]["statements"][0]["effect"] == {"emitted": {"type": "flight.late", "data": {}}}
        assert call.problem(422, "POST", "rules/acme/flights/explain", {"event": {"id": "1"}})["errors"]

    def test_a_stored_event_that_several_sources_have_needs_its_source(self, call):
        call("PUT", "rules/acme/flights", RULE)
        assert "/s0, /s1" in call.problem(409, "POST", "rules/acme/flights/explain", {"id": "e0"})["detail"]
        call.json("POST", "rules/acme/flights/explain", {"id": "e0", "source": "/s0"})
        call.problem(404, "POST", "rules/acme/flights/explain", {"id": "e0", "source": "/s9"})

    def test_what_an_event_goes_through_is_explained_stage_by_stage(self, call):
        first = 'rule First { when true then Event.data.delay = 20; Tag("by", "p"); Retract("First"); }'
        for name, text in (("_platform/guard", first), ("acme/one", RULE), ("acme/two", OTHER)):
            call("PUT", f"rules/{name}", text)
            call("POST", f"rules/{name}/activate")
        call("PUT", "rules/acme/three", 'rule Draft { when true then Tag("d", 1); Retract("Draft"); }')
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"delay": 2}}
        answer = call.json("POST", "rules/acme/explain", {"event": event})
        platform, own = answer["stages"]
        assert (platform["owner"], platform["sets"], platform["result"]["fired"]) == ("_platform", ["guard"], ["First"])
        assert (own["owner"], own["sets"], own["result"]["fired"]) == ("acme", ["one", "two"], ["Late"])
        assert [item["set"] for item in own["conditions"]] == ["one", "two"]
        assert answer["result"]["fired"] == ["_platform.First", "Late"]
        tried = call.json("POST", "rules/acme/three/explain", {"event": event, "together": True})["stages"][1]
        assert (tried["sets"], tried["result"]["fired"]) == (["one", "three", "two"], ["Late", "Draft"])
        text = OTHER.replace("Early", "Late")
        clash = {"event": event, "together": True, "text": text}
        assert "defined in one" in call.problem(422, "POST", "rules/acme/two/explain", clash)["detail"]
        mine = call.json("POST", "rules/acme/explain", {"event": event}, who=ALICE)
        assert mine["stages"][0]["result"]["tags"] == {"by": "p"}
        assert mine["stages"][0].keys() == {"owner", "result"}
        assert mine["stages"][1] == own

    def test_where_nothing_is_in_force_that_is_said(self, call):
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"delay": 20}}
        assert call.json("POST", "rules/acme/explain", {"event": event})["stages"] == []
        call.problem(422, "POST", "rules/acme/explain", {"event": event, "text": RULE})
        call.problem(403, "POST", "rules/acme/explain", {"event": event}, who=BOB)
        call.problem(422, "POST", "rules/_platform/explain", {"id": "e1"})

    def test_a_draft_is_tried_among_what_is_in_force(self, call):
        call("PUT", "rules/_platform/guard", 'rule P { when true then Tag("p", 1); Retract("P"); }')
        call("POST", "rules/_platform/guard/activate")
        text = 'rule Late { when Event.p == "1" then Tag("q", 1); Retract("Late"); }'
        body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:01:00Z", "text": text}
        assert call.json("POST", "rules/acme/new/dry-run", body)["matched"] == 0
        together = call.json("POST", "rules/acme/new/dry-run", body | {"together": True})
        assert together["draft"]["fired"] == {"_platform.P": 60, "Late": 60}
        assert together["in_force"]["fired"] == {"_platform.P": 60}
        assert together["different"] == 60
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"delay": 2}}
        answer = call.json("POST", "rules/acme/new/dry-run", {"events": [event], "text": text, "together": True})
        assert answer["results"][0]["fired"] == ["_platform.P", "Late"]

    def test_the_platforms_rules_are_an_admins(self, call):
        assert call.json("PUT", "rules/_platform/guard", RULE, status=201)["newest"] == 1
        assert call.json("POST", "rules/_platform/guard/activate")["active"] == 1
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"delay": 20}}
        answer = call.json("POST", "rules/_platform/guard/explain", {"event": event | {"tenantid": "acme"}})
        assert answer["result"]["fired"] == ["Late"]
        mallory = Identity("mallory", "_platform", ("user",))
        call.problem(403, "PUT", "rules/_platform/guard", RULE, who=mallory)
        assert call("DELETE", "rules/_platform/guard").status_code == 204
        assert call.problem(422, "PUT", "tenants/_platform", {})


class TestPlans:
    def test_a_plan_that_ships_is_there_from_the_start(self, call):
        plan = call.json("GET", "plans/standard", who=ALICE)
        assert plan["name"] == "standard"
        assert plan["charges"]

    def test_a_plan_is_created_then_replaced_and_tenants_may_have_it(self, call):
        call.registry.delete("plans", "cheap")
        assert call.json("PUT", "plans/cheap", {"charges": CHARGES}, status=201)["name"] == "cheap"
        call.json("PUT", "plans/cheap", {"charges": CHARGES, "version": 2}, status=200)
        assert call.json("GET", "plans/cheap")["charges"][0]["unit_price"] == "0.10"
        assert call.json("PUT", "tenants/acme", {"plan": "cheap"})["plan"] == "cheap"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, ""),
            ({"charges": [], "name": "other"}, "name"),
            ({"charges": [CHARGES[0] | {"unit_price": 0.1}]}, "charges[0].unit_price"),
            ({"charges": [CHARGES[0] | {"meter": "smiles"}]}, "charges[0].meter"),
        ],
    )
    def test_a_plan_that_cannot_be_is_refused_by_field(self, call, body, field):
        assert [item["field"] for item in call.problem(422, "PUT", "plans/odd", body)["errors"]] == [field]

    @pytest.mark.parametrize("name", ["none", "a.b", "..", "a>b", "STANDARD"])
    def test_an_unknown_plan_is_not_there(self, call, name):
        call.problem(404, "GET", f"plans/{name}")


class TestEvents:
    def test_pages_join_to_all_events_in_order(self, call):
        ids, path = [], "events/acme?from=2026-01-01T00:00:00Z&limit=100"
        while path:
            page = call.json("GET", path)
            ids += [event["id"] for event in page["events"]]
            path = page["next"] and f"events/acme?from=2026-01-01T00:00:00Z&limit=100&cursor={page['next']}"
        assert ids == [f"e{number}" for number in range(250)]

    def test_filters_and_order(self, call):
        page = call.json("GET", "events/acme?source=/s1&type=t&order=desc&limit=2")
        assert [event["id"] for event in page["events"]] == ["e249", "e247"]
        page = call.json("GET", "events/acme?from=2026-01-01T01:00:01%2B01:00&to=2026-01-01T00:00:03Z")
        assert [event["id"] for event in page["events"]] == ["e1", "e2"]
        assert call.json("GET", "events/globex") == {"events": [], "next": None}

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("order=up", "order"),
            ("from=yesterday", "from"),
            ("to=2026-01-01", "to"),
            ("tpye=t", "tpye"),
        ],
    )
    def test_a_wrong_parameter_is_named(self, call, query, field):
        assert call.problem(422, "GET", f"events/acme?{query}")["errors"][0]["field"] == field

    def test_a_cursor_of_somebody_elses_is_refused(self, call):
        assert call("GET", "events/acme?cursor=abc").status_code in (400, 422)

    def test_one_event_is_found_by_its_id(self, call):
        response = call("GET", "events/acme/e7", who=ALICE)
        assert (response.status_code, response.content_type) == (200, "application/cloudevents+json")
        assert response.get_json(force=True)["source"] == "/s1"
        call.problem(404, "GET", "events/acme/e7?source=/s0")
        call.problem(404, "GET", "events/acme/unknown")
        call.problem(404, "GET", "events/globex/e7")

    def test_an_id_that_several_sources_use_needs_the_source(self, call):
        assert "/s0, /s1" in call.problem(409, "GET", "events/acme/e0")["detail"]
        assert call.json("GET", "events/acme/e0?source=/s1")["source"] == "/s1"

    @pytest.mark.parametrize("event_id", ODD_IDS)
    def test_any_id_is_found_by_query(self, call, event_id):
        path = f"events/acme?id={quote(event_id, safe='')}"
        found = [{"id": event_id, "source": "/odd"}]
        assert call.json("GET", path, who=ALICE) == {"events": found, "next": None}
        assert call.json("GET", f"{path}&source=/odd")["events"] == found
        assert call.json("GET", f"{path}&source=/other")["events"] == []
        call.problem(403, "GET", path, who=BOB)

    def test_an_id_of_several_sources_is_listed_by_source(self, call):
        assert [event["source"] for event in call.json("GET", "events/acme?id=e0")["events"]] == ["/s0", "/s1"]
        assert call.json("GET", "events/acme?id=unknown") == {"events": [], "next": None}

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("events/acme?id=", "id"),
            ("events/acme?id=a%00", "id"),
            ("events/acme?id=e0&limit=5", "limit"),
            ("events/acme?id=e0&type=t", "type"),
            ("traces/acme", "id"),
            ("traces/acme?id=", "id"),
            ("traces/acme?id=e0&from=x", "from"),
        ],
    )
    def test_a_wrong_query_for_an_id_is_named(self, call, path, field):
        assert call.problem(422, "GET", path)["errors"][0]["field"] == field


class TestReplays:
    BODY: ClassVar = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "flights"}}

    def test_one_is_recorded_with_the_version_of_now_and_asked_for(self, call):
        call("PUT", "rules/acme/flights", RULE)
        call("PUT", "rules/acme/flights", OTHER)
        call("POST", "rules/acme/flights/activate", {"version": 1})
        made = call.json("POST", "replays/acme", self.BODY, status=202, who=ALICE)
        assert (made["state"], made["progress"], made["target"]) == ("pending", 0, {"rules": "flights", "version": 1})
        assert made["from"] == "2026-01-01T00:00:00.000000Z"
        assert call.json("GET", f"replays/acme/{made['id']}", who=ALICE) == made
        assert call.json("GET", "replays/acme")["replays"][0] == made

        async def last(client: Client) -> bytes:
            return (await client.jetstream().get_last_msg("REPLAYS", "replays.acme")).data or b""

        assert json.loads(call.registry.run(last))["id"] == made["id"]

    def test_one_is_cancelled_once(self, call):
        call("PUT", "rules/acme/flights", RULE)
        made = call.json("POST", "replays/acme", self.BODY, status=202)
        assert call.json("DELETE", f"replays/acme/{made['id']}")["state"] == "cancelled"
        assert "cancelled already" in call.problem(409, "DELETE", f"replays/acme/{made['id']}")["detail"]

    def test_a_consumer_must_be_registered(self, call):
        call.registry.put("consumers", "acme.alarms", b'{"tenant": "acme", "name": "alarms", "wasm": "later"}')
        call.registry.put("consumers", "globex.secret", b'{"tenant": "globex", "name": "secret"}')
        body = self.BODY | {"target": {"consumer": "alarms"}}
        assert call.json("POST", "replays/acme", body, status=202)["target"] == {"consumer": "alarms"}
        problem = call.problem(422, "POST", "replays/acme", self.BODY | {"target": {"consumer": "secret"}})
        assert problem["errors"] == [
            {"field": "target.consumer", "message": "tenant acme has no consumer secret; it has alarms"}
        ]

    @pytest.mark.parametrize(
        ("change", "fields"),
        [
            ({"from": "yesterday", "to": "x"}, {"from", "to"}),
            ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, {"from"}),
            ({"from": "2999-01-01T00:00:00Z"}, {"from"}),
            ({"rate": 0}, {"rate"}),
            ({"rate": 1e9}, {"rate"}),
            ({"rate": "fast"}, {"rate"}),
            ({"filters": [{"like": {"type": "a"}}]}, {"filters[0].like"}),
            ({"filters": [{"exact": {"type": 1}}]}, {"filters[0].exact.type"}),
            ({"target": {}}, {"target"}),
            ({"target": {"rules": "flights", "consumer": "x"}}, {"target"}),
            ({"target": {"rules": "none"}}, {"target.rules"}),
            ({"target": {"rules": "flights", "version": 9}}, {"target.version"}),
            ({"target": {"consumer": "alarms", "version": 1}}, {"target.version"}),
            ({"dryrun": True}, {""}),
        ],
    )
    def test_every_wrong_field_is_named(self, call, change, fields):
        call("PUT", "rules/acme/flights", RULE)
        call.registry.put("consumers", "acme.alarms", b'{"tenant": "acme", "name": "alarms"}')
        problem = call.problem(422, "POST", "replays/acme", self.BODY | change)
        assert {item["field"] for item in problem["errors"]} >= fields

    def test_what_is_not_there_is_404(self, call):
        for method, path in (
            ("GET", "acme/none"),
            ("DELETE", "acme/none"),
            ("DELETE", "acme/0..0"),
            ("POST", "nobody"),
        ):
            call.problem(404, method, f"replays/{path}", self.BODY if method == "POST" else None)

    def test_one_that_cannot_be_asked_for_is_not_recorded(self, call):
        call("PUT", "rules/acme/flights", RULE)
        before = call.json("GET", "replays/acme")

        async def fill(client: Client) -> None:
            manager = client.jetstream()
            config = (await manager.stream_info("REPLAYS")).config
            await manager.update_stream(config, max_msgs=1)

        async def drain(client: Client) -> None:
            manager = client.jetstream()
            config = (await manager.stream_info("REPLAYS")).config
            await manager.update_stream(config, max_msgs=-1)

        call.json("POST", "replays/acme", self.BODY, status=202)
        call.registry.run(fill)
        try:
            problem = call.problem(503, "POST", "replays/acme", self.BODY)
        finally:
            call.registry.run(drain)
        assert "cannot be asked for" in problem["detail"]
        assert len(call.json("GET", "replays/acme")["replays"]) == len(before["replays"]) + 1


class TestDeadLetters:
    @pytest.mark.parametrize(
        ("query", "field"),
        [("stage=a.b", "stage"), ("stage=*", "stage"), ("from=now", "from"), ("limit=0", "limit"), ("typ=t", "typ"),
         ("cursor=abc", "cursor")],
    )  # fmt: skip
    def test_a_wrong_parameter_is_named(self, call, query, field):
        assert call.problem(422, "GET", f"dead-letters/acme?{query}")["errors"][0]["field"] == field

    def test_all_are_dropped_only_when_that_is_said(self, call):
        assert call.problem(422, "DELETE", "dead-letters/acme")["errors"][0]["field"] == "all"
        assert call.problem(422, "DELETE", "dead-letters/acme?all=yes")["errors"][0]["field"] == "all"
        assert call.json("DELETE", "dead-letters/acme?all=true") == {"dropped": 0, "next": None}

    def test_what_is_not_there_is_404(self, call):
        for method, path in (("GET", "1"), ("DELETE", "1"), ("POST", "1/replay"), ("GET", "x")):
            call.problem(404, method, f"dead-letters/acme/{path}", who=ALICE)


class TestAccess:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "tenants/acme"),
            ("PUT", "tenants/acme"),
            ("POST", "tenants/acme/keys"),
            ("DELETE", "tenants/acme/keys/k"),
            ("GET", "tenants/acme/keys"),
            ("POST", "tenants/acme/keys/k/rotate"),
            ("GET", "rules/acme"),
            ("GET", "rules/acme/one"),
            ("PUT", "rules/acme/one"),
            ("DELETE", "rules/acme/one"),
            ("POST", "rules/acme/one/activate"),
            ("POST", "rules/acme/one/dry-run"),
            ("POST", "rules/acme/one/explain"),
            ("GET", "rules/_platform"),
            ("GET", "rules/_platform/one"),
            ("PUT", "rules/_platform/one"),
            ("DELETE", "rules/_platform/one"),
            ("POST", "rules/_platform/one/activate"),
            ("POST", "rules/_platform/one/dry-run"),
            ("POST", "rules/_platform/one/explain"),
            ("GET", "events/acme"),
            ("GET", "events/acme/e1"),
            ("GET", "replays/acme"),
            ("POST", "replays/acme"),
            ("GET", "replays/acme/1"),
            ("DELETE", "replays/acme/1"),
            ("GET", "dead-letters/acme"),
            ("GET", "dead-letters/acme/1"),
            ("POST", "dead-letters/acme/1/replay"),
            ("POST", "dead-letters/acme/replay"),
            ("DELETE", "dead-letters/acme/1"),
            ("DELETE", "dead-letters/acme?all=true"),
        ],
    )
    def test_another_tenant_is_refused_and_nobody_is_401(self, call, method, path):
        call.problem(403, method, path, who=BOB)
        assert call.problem(401, method, path, who=None)

    @pytest.mark.parametrize(
        ("method", "path"),
        [("PUT", "tenants/acme"), ("POST", "tenants/acme/keys"), ("DELETE", "tenants/acme/keys/k"), ("PUT", "plans/p")],
    )
    def test_what_operators_manage_a_user_may_not(self, call, method, path):
        call.problem(403, method, path, who=ALICE)

    def test_a_user_manages_its_own_rules(self, call):
        assert call("PUT", "rules/acme/one", RULE, who=ALICE).status_code == 201
        assert call("POST", "rules/acme/one/activate", who=ALICE).status_code == 200


def test_the_description_names_every_call_that_is_served(call):
    document = call.json("GET", "openapi.json", who=Identity("", "", ()))
    assert document["openapi"].startswith("3.1")
    described = {(method, path) for path, calls in document["paths"].items() for method in calls}
    assert {("put", "/api/v1/rules/{tenant}/{name}"), ("post", "/api/v1/events")} <= described


def test_an_unknown_call_is_404(call):
    call.problem(404, "GET", "nothing/acme/x")
