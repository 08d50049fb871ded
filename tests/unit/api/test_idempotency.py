"""A POST with an Idempotency-Key makes its thing once, and no key's text is ever stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from eventrunner.api.recording import RecordingMirror
from eventrunner.api.replays import ReplayCalls
from eventrunner.api.tenants import TenantCalls
from eventrunner.errors import Conflict, EventRunnerError, Unavailable
from eventrunner.replay.record import Replay
from eventrunner.storage.records import Key
from support_api import api_function

from tests.unit.api.test_api import ADMIN, ALICE, RULE, Caller

FailOnce = Callable[..., None]
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
                record = {member: record[member] for member in ("id", "key", "digest")} | {"begun": begun.timestamp()}
                await bucket.put(name, json.dumps(record).encode())

    call.registry.run(work)


@pytest.mark.parametrize("text", ["", "a b", "é", "x" * 256])
def test_a_key_of_another_shape_is_refused(call: Caller, text: str) -> None:
    assert (
        call.problem(422, "POST", "replays/acme", REPLAY, headers=key(text))["errors"][0]["field"] == "Idempotency-Key"
    )


@pytest.fixture
def fail_once(monkeypatch: pytest.MonkeyPatch) -> FailOnce:
    """Makes the next write of one kind to a bucket fail: before it is made, or after it, when its answer is lost."""

    def prepare(method: str, bucket: str, *, is_written: bool, error: type[EventRunnerError] = Unavailable) -> None:
        real: Callable[..., int] = getattr(RecordingMirror, method)
        left = [True]

        def fail(self: RecordingMirror, name: str, *arguments: Any) -> int:
            if name != bucket or not left:
                return real(self, name, *arguments)
            left.clear()
            if is_written:
                real(self, name, *arguments)
            raise error("The registry does not answer just now.")

        monkeypatch.setattr(RecordingMirror, method, fail)

    return prepare


@pytest.mark.parametrize("is_written", [True, False])
def test_a_replay_whose_record_was_written_or_not_is_there_once_after_the_retry(
    call: Caller, fail_once: FailOnce, is_written: bool
) -> None:
    before = len(call.json("GET", "replays/acme")["replays"])
    fail_once("update", "replays", is_written=is_written)
    name = f"lost-replay-{is_written}"
    call.problem(503, "POST", "replays/acme", REPLAY, headers=key(name))
    made = call.json("POST", "replays/acme", REPLAY, status=202, headers=key(name))
    replays = call.json("GET", "replays/acme")["replays"]
    assert len(replays) == before + 1
    assert made["id"] in {item["id"] for item in replays}
    assert _asked_last(call) == made["id"]


def test_a_replay_that_could_not_be_asked_for_is_asked_for_by_the_retry(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(call.json("GET", "replays/acme")["replays"])
    ask = ReplayCalls._ask

    def fail(self: ReplayCalls, replay: Replay) -> None:
        monkeypatch.setattr(ReplayCalls, "_ask", ask)
        raise Unavailable("The replay cannot be asked for.")

    monkeypatch.setattr(ReplayCalls, "_ask", fail)
    call.problem(503, "POST", "replays/acme", REPLAY, headers=key("unasked"))
    made = call.json("POST", "replays/acme", REPLAY, status=202, headers=key("unasked"))
    assert len(call.json("GET", "replays/acme")["replays"]) == before + 1
    assert _asked_last(call) == made["id"]


def _asked_last(call: Caller) -> str:
    async def read(client: Any) -> bytes:
        return (await client.jetstream().get_last_msg("REPLAYS", "replays.acme")).data or b""

    replay: str = json.loads(call.registry.run(read))["id"]
    return replay


def _keys(call: Caller) -> set[str]:
    return {item["id"] for item in call.json("GET", "tenants/acme")["keys"]}


def test_a_key_whose_record_was_written_unseen_is_the_only_one_after_the_retry(
    call: Caller, fail_once: FailOnce
) -> None:
    before = _keys(call)
    fail_once("update", "keys", is_written=True)
    call.problem(503, "POST", "tenants/acme/keys", {}, headers=key("lost-key"))
    problem = call.problem(409, "POST", "tenants/acme/keys", {}, headers=key("lost-key"))
    (made,) = _keys(call) - before
    assert made in problem["detail"]


def test_a_key_whose_record_was_not_written_is_made_by_the_retry(call: Caller, fail_once: FailOnce) -> None:
    before = _keys(call)
    fail_once("update", "keys", is_written=False)
    call.problem(503, "POST", "tenants/acme/keys", {}, headers=key("no-key"))
    made = call.json("POST", "tenants/acme/keys", {}, status=201, headers=key("no-key"))
    assert _keys(call) - before == {made["id"]}


def test_a_write_that_comes_after_the_retry_makes_no_second_key(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does that waited in a connection to NATS which was away."""
    before, late = _keys(call), []
    update = RecordingMirror.update

    def hold(self: RecordingMirror, bucket: str, *arguments: Any) -> int:
        if bucket != "keys":
            return update(self, bucket, *arguments)
        late.append(arguments)
        monkeypatch.setattr(RecordingMirror, "update", update)
        raise Unavailable("The registry does not answer just now.")

    monkeypatch.setattr(RecordingMirror, "update", hold)
    call.problem(503, "POST", "tenants/acme/keys", {}, headers=key("late-key"))
    made = call.json("POST", "tenants/acme/keys", {}, status=201, headers=key("late-key"))
    with pytest.raises(Conflict):
        call.registry.update("keys", *late[0])
    assert _keys(call) - before == {made["id"]}


