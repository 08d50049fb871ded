"""A few thousand events of all content modes through a real `eventrunner dev`, then every store is looked at."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from backports import zstd
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.provision import provision
from eventrunner.clock import utc_now
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.stores import open_store
from support_grpc import GrpcClient, ce

pytestmark = pytest.mark.pipeline

_RULES = """
rule Big { when Event.type == "order" && Event.data.amount >= 900 then
  Out.amount = Event.data.amount; Emit("order.alert"); Tag("size", "big"); Retract("Big"); }
rule Ping { when Event.type == "ping" then Drop("noise"); Retract("Ping"); }
"""
_BATCH = "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


def _order(id: str, amount: int = 7) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": "/shop",
        "type": "order",
        "time": "2026-01-01T00:00:00Z",
        "data": {"amount": amount},
    }


class _Client:
    """One tenant's requests to the public port."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session, self._url, self._key = session, url, key

    async def send(self, body: bytes, content_type: str, query: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
        sent = {"Authorization": f"Bearer {self._key}", "Content-Type": content_type, **headers}
        async with self._session.post(
            f"{self._url}/api/v1/events{query}", data=io.BytesIO(body), headers=sent
        ) as response:
            return response.status, await response.json(content_type=None)


async def _send_all_modes(client: _Client) -> int:
    """Sends events in every way of the contract; returns how many were accepted. 10 of them are big orders."""
    accepted = 0

    async def take(status: int, answer: dict[str, Any], count: int) -> None:
        nonlocal accepted
        assert (status, answer.get("accepted")) == (202, count), answer
        accepted += count

    lines = [json.dumps(_order(f"n{number}", number)).encode() for number in range(1000)]
    lines[3], lines[500], lines[999] = (
        b"{",
        b'{"specversion":"1.0"}',
        b'{"specversion":"1.0","id":"x","source":"a b","type":"t"}',
    )
    status, answer = await client.send(b"\n".join(lines), "application/x-ndjson")
    await take(status, answer, 997)
    assert [rejection["index"] for rejection in answer["rejected"]] == [3, 500, 999]
    batch = json.dumps([_order(f"b{number}") for number in range(1200)]).encode()
    await take(*await client.send(batch, _BATCH), 1200)
    await take(
        *await client.send(
            gzip.compress(b"\n".join(json.dumps(_order(f"g{n}")).encode() for n in range(300))),
            "application/x-ndjson",
            **{"Content-Encoding": "gzip"},
        ),
        300,
    )
    await take(
        *await client.send(
            zstd.compress(json.dumps(_order("z1")).encode()),
            "application/cloudevents+json",
            **{"Content-Encoding": "zstd"},
        ),
        1,
    )
    for number in range(20):
        event = CloudEvent({"id": f"s{number}", "source": "/shop", "type": "order", "colour": "red"}, {"amount": 1})
        for write, name in ((to_structured, "structured"), (to_binary, "binary")):
            event["id"] = f"{name}{number}"
            headers, body = write(event)
            content_type = headers.pop("content-type", "application/json")
            await take(*await client.send(body, content_type, **headers), 1)
    await take(
        *await client.send(b'[{"id":"r1","a":1},{"id":"r2","a":2}]', "application/json", "?type=raw.json&source=/raw"),
        2,
    )
    await take(*await client.send(b"id=f1&b=2", "application/x-www-form-urlencoded", "?type=raw.form&source=/raw"), 1)
    await take(
        *await client.send(
            b"\x89PNG\xff",
            "image/png",
            **{"ce-specversion": "1.0", "ce-id": "png", "ce-source": "/s", "ce-type": "image"},
        ),
        1,
    )
    return accepted


def test_events_of_all_content_modes_are_stored_analysed_and_billed(platform: RunningPlatform) -> None:
    asyncio.run(_journey(platform))


async def _journey(platform: RunningPlatform) -> None:
    connection = Connection(platform.url, platform.admin_key)
    async with Api(connection) as api, aiohttp.ClientSession() as session:
        keys = await provision(api, ["acme", "other"], rules={"orders": _RULES})
        client = _Client(session, platform.url, keys["acme"])
        accepted = await _send_all_modes(client)
        # Sent again, whole and in part: no count may change.
        again = json.dumps([_order(f"b{number}") for number in range(1200)]).encode()
        assert (await client.send(again, _BATCH))[0] == 202
        assert (await client.send(json.dumps(_order("n1", 1)).encode(), "application/cloudevents+json"))[0] == 202
        # Three that end on the way: one dropped by a rule, two that no adapter fits.
        ping = {"specversion": "1.0", "id": "p", "source": "/shop", "type": "ping"}
        assert (await client.send(json.dumps(ping).encode(), "application/cloudevents+json"))[0] == 202
        assert (await client.send(b'[{"no":"adapter"},{"fits":1}]', "application/json"))[0] == 202
        analytics = Analytics(platform.clickhouse)
        try:
            await _until_counted(analytics, accepted)
        finally:
            analytics.close()
        alerts = 99
        _check_store(platform, accepted + alerts)
        await _check_api(api, session, platform, keys)
        await _check_dead_letters(platform)
        await _check_bill(api, accepted + 3)


async def _until_counted(analytics: Analytics, count: int) -> None:
    await asyncio.to_thread(analytics.migrate)
    async with asyncio.timeout(60):
        while await asyncio.to_thread(analytics.count, "acme") < count:
            await asyncio.sleep(0.2)
    # What was sent twice has had its time to arrive too.
    await asyncio.sleep(3)
    counts = (await asyncio.to_thread(analytics.counts))["acme"]
    assert counts == (count, 99)


def _check_store(platform: RunningPlatform, count: int) -> None:
    store = open_store(f"sqlite:///{platform.data_dir / 'events.db'}")
    try:
        assert store.count("acme") == count
        assert store.count("other") == 0
        body = store.get("acme", "/shop", "n950")
        assert body is not None
        event = json.loads(body)
        assert (event["tenantid"], event["size"], event["data"]) == ("acme", "big", {"amount": 950})
        assert (
            json.loads(store.get("acme", "/s", "png") or b"{}")["data_base64"]
            == base64.b64encode(b"\x89PNG\xff").decode()
        )
        assert json.loads(store.get("acme", "/shop", "binary7") or b"{}")["colour"] == "red"
    finally:
        store.close()


async def _check_api(api: Api, session: aiohttp.ClientSession, platform: RunningPlatform, keys: dict[str, str]) -> None:
    page = await api.call("GET", "/api/v1/events/acme?type=order.alert&limit=50")
    assert len(page["events"]) == 50
    assert page["next"]
    assert (await api.call("GET", "/api/v1/events/acme/r1"))["type"] == "raw.json"
    for key, path, status in (
        (keys["other"], "/api/v1/events/acme", 403),
        (keys["other"], "/api/v1/invoice/acme", 403),
        ("er_wrong", "/api/v1/events/acme", 401),
        ("", "/api/v1/events/acme", 401),
    ):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with session.get(platform.url + path, headers=headers) as response:
            assert response.status == status, (path, await response.text())
            assert response.content_type == "application/problem+json"


async def _check_dead_letters(platform: RunningPlatform) -> None:
    import nats

    client = await nats.connect(platform.nats)
    try:
        stream = client.jetstream()
        found = []
        async with asyncio.timeout(20):
            subscription = await stream.subscribe("deadletter.event-runner.acme", ordered_consumer=True)
            while len(found) < 2:
                message = await subscription.next_msg(timeout=10)
                decoded = json.loads(message.data)
                found += decoded if isinstance(decoded, list) else [decoded]
        assert all("No adapter fits" in letter["knativeerrordata"] for letter in found)
        assert [letter["knativeerrorcode"] for letter in found] == [422, 422]
    finally:
        await client.close()


async def _check_bill(api: Api, events: int) -> None:
    now = utc_now()
    span = f"from={now - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}&to={now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    usage = await api.call("GET", f"/api/v1/usage/acme?{span}&window=month")
    assert sum(Decimal(row["events"]) for row in usage["usage"]) == events
    invoice = await api.call("GET", "/api/v1/invoice/acme")
    cent = Decimal("0.01")
    lines = invoice["lines"]
    assert sum(Decimal(line["quantity"]) for line in lines if line["meter"] == "events") == events
    assert all(Decimal(line["amount"]) == Decimal(line["amount"]).quantize(cent) for line in lines)
    assert sum(Decimal(line["amount"]) for line in lines) == Decimal(invoice["total"])


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status"),
    [
        (b"{", "application/cloudevents+json", {}, 400),
        (b'{"specversion":"1.0","id":"1"}', "application/cloudevents+json", {}, 422),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "application/json", {}, 400),
        (b'{"specversion":"1.0","id":"\xff","source":"/s","type":"t"}', "application/cloudevents+json", {}, 400),
        (b"<a/>", "text/xml", {}, 415),
        (b"x", "application/json", {"Content-Encoding": "br"}, 415),
        (json.dumps(_order("big") | {"data": "x" * 2_000_000}).encode(), "application/cloudevents+json", {}, 413),
        (b"x" * 10_000_000, "application/x-ndjson", {}, 413),
        (gzip.compress(bytes(100_000_000)), "application/x-ndjson", {"Content-Encoding": "gzip"}, 413),
        (b"", "application/x-ndjson", {}, 400),
    ],
)
def test_bad_input_gets_the_answer_of_the_contract(
    platform: RunningPlatform, body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            keys = await provision(api, ["bad"], rules={})
            got, answer = await _Client(session, platform.url, keys["bad"]).send(body, content_type, **headers)
            assert got == status, answer
            assert answer["status"] == status
            assert answer["detail"]

    asyncio.run(run())


def test_the_most_deeply_nested_event_that_is_accepted_arrives(platform: RunningPlatform) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            client = _Client(session, platform.url, (await provision(api, ["deep"], rules={"orders": _RULES}))["deep"])
            for depth in range(1000, 900, -1):
                body = json.dumps(_order("deep") | {"data": 0}).replace("0}", "[" * depth + "]" * depth + "}")
                status, answer = await client.send(body.encode(), "application/cloudevents+json")
                if status == 202:
                    break
                assert status == 400, answer
            assert status == 202
            analytics = Analytics(platform.clickhouse)
            try:
                async with asyncio.timeout(30):
                    while await asyncio.to_thread(analytics.count, "deep") < 1:
                        await asyncio.sleep(0.2)
            finally:
                analytics.close()
            headers = {"Authorization": f"Bearer {platform.admin_key}"}
            for path in ("", "/deep"):
                async with session.get(f"{platform.url}/api/v1/events/deep{path}", headers=headers) as response:
                    assert (response.status, "[" * depth in await response.text()) == (200, True)

    asyncio.run(run())


def test_what_comes_in_over_grpc_goes_the_same_way(platform: RunningPlatform) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api:
            keys = await provision(api, ["remote"], rules={"orders": _RULES})
            async with grpc.aio.insecure_channel(platform.grpc) as channel:
                client = GrpcClient(channel, keys["remote"])
                await client.event(json.dumps(_order("big", 950)).encode())
                assert (await client.batch(ce("small"), ce("big", spec_version="0"))).accepted == 1
            async with asyncio.timeout(30):
                while len(found := (await api.call("GET", "/api/v1/events/remote"))["events"]) < 3:
                    await asyncio.sleep(0.2)
        assert sorted(event["type"] for event in found) == ["order", "order.alert", "order.placed"]

    asyncio.run(run())


def test_the_platform_goes_on_where_it_was(tmp_path: Path) -> None:
    async def send(running: RunningPlatform, key: str, id: str) -> None:
        async with aiohttp.ClientSession() as session:
            status, _ = await _Client(session, running.url, key).send(
                json.dumps(_order(id)).encode(), "application/cloudevents+json"
            )
            assert status == 202

    async def make(running: RunningPlatform) -> dict[str, str]:
        async with Api(Connection(running.url, running.admin_key)) as api:
            return await provision(api, ["acme"], rules={"orders": _RULES})

    async def counted(running: RunningPlatform, count: int) -> None:
        analytics = Analytics(running.clickhouse)
        await asyncio.to_thread(analytics.migrate)
        try:
            async with asyncio.timeout(60):
                while await asyncio.to_thread(analytics.count, "acme") < count:
                    await asyncio.sleep(0.2)
        finally:
            analytics.close()

    with running_platform(tmp_path) as running:
        keys = asyncio.run(make(running))
        asyncio.run(send(running, keys["acme"], "1"))
        admin = running.admin_key
    with running_platform(tmp_path) as running:
        assert running.admin_key == admin
        asyncio.run(send(running, keys["acme"], "2"))
        asyncio.run(counted(running, 2))


def test_a_tenant_over_its_quota_is_told_when_to_come_again_and_slows_nobody(platform: RunningPlatform) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            keys = await provision(api, ["greedy", "modest"], rules={})
            greedy, modest = (_Client(session, platform.url, keys[name]) for name in ("greedy", "modest"))
            batch = json.dumps([_order(f"{number}") for number in range(100)]).encode()
            assert (await greedy.send(batch, _BATCH))[0] == 202
            quota = {"events_per_second": 50, "bytes_per_second": 10_000_000, "burst": 1.0}
            await api.call("PUT", "/api/v1/tenants/greedy", {"quota": quota})
            await asyncio.sleep(1)
            assert (await greedy.send(batch, _BATCH))[0] == 202
            status, answer = await greedy.send(batch, _BATCH)
            assert (status, answer["status"]) == (429, 429)
            assert "50 events" in answer["detail"]
            headers = {"Authorization": f"Bearer {keys['greedy']}", "Content-Type": _BATCH}
            async with session.post(f"{platform.url}/api/v1/events", data=batch, headers=headers) as response:
                assert int(response.headers["Retry-After"]) >= 1
            assert (await modest.send(batch, _BATCH))[0] == 202
            await api.call("PUT", "/api/v1/tenants/greedy", {"quota": None})
            await asyncio.sleep(1)
            assert (await greedy.send(batch, _BATCH))[0] == 202

    asyncio.run(run())


def _doctor(platform: RunningPlatform, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"EVENTRUNNER_URL": platform.url, "EVENTRUNNER_KEY": platform.admin_key}
    command = [sys.executable, "-m", "eventrunner", "doctor", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def test_the_gateway_lets_through_what_it_should_and_nothing_else(platform: RunningPlatform) -> None:
    done = _doctor(platform, "gateway")
    summary, not_tried = done.stdout.splitlines()
    assert re.fullmatch(r"[3-9]\d\d requests, 0 with the wrong answer; none with signed tokens", summary)
    assert (not_tried.endswith("were not tried: give --signing-key"), done.returncode) == (True, 0)
