"""What tenants share of the API's own storage has a part for each: one that takes all of its own leaves theirs to the
others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident
from typing import Any

import pytest
from eventrunner.api.recording import RecordingMirror
from eventrunner.storage.modules import ModuleStore
from support_api import api_function
from support_wasm import register_key, signed_component

from tests.unit.api.test_api import OTHER, RULE, Caller

REPLAY = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "flights"}}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_MAX_IDEMPOTENCY_KEYS", "3")
        patch.setenv("EVENTRUNNER_MAX_RULE_SETS", "4")
        patch.setenv("EVENTRUNNER_MAX_RULE_BYTES", "20000")
        patch.setenv("EVENTRUNNER_MAX_CONSUMERS", "2")
        with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
            caller = Caller(app.test_client(), registry)
            for tenant in ("acme", "globex"):
                caller("PUT", f"tenants/{tenant}", {})
                caller("PUT", f"rules/{tenant}/flights", RULE)
            yield caller


@pytest.fixture
def crowd(call: Caller) -> Caller:
    """With a tenant `crowd` that has nothing."""
    call("PUT", "tenants/crowd", {})
    for kind in ("rules", "consumers"):
        for item in call.json("GET", f"{kind}/crowd")[kind]:
            assert call("DELETE", f"{kind}/crowd/{item['name']}").status_code == 204
    return call


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


def test_reservations_of_one_tenant_leave_the_others_their_own(call: Caller) -> None:
    for number in range(3):
        call.json("POST", "replays/acme", REPLAY, status=202, headers=key(f"n{number}"))
    refused = call("POST", "replays/acme", REPLAY, headers=key("n3"))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3600")
    assert "acme has sent 3 Idempotency-Keys" in refused.get_json(force=True)["detail"]
    assert len(call.json("GET", "replays/acme")["replays"]) == 3
    assert call("POST", "replays/acme", REPLAY, headers=key("n0")).headers["Idempotency-Replayed"] == "true"
    call.json("POST", "replays/acme", REPLAY, status=202)
    call.json("POST", "tenants/globex/keys", {}, status=201, headers=key("n3"))


def test_reservations_at_once_do_not_pass_together(crowd: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks first and reserves then would let all of them pass."""
    together, update = Barrier(6), RecordingMirror.update

    def update_together(self: RecordingMirror, bucket: str, name: str, value: bytes, revision: int) -> int:
        if bucket == "idempotency" and not revision:
            together.wait(20)
        return update(self, bucket, name, value, revision)

    monkeypatch.setattr(RecordingMirror, "update", update_together)

    def create(number: int) -> int:
        return crowd("POST", "tenants/crowd/keys", {}, headers=key(f"c{number}")).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(create, range(6)))
    made = crowd.json("GET", "tenants/crowd")["keys"]
    assert len(made) == answers.count(201) <= 3
    assert answers.count(429) == 6 - len(made)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("type", REPLAY | {"type": "x" * 1025}),
        ("source", REPLAY | {"source": "x" * 1025}),
        ("target.rules", REPLAY | {"target": {"rules": "x" * 257}}),
        ("filters", REPLAY | {"filters": [{"exact": {"type": "x" * 8192}}]}),
    ],
)
def test_what_is_kept_is_of_bounded_length(call: Caller, field: str, body: dict[str, Any]) -> None:
    problem = call.problem(422, "POST", "replays/globex", body)
    assert [item["field"] for item in problem["errors"]] == [field]


def test_the_longest_answer_is_kept(call: Caller) -> None:
    wide = "\U0001f600"
    filters = [{"exact": {"type": wide * 2000}}]
    body = REPLAY | {"type": wide * 1024, "source": "\x01" * 1024, "filters": filters}
    first = call.json("POST", "replays/globex", body, status=202, headers=key("long"))
    assert call.json("POST", "replays/globex", body, status=202, headers=key("long")) == first


def rule(size: int) -> str:
    return f"{RULE} // {'x' * size}"


def test_a_tenant_has_so_many_rule_sets(crowd: Caller) -> None:
    for number in range(4):
        crowd.json("PUT", f"rules/crowd/r{number}", RULE, status=201)
    assert "4 other rule sets" in crowd.problem(409, "PUT", "rules/crowd/r4", RULE)["detail"]
    crowd.json("PUT", "rules/crowd/r3", OTHER, status=201)
    crowd.json("PUT", "rules/globex/r4", RULE, status=201)
    crowd("DELETE", "rules/crowd/r0")
    crowd.json("PUT", "rules/crowd/r4", RULE, status=201)


def test_rule_sets_take_so_many_bytes_for_which_their_own_old_versions_make_room(crowd: Caller) -> None:
    crowd.json("PUT", "rules/crowd/other", rule(9000), status=201)
    for number in range(3):
        crowd.json("PUT", "rules/crowd/long", rule(4000 + number), status=201)
    assert [item["version"] for item in crowd.json("GET", "rules/crowd/long")["versions"]] == [2, 3]
    problem = crowd.problem(409, "PUT", "rules/crowd/long", rule(12_000))
    assert "remove a rule set first" in problem["detail"]
    assert [item["version"] for item in crowd.json("GET", "rules/crowd/long")["versions"]] == [2, 3]
    crowd("DELETE", "rules/crowd/other")
    crowd.json("PUT", "rules/crowd/long", rule(12_000), status=201)


def test_what_is_deleted_takes_no_room_any_more(crowd: Caller) -> None:
    def stored() -> int:
        async def read(client: Any) -> int:
            return int((await client.jetstream().stream_info("KV_rules")).state.bytes)

        return crowd.registry.run(read)

    before = stored()
    for number in range(3):
        crowd.json("PUT", "rules/crowd/gone", rule(9000 + number), status=201)
    assert crowd("DELETE", "rules/crowd/gone").status_code == 204
    assert stored() - before < 1000


def at_once(call: Caller, monkeypatch: pytest.MonkeyPatch, bucket: str, paths: list[str], **request: Any) -> list[int]:
    """Answers to PUTs that have all read what there is before the first of them writes."""
    together, entry = Barrier(len(paths)), RecordingMirror.entry
    waited: set[int] = set()

    def read_together(self: RecordingMirror, name: str, key: str) -> Any:
        found = entry(self, name, key)
        if name == bucket and get_ident() not in waited:
            waited.add(get_ident())
            together.wait(20)
        return found

    monkeypatch.setattr(RecordingMirror, "entry", read_together)
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(lambda path: call("PUT", path, **request).status_code, paths))


def test_rule_sets_put_at_once_do_not_pass_together(crowd: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"rules/crowd/r{number}" for number in range(6)]
    answers = at_once(crowd, monkeypatch, "rules", paths, body=RULE)
    assert sorted(answers) == [201] * 4 + [409] * 2
    assert len(crowd.json("GET", "rules/crowd")["rules"]) == 4


def test_consumers_put_at_once_do_not_pass_together(crowd: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"consumers/crowd/c{number}" for number in range(2)]
    register_key(crowd.registry, "crowd")
    crowd.json("PUT", "consumers/crowd/first", signed_component(), status=201, content_type="application/wasm")
    code = signed_component(filling=9)
    answers = at_once(crowd, monkeypatch, "consumers", paths, body=code, content_type="application/wasm")
    assert sorted(answers) == [201, 409]
    assert len(crowd.json("GET", "consumers/crowd")["consumers"]) == 2
    assert ModuleStore(crowd.registry).read(hashlib.sha256(code).hexdigest()) == code