@pytest.mark.parametrize("is_written", [True, False])
def test_an_answer_that_could_not_be_written_down_is_found_by_the_retry(
    call: Caller, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    before = len(call.json("GET", "replays/acme")["replays"])
    update = RecordingMirror.update

    def fail(self: RecordingMirror, bucket: str, name: str, value: bytes, revision: int) -> int:
        if bucket != "idempotency" or b'"answer"' not in value:
            return update(self, bucket, name, value, revision)
        monkeypatch.setattr(RecordingMirror, "update", update)
        if is_written:
            update(self, bucket, name, value, revision)
        raise Unavailable("The registry does not answer just now.")

    monkeypatch.setattr(RecordingMirror, "update", fail)
    name = f"no-answer-{is_written}"
    call.problem(503, "POST", "replays/acme", REPLAY, headers=key(name))
    made = call.json("POST", "replays/acme", REPLAY, status=202, headers=key(name))
    replays = call.json("GET", "replays/acme")["replays"]
    assert len(replays) == before + 1
    assert made["id"] in {item["id"] for item in replays}


def test_a_refused_request_leaves_no_reservation(call: Caller) -> None:
    before = _reservations(call)
    call.problem(422, "POST", "replays/acme", REPLAY | {"rate": 0}, headers=key("refused"))
    assert _reservations(call) == before
    assert call("POST", "replays/acme", REPLAY, headers=key("refused")).status_code == 202


def _reservations(call: Caller) -> int:
    async def read(client: Any) -> int:
        return int((await client.jetstream().stream_info("KV_idempotency")).state.messages)

    return call.registry.run(read)


def test_a_rotation_whose_answer_was_lost_is_one_rotation(call: Caller, fail_once: FailOnce) -> None:
    old = call.json("POST", "tenants/acme/keys", {}, status=201)["id"]
    before = _keys(call)
    path, body = f"tenants/acme/keys/{old}/rotate", {"grace_seconds": 0}
    fail_once("delete", "keys", is_written=True)
    call.problem(503, "POST", path, body, headers=key("rotation"))
    problem = call.problem(409, "POST", path, body, headers=key("rotation"))
    (made,) = _keys(call) - before
    assert made in problem["detail"]
    assert old not in _keys(call)


def test_a_key_that_is_deleted_while_it_is_rotated_stays_deleted(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    old = call.json("POST", "tenants/acme/keys", {}, status=201)["id"]
    retire = TenantCalls._retire

    def delete_before(self: TenantCalls, key: Key, grace: int) -> None:
        assert call("DELETE", f"tenants/acme/keys/{old}").status_code == 204
        retire(self, key, grace)

    monkeypatch.setattr(TenantCalls, "_retire", delete_before)
    made = call.json("POST", f"tenants/acme/keys/{old}/rotate", {}, status=201)["id"]
    assert old not in _keys(call)
    assert made in _keys(call)
