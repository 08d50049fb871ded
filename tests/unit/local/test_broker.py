from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from eventrunner.local.broker import BrokerEndpoint
from eventrunner.local.triggers import Broker, DeliverySpec, Trigger
from support_identity import SIGNER, verify

from tests.unit.local.support import make_project, run, running_activator

# Writes down what it gets; refuses type "bad" for good and type "later" until it has seen it three times.
SUBSCRIBER = """
import json, pathlib
SEEN = pathlib.Path(__file__).parents[2] / "seen.jsonl"
def main(request):
    if request.path == "/healthz":
        return "ok"
    event = json.loads(request.get_data())
    with SEEN.open("a") as file:
        file.write(json.dumps([event, request.path, request.headers["Authorization"]]) + "\\n")
    if event["type"] == "bad":
        return "no such thing", 422
    if event["type"] == "later" and len(SEEN.read_text().splitlines()) < 3:
        return "busy", 503
    return "", 202
"""
EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a", "tenantid": "acme", "data": {"n": 1}}


@asynccontextmanager
async def running_broker(folder: Path, retry: int = 2) -> AsyncIterator[str]:
    project = make_project(folder, {"ingest": SUBSCRIBER})
    delivery = DeliverySpec(retry=retry, delay=0.01)
    trigger = Trigger("all", "ns", "default", {"tenantid": "acme"}, "ingest", "/api/v1/events", None)
    async with running_activator(project) as activator:
        broker = BrokerEndpoint(
            [Broker("default", "ns", delivery)], [trigger], activator, signer=SIGNER, max_body_bytes=10_000
        )
        try:
            yield await broker.start() + "/ns/default"
        finally:
            await broker.close()


async def post(url: str, event: dict[str, Any]) -> int:
    headers = {"Content-Type": "application/cloudevents+json"}
    async with aiohttp.ClientSession() as client, client.post(url, data=json.dumps(event), headers=headers) as answer:
        return answer.status


def seen(folder: Path) -> list[Any]:
    path = folder / "seen.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_structured_event_reaches_the_subscriber_with_an_identity_before_it_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path) as url:
            assert await post(url, EVENT) == 202
            [[event, path, authorization]] = seen(tmp_path)
            assert (event, path) == (EVENT, "/api/v1/events")
            assert verify(authorization).roles == ("admin", "event_publisher")

    run(scenario())


def test_a_binary_event_reaches_the_subscriber(tmp_path: Path) -> None:
    headers = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}

    async def scenario() -> None:
        async with running_broker(tmp_path) as url, aiohttp.ClientSession() as client:
            async with client.post(url, json=EVENT["data"], headers=headers) as answer:
                assert answer.status == 202
            received = seen(tmp_path)[0][0]
            assert received.items() >= EVENT.items()

    run(scenario())


def test_what_no_trigger_wants_is_taken_and_goes_nowhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path) as url:
            assert await post(url, EVENT | {"tenantid": "other"}) == 202
            assert seen(tmp_path) == []

    run(scenario())


def test_a_busy_subscriber_is_asked_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path) as url:
            assert await post(url, EVENT | {"type": "later"}) == 202
            assert len(seen(tmp_path)) == 3

    run(scenario())


def test_an_event_is_not_taken_when_all_tries_fail(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path, retry=1) as url:
            assert await post(url, EVENT | {"type": "later"}) == 503
            assert len(seen(tmp_path)) == 2

    run(scenario())


def test_an_event_that_the_subscriber_refuses_is_refused_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path) as url:
            assert await post(url, EVENT | {"type": "bad"}) == 422
            assert len(seen(tmp_path)) == 1

    run(scenario())


def test_bad_requests_are_answered_for_what_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_broker(tmp_path) as url, aiohttp.ClientSession() as client:
            structured = {"Content-Type": "application/cloudevents+json"}
            for expected, target, body, headers in (
                (404, url + "x", b"{}", structured),
                (400, url, b"{", structured),
                (422, url, b'{"specversion": "1.0", "id": "1"}', structured),
                (415, url, b"{}", {"Content-Type": "application/json"}),
                (413, url, b" " * 20_000, structured),
            ):
                async with client.post(target, data=body, headers=headers) as answer:
                    assert (answer.status, await answer.json(content_type=None))[0] == expected
            async with client.get(url) as answer:
                assert answer.status == 405
            assert seen(tmp_path) == []

    run(scenario())
