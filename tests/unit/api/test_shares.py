"""What tenants share of the API's own storage has a part for each: one that takes all of its own leaves theirs to the
others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from eventrunner.api.recording import RecordingMirror
from support_api import api_function

from tests.unit.api.test_api import RULE, Caller

REPLAY = {"from": "2026-01-01T00:00:00Z", "target": {"rules": "flights"}}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_MAX_IDEMPOTENCY_KEYS", "3")
        with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
            caller = Caller(app.test_client(), registry)
            for tenant in ("acme", "globex"):
                caller("PUT", f"tenants/{tenant}", {})
                caller("PUT", f"rules/{tenant}/flights", RULE)
            yield caller


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


def test_reservations_at_once_do_not_pass_together(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks first and reserves then would let all of them pass."""
    together, update = Barrier(6), RecordingMirror.update

    def update_together(self: RecordingMirror, bucket: str, name: str, value: bytes, revision: int) -> int:
        if bucket == "idempotency" and not revision:
            together.wait(20)
        return update(self, bucket, name, value, revision)

    monkeypatch.setattr(RecordingMirror, "update", update_together)
    call("PUT", "tenants/crowd", {})

    def create(number: int) -> int:
        return call("POST", "tenants/crowd/keys", {}, headers=key(f"c{number}")).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(create, range(6)))
    made = call.json("GET", "tenants/crowd")["keys"]
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
