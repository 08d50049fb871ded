"""What consumers log, from the stream LOGS to whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from eventrunner.access.identity import Identity
from eventrunner.storage.consumer_logs import ConsumerLog, log_subject
from eventrunner.storage.records import CONSUMERS, Consumer
from nats.aio.client import Client
from support_api import api_function

from tests.unit.api.test_api import Caller

PATH = "consumers/acme/alerts/logs"


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with api_function(tmp_path_factory.mktemp("api")) as (app, registry):
        caller = Caller(app.test_client(), registry)
        for tenant in ("acme", "globex"):
            caller("PUT", f"tenants/{tenant}", {})
            registry.put(CONSUMERS, f"{tenant}.alerts", Consumer(tenant, "alerts").to_json())
        yield caller


@pytest.fixture(autouse=True)
def _no_lines(call: Caller) -> None:
    call.registry.purge_subject("LOGS", log_subject("*", "*"))


def write(call: Caller, *texts: str, tenant: str = "acme") -> None:
    lines: list[bytes] = []
    ConsumerLog(lines.append).write([("info", "guest", text) for text in texts], "e1", 1)
    call.registry.run(partial(_publish, log_subject(tenant, "alerts"), lines))


async def _publish(subject: str, lines: list[bytes], client: Client) -> None:
    for line in lines:
        await client.publish(subject, line)
    # What is sent over the same connection after the lines is answered after they are stored.
    await client.flush()


def texts(call: Caller, query: str = "") -> list[str]:
    return [entry["text"] for entry in call.json("GET", PATH + query)["logs"]]


def test_the_last_lines_are_answered_the_oldest_first(call: Caller) -> None:
    write(call, *map(str, range(150)))
    assert texts(call) == [str(number) for number in range(50, 150)]
    assert texts(call, "?limit=2") == ["148", "149"]
    first, *_ = call.json("GET", PATH)["logs"]
    assert {name: first[name] for name in ("level", "context", "event", "attempt")} == {
        "level": "info",
        "context": "guest",
        "event": "e1",
        "attempt": 1,
    }


def test_lines_since_a_time(call: Caller) -> None:
    write(call, "a")
    assert texts(call, "?since=2026-01-01T00:00:00Z") == ["a"]
    assert texts(call, "?since=2099-01-01T00:00:00Z") == []


def test_a_tenant_sees_its_own_lines_only(call: Caller) -> None:
    write(call, "secret", tenant="globex")
    assert texts(call) == []
    who = Identity("ann", "acme", ("user",))
    assert call("GET", "consumers/globex/alerts/logs", who=who).status_code == 403
    call.problem(404, "GET", "consumers/acme/nothing/logs")
    call.problem(422, "GET", PATH + "?limit=0")


@pytest.mark.parametrize(("query", "headers"), [("?follow=true&limit=1", {}), ("", {"Accept": "text/event-stream"})])
def test_lines_are_followed_from_the_last_ones_on(call: Caller, query: str, headers: dict[str, str]) -> None:
    write(call, "before")
    response = call("GET", PATH + query, headers=headers)
    assert response.content_type == "text/event-stream"
    pieces: Iterator[bytes] = iter(response.response)
    assert b"connected" in next(pieces)
    write(call, "after")
    assert [_text(next(pieces)) for _ in range(2)] == ["before", "after"]
    response.close()


def _text(piece: bytes) -> str:
    (data,) = (line for line in piece.splitlines() if line.startswith(b"data: "))
    return str(json.loads(data.removeprefix(b"data: "))["text"])
