"""The whole platform over a real Cassandra, which is killed under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.provision import provision
from eventrunner.cli.watch import ResultWatch
from eventrunner.clock import utc_now
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.clickhouse import ClickHouse, ClickHouseUrl

from tests.support_cassandra import CassandraNode, cassandra_node

pytestmark = [pytest.mark.pipeline, pytest.mark.peer]

_RULES = """
rule Big { when Event.data.amount >= 90 then Out.amount = Event.data.amount; Emit("order.alert"); Retract("Big"); }
"""
_BATCH = 50


@pytest.fixture
def node(tmp_path: Path) -> Iterator[CassandraNode]:
    with cassandra_node(tmp_path / "cassandra") as node:
        yield node


class _Load:
    """Sends batches until it is stopped, as a client does that heeds 503 and sends the same again."""

    def __init__(self, platform: RunningPlatform, session: aiohttp.ClientSession, key: str) -> None:
        self._url = f"{platform.url}/api/v1/events"
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self.accepted: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.send(range(len(self.accepted), len(self.accepted) + _BATCH))
            await asyncio.sleep(0.1)

    async def send(self, numbers: range) -> None:
        await self.post([self.event(n, n % 100) for n in numbers])
        self.accepted += [f"{n}" for n in numbers]

    @staticmethod
    def event(number: int, amount: int) -> dict[str, Any]:
        values = {"specversion": "1.0", "source": "/s", "type": "order", "time": "2026-01-01T00:00:00Z"}
        return {**values, "id": f"{number}", "data": {"amount": amount}}

    async def post(self, events: list[dict[str, Any]]) -> None:
        body = b"\n".join(json.dumps(event).encode() for event in events)
        async with asyncio.timeout(60):
            while True:
                async with self._session.post(self._url, data=body, headers=self._headers) as response:
                    if response.status == 202:
                        break
                await asyncio.sleep(0.3)


def test_events_are_stored_once_each_and_flow_again_by_themselves_after_a_kill_of_the_store(
    node: CassandraNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"EVENTRUNNER_STORE_URL": f"cassandra://{node.address}/pipeline"}
    with running_platform(tmp_path / "platform", environ) as platform:
        pauses = asyncio.run(_journey(platform, node))
    with capsys.disabled():
        print(f"\nfrom the answer of the node to the first event: {', '.join(f'{pause:.2f} s' for pause in pauses)}")
    assert max(pauses) <= 5
    assert not (tmp_path / "platform" / "events.db").exists()


async def _journey(platform: RunningPlatform, node: CassandraNode) -> list[float]:
    pauses = []
    async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
        keys = await provision(api, ["acme"], rules={"orders": _RULES})
        load, stop = _Load(platform, session, keys["acme"]), asyncio.Event()
        async with ResultWatch(platform.nats, "acme") as watch:
            sending = asyncio.create_task(load.run(stop))
            await watch.wait_for(500, 30)
            for away in (0.0, 6.0):
                node.kill()
                await asyncio.sleep(away)
                node.launch()
                await asyncio.to_thread(node.wait)
                pauses.append(await _until_more(watch))
            stop.set()
            await sending
        # What a redelivery brings, and a client that never saw its answer.
        await load.send(range(200))
        accepted = set(load.accepted)
        # Another event of a known identity.
        await load.post([load.event(7, amount=77_777)])
        await _until_dead_letter(platform, "7")
        await _check(api, platform, accepted, alerts=sum(int(id) % 100 >= 90 for id in accepted))
    return pauses


async def _until_more(watch: ResultWatch) -> float:
    """Seconds until the next event comes out of the engine."""
    started, before = time.monotonic(), len(watch.seen)
    async with asyncio.timeout(30):
        while len(watch.seen) == before:
            await asyncio.sleep(0.01)
    return time.monotonic() - started


async def _check(api: Api, platform: RunningPlatform, accepted: set[str], alerts: int) -> None:
    analytics = Analytics(platform.clickhouse)
    try:
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(analytics.counts)).get("acme") != (len(accepted), alerts):
                await asyncio.sleep(0.2)
    finally:
        analytics.close()
    amounts = await asyncio.to_thread(_analysed_amounts, platform, "7")
    assert amounts == [('{"amount": 7}',)]
    stored = await _stored(api, "type=order")
    assert stored == Counter(accepted)
    assert (await _stored(api, "type=order.alert")).total() == alerts
    now = utc_now()
    span = f"from={now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}&to={now + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    (usage,) = (await api.call("GET", f"/api/v1/usage/acme?{span}"))["usage"]
    assert Decimal(usage["events"]) == len(accepted)
    invoice = await api.call("GET", "/api/v1/invoice/acme")
    assert sum(Decimal(line["quantity"]) for line in invoice["lines"] if line["meter"] == "events") == len(accepted)


def _analysed_amounts(platform: RunningPlatform, id: str) -> list[Any]:
    """All that ClickHouse ever saw as the data of the event."""
    clickhouse = ClickHouse(ClickHouseUrl.parse(platform.clickhouse))
    try:
        query = "SELECT DISTINCT data FROM events WHERE tenantid = 'acme' AND causeid = '' AND id = {id:String}"
        return list(clickhouse.query(query, {"id": id}))
    finally:
        clickhouse.close()


async def _until_dead_letter(platform: RunningPlatform, id: str) -> None:
    client = await nats.connect(platform.nats)
    try:
        subscription = await client.jetstream().subscribe("deadletter.event-engine.acme", ordered_consumer=True)
        letter = json.loads((await subscription.next_msg(timeout=30)).data)
        assert (letter["id"], letter["knativeerrorcode"]) == (id, 409)
    finally:
        await client.close()


async def _stored(api: Api, query: str) -> Counter[str]:
    """How often each id is listed."""
    found: Counter[str] = Counter()
    cursor = ""
    while True:
        page = await api.call("GET", f"/api/v1/events/acme?limit=1000&{query}{cursor}")
        found.update(event["id"] for event in page["events"])
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"
