"""A POST with an Idempotency-Key makes its thing once, and no key's text is ever stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from support_api import api_function

from tests.unit.api.test_api import ADMIN, ALICE, RULE, Caller

REPLAY = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "flights"}}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        caller = Caller(app.test_client(), registry)
        caller("PUT", "tenants/acme", {})
        caller("PUT", "rules/acme/flights", RULE)
        yield caller


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


def test_a_replay_is_made_once_and_answered_alike(call: Caller) -> None:
    first = call("POST", "replays/acme", REPLAY, headers=key("r1"))
    again = call("POST", "replays/acme", REPLAY, headers=key("r1"))
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(call.json("GET", "replays/acme")["replays"]) == 1


def test_another_body_with_the_same_key_is_refused(call: Caller) -> None:
    call("POST", "replays/acme", REPLAY, headers=key("r2"))
    problem = call.problem(422, "POST", "replays/acme", REPLAY | {"rate": 5}, headers=key("r2"))
    assert problem["errors"][0]["field"] == "Idempotency-Key"


def test_the_keys_of_two_callers_and_of_two_calls_are_different_ones(call: Caller) -> None:
    answers = [
        call.json("POST", "replays/acme", REPLAY, status=202, headers=key("r3"), who=who) for who in (ADMIN, ALICE)
    ]
    made = {answer["id"] for answer in answers}
    assert len(made) == 2
    assert call("POST", "tenants/acme/keys", REPLAY, headers=key("r3")).status_code == 422


def test_a_request_that_failed_may_be_sent_again(call: Caller) -> None:
    body = REPLAY | {"target": {"rules": "later"}}
    call.problem(422, "POST", "replays/acme", body, headers=key("r4"))
    call("PUT", "rules/acme/later", RULE)
    assert call("POST", "replays/acme", body, headers=key("r4")).status_code == 202


def test_a_key_is_made_once_and_its_text_is_stored_nowhere(call: Caller) -> None:
    made = call.json("POST", "tenants/acme/keys", {}, status=201, headers=key("k1"))
    problem = call.problem(409, "POST", "tenants/acme/keys", {}, headers=key("k1"))
    assert made["id"] in problem["detail"]
    assert [item["id"] for item in call.json("GET", "tenants/acme")["keys"]].count(made["id"]) == 1
    for value in call.registry.run(lambda client: _values(client)):
        assert made["key"].encode() not in value


async def _values(client: Any) -> list[bytes]:
    bucket = await client.jetstream().key_value("idempotency")
    return [(await bucket.get(name)).value or b"" for name in await bucket.keys()]


def test_a_request_that_is_under_way_is_not_done_twice_and_one_that_died_is_taken_over(call: Caller) -> None:
    made = call.json("POST", "tenants/acme/keys", {}, status=201, headers=key("k2"))
    replay = call.json("POST", "replays/acme", REPLAY, status=202, headers=key("r5"))
    for identifier, path, body, name, status in (
        (made["id"], "tenants/acme/keys", {}, "k2", 409),
        (replay["id"], "replays/acme", REPLAY, "r5", 202),
    ):
        _as_if_it_had_died(call, identifier, datetime.now(UTC))
        assert "under way" in call.problem(409, "POST", path, body, headers=key(name))["detail"]
        _as_if_it_had_died(call, identifier, datetime.now(UTC) - timedelta(minutes=2))
        answer = call("POST", path, body, headers=key(name))
        assert answer.status_code == status
        assert identifier in answer.text


def _as_if_it_had_died(call: Caller, identifier: str, begun: datetime) -> None:
    """Before it could say what it had made."""

    async def work(client: Any) -> None:
        bucket = await client.jetstream().key_value("idempotency")
        for name in await bucket.keys():
            record = msgspec.json.decode((await bucket.get(name)).value)
            if record["id"] == identifier:
                record = {"id": identifier, "digest": record["digest"], "begun": begun.timestamp()}
                await bucket.put(name, json.dumps(record).encode())

    call.registry.run(work)


@pytest.mark.parametrize("text", ["", "a b", "é", "x" * 256])
def test_a_key_of_another_shape_is_refused(call: Caller, text: str) -> None:
    assert (
        call.problem(422, "POST", "replays/acme", REPLAY, headers=key(text))["errors"][0]["field"] == "Idempotency-Key"
    )
