"""A cursor or last-seen event that nobody was given is 422 and names its field; nothing else comes of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from eventrunner.storage.cursors import encode_cursor
from eventrunner.storage.event_store import Row
from eventrunner.storage.stores import open_store
from hypothesis import given
from hypothesis import strategies as st
from support_api import api_function

from tests.strategies import cursor_values
from tests.unit.api.test_api import RULE, Caller

HUGE = 2**63


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("api")
    store = open_store(f"sqlite:///{folder}/events.db")
    store.migrate()
    # Events may have happened before 1970.
    store.put([Row("acme", "/s", f"e{time}", "t", time, 0, event(f"e{time}")) for time in (-5, 7)])
    store.close()
    with api_function(folder) as (app, registry):
        caller = Caller(app.test_client(), registry)
        caller("PUT", "tenants/acme", {})
        for number in range(2):
            caller.json("PUT", f"rules/acme/r{number}", RULE.replace("Late", f"Late{number}"), status=201)
        yield caller


def event(event_id: str) -> bytes:
    return json.dumps({"specversion": "1.0", "id": event_id, "source": "/s", "type": "t", "tenantid": "acme"}).encode()


def opaque(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()


def ask(call: Caller, use: str, cursor: str) -> Any:
    """One of all calls that take a cursor, with this one."""
    method, _, path = use.partition(" ")
    if path.endswith("dry-run"):
        stretch = {"from": "1900-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
        return call(method, path, {**stretch, "cursor": cursor})
    return call(method, f"{path}cursor={cursor}")


USES = [
    "GET events/acme?",
    "GET events/acme?order=desc&",
    "GET events/acme?type=t&source=/s&",
    "GET dead-letters/acme?",
    "DELETE dead-letters/acme?all=true&",
    "POST dead-letters/acme/replay?",
    "GET audit/acme?",
    "GET audit/_platform?",
    "GET rules/acme?",
    "GET replays/acme?",
    "POST rules/acme/r0/dry-run",
]
NUMBERED = [use for use in USES if not use.startswith(("GET rules", "GET replays"))]


@pytest.mark.parametrize("use", USES)
@given(value=cursor_values)
def test_a_cursor_of_any_list_is_taken_or_refused(call: Caller, use: str, value: list[Any]) -> None:
    response = ask(call, use, opaque(json.dumps(value)))
    assert response.status_code in (200, 202, 422), response.text
    if response.status_code == 422:
        assert [item["field"] for item in response.get_json(force=True)["errors"]] == ["cursor"]


@pytest.mark.parametrize("use", NUMBERED)
@pytest.mark.parametrize("number", [HUGE, 2**64 - 1, 10**23, -HUGE - 1])
def test_a_number_that_no_place_has_is_refused(call: Caller, use: str, number: int) -> None:
    for key in ([number], [number, 1], [1, number]):
        assert ask(call, use, opaque(json.dumps(key))).status_code == 422


@pytest.mark.parametrize("use", [use for use in NUMBERED if "letters" in use or "audit" in use])
def test_a_sequence_is_not_negative(call: Caller, use: str) -> None:
    for key in ([-5], [-5, 1], [1, -5]):
        assert ask(call, use, opaque(json.dumps(key))).status_code == 422


def test_the_time_of_an_event_may_be_before_1970(call: Caller) -> None:
    page = call.json("GET", "events/acme?limit=1")
    assert [event["id"] for event in page["events"]] == ["e-5"]
    rest = call.json("GET", f"events/acme?cursor={page['next']}")
    assert [event["id"] for event in rest["events"]] == ["e7"]
    assert call.problem(422, "GET", f"events/acme?cursor={encode_cursor((-5, -1))}")["errors"][0]["field"] == "cursor"


@given(sequence=st.integers(0, 2**70), index=st.integers(0, 2**70))
def test_the_event_seen_last_has_a_place_that_can_be(call: Caller, sequence: int, index: int) -> None:
    response = call("GET", "events/acme/stream", headers={"Last-Event-ID": f"{sequence}.{index}"})
    assert response.status_code == (200 if max(sequence, index) < HUGE else 422)
    if response.status_code == 422:
        assert response.get_json(force=True)["errors"][0]["field"] == "Last-Event-ID"
    response.close()


@pytest.mark.parametrize("last", [f"{HUGE}.0", f"0.{HUGE}", "-1.0", "1.-1", "1", "x.1", "٣.1", "1.1.1"])
def test_an_event_that_nobody_can_have_seen_is_refused(call: Caller, last: str) -> None:
    headers = {"Last-Event-ID": last.encode().decode("latin-1")}
    assert call.problem(422, "GET", "events/acme/stream", headers=headers)["errors"][0]["field"] == "Last-Event-ID"


@pytest.mark.parametrize("last", ["0.0", f"{HUGE - 1}.{HUGE - 1}"])
def test_a_live_stream_from_either_end_stays_open(call: Caller, last: str) -> None:
    response = call("GET", "events/acme/stream", headers={"Last-Event-ID": last})
    pieces = iter(response.response)
    assert [next(pieces), next(pieces)] == [b"retry: 1000\n: connected\n\n", b": nothing new\n\n"]
    response.close()
