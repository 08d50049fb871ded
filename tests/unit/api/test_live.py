"""A live stream ends soon after a key of its caller is gone, and no event comes by it any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from eventrunner.access.identity import Identity
from eventrunner.storage.mirror import Mirror
from nats.aio.client import Client
from support_api import api_function

from tests.unit.api.test_api import Caller

SECONDS = 60.0
"""Much longer than a stream may outlive its key, and much less than it lives anyway."""
EVENT = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","tenantid":"acme"}'


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        caller = Caller(app.test_client(), registry)
        caller("PUT", "tenants/acme", {})
        yield caller


def make_key(call: Caller, subject: str = "") -> tuple[str, Identity]:
    """Its id, and whom the gateway says that its holder is."""
    key = call.json("POST", "tenants/acme/keys", {"roles": ["user"], "subject": subject}, status=201)
    return key["id"], Identity(subject or key["id"], "acme", ("user",))


def open_stream(call: Caller, who: Identity) -> Iterator[bytes]:
    response = call("GET", "events/acme/stream", who=who)
    assert response.status_code == 200
    pieces: Iterator[bytes] = iter(response.response)
    assert b"connected" in next(pieces)
    return pieces


def publish(registry: Mirror) -> None:
    async def send(client: Client) -> None:
        await client.jetstream().publish("results.acme", EVENT)

    registry.run(send)


def rest(pieces: Iterator[bytes]) -> bytes:
    """All that still comes; fails if it does not end."""
    deadline = time.monotonic() + SECONDS
    found = b""
    for piece in pieces:
        found += piece
        assert time.monotonic() < deadline, "the stream goes on"
    return found


def until_event(pieces: Iterator[bytes]) -> bytes:
    deadline = time.monotonic() + SECONDS
    for piece in pieces:
        if EVENT in piece:
            return piece
        assert time.monotonic() < deadline
    raise AssertionError("the stream ended")


def test_a_stream_ends_when_its_key_is_deleted_and_gives_no_event_more(call: Caller) -> None:
    key, who = make_key(call)
    pieces = open_stream(call, who)
    publish(call.registry)
    until_event(pieces)
    assert call("DELETE", f"tenants/acme/keys/{key}").status_code == 204
    publish(call.registry)
    assert EVENT not in rest(pieces)


def test_events_that_were_read_before_the_key_was_deleted_are_not_given_after_it(call: Caller) -> None:
    key, who = make_key(call)
    pieces = open_stream(call, who)
    for _ in range(3):
        publish(call.registry)
    until_event(pieces)
    call("DELETE", f"tenants/acme/keys/{key}")
    assert EVENT not in rest(pieces)


def test_a_stream_ends_when_the_grace_of_its_rotated_key_is_over(call: Caller) -> None:
    key, who = make_key(call, "alice")
    pieces = open_stream(call, who)
    call.json("POST", f"tenants/acme/keys/{key}/rotate", {"grace_seconds": 1}, status=201)
    rest(pieces)
    # The new key is the same holder's, and the old one, which is over, is none of the stream's.
    again = open_stream(call, who)
    publish(call.registry)
    until_event(again)


def test_a_stream_goes_on_when_somebody_elses_key_is_deleted(call: Caller) -> None:
    _, who = make_key(call)
    other, _ = make_key(call)
    pieces = open_stream(call, who)
    call("DELETE", f"tenants/acme/keys/{other}")
    publish(call.registry)
    until_event(pieces)


def test_who_has_a_token_and_no_key_is_served(call: Caller) -> None:
    pieces = open_stream(call, Identity("bob@example.com", "acme", ("user",)))
    publish(call.registry)
    until_event(pieces)
