"""Dead letters and history replayed through a real `eventrunner dev`; bills stay as they are."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import nats
import pytest
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.provision import provision
from eventrunner.events import Event, decode_batch
from eventrunner.events.packing import unpack
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.records import Consumer
from eventrunner.storage.registry import Registry
from eventrunner.storage.stores import open_store

pytestmark = pytest.mark.pipeline

EVENTS = 400
FAILING = 'rule Check { when Event.data.amount >= 390 then Emit(Event.data.amount); Retract("Check"); }'
MENDED = 'rule Check { when Event.data.amount >= 390 then Emit("checked"); Retract("Check"); }'
ALERTS = 'rule Alert { when Event.data.amount < 100 then Out.n = Event.data.amount; Emit("alert"); Retract("Alert"); }'


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture
def analytics(platform: RunningPlatform) -> Iterator[Analytics]:
    analytics = Analytics(platform.clickhouse)
    analytics.migrate()
    yield analytics
    analytics.close()


def command(platform: RunningPlatform, *arguments: str, check: bool = True) -> Any:
    """What `eventrunner … --json` prints."""
    environ = {**os.environ, "EVENTRUNNER_URL": platform.url, "EVENTRUNNER_KEY": platform.admin_key}
    done = subprocess.run(
        [sys.executable, "-m", "eventrunner", *arguments, "--json"], env=environ, capture_output=True, timeout=120
    )
    assert (done.returncode == 0) is check, done.stderr.decode()
    return json.loads(done.stdout) if check else done.stderr.decode()


async def send(platform: RunningPlatform, key: str, numbers: range) -> None:
    events = [
        {"specversion": "1.0", "id": f"e{n}", "source": "/shop", "type": "order", "data": {"amount": n}}
        | {"time": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"}
        for n in numbers
    ]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}
    body = io.BytesIO(json.dumps(events).encode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{platform.url}/api/v1/events", data=body, headers=headers) as response,
    ):
        assert response.status == 202, await response.text()


async def until(check: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def bill(api: Api, tenant: str) -> tuple[Any, Any]:
    usage = await api.call("GET", f"/api/v1/usage/{tenant}?from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z")
    invoice = await api.call("GET", f"/api/v1/invoice/{tenant}")
    return usage["usage"], (invoice["lines"], invoice["total"])


async def settled(api: Api, analytics: Analytics, tenant: str, events: int, derived: int) -> tuple[Any, Any]:
    """The bill when ClickHouse has all events."""

    async def counted() -> bool:
        return (await asyncio.to_thread(analytics.counts)).get(tenant) == (events, derived)

    await until(counted)
    await asyncio.sleep(2)
    assert await counted()
    return await bill(api, tenant)


def stored(platform: RunningPlatform, tenant: str) -> int:
    store = open_store(f"sqlite:///{platform.data_dir / 'events.db'}")
    try:
        return store.count(tenant)
    finally:
        store.close()


async def rows(analytics: Analytics, tenant: str) -> int:
    query = "SELECT count() FROM events WHERE tenantid = {tenant:String}"
    return int((await asyncio.to_thread(analytics._clickhouse.query, query, {"tenant": tenant}))[0][0])


async def results_for(platform: RunningPlatform, tenant: str, consumer: str) -> list[Event]:
    client = await nats.connect(platform.nats)
    try:
        stream = client.jetstream()
        found: list[Event] = []
        last = (await stream.stream_info("RESULTS")).state.last_seq
        for sequence in range(1, last + 1):
            message = await stream.get_msg("RESULTS", seq=sequence)
            headers, body = message.headers or {}, message.data or b""
            if message.subject == f"results.{tenant}" and headers.get("Eventrunner-Only") == consumer:
                found += decode_batch(unpack(body, 10**8) if "Content-Encoding" in headers else body)
        return found
    finally:
        await client.close()


def replayers(platform: RunningPlatform) -> list[int]:
    """Processes of the function that are children of this platform."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environ = (folder / "environ").read_bytes()
            except OSError:
                continue
            if b"K_SERVICE=replayer\0" in environ and str(platform.data_dir).encode() in environ:
                found.append(int(folder.name))
    return found


def test_dead_letters_go_back_to_their_stage_and_are_billed_once(
    platform: RunningPlatform, analytics: Analytics
) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api:
            keys = await provision(api, ["letters"], rules={"check": FAILING})
            await send(platform, keys["letters"], range(EVENTS))

            async def failed() -> bool:
                return bool((await api.call("GET", "/api/v1/dead-letters/letters"))["total"] == 10)

            await until(failed)
            listed = command(platform, "dead-letters", "list", "letters")
            assert listed["stages"] == {"event-engine": 10}
            assert {letter["event_id"] for letter in listed["dead_letters"]} == {f"e{n}" for n in range(390, 400)}
            assert {letter["attempts"] for letter in listed["dead_letters"]} == {1}
            before = await settled(api, analytics, "letters", 390, 0)
            assert before[0][0]["events"] == "400"

            # Nothing is mended yet: it fails again, and its attempts count on.
            one = listed["dead_letters"][0]
            assert command(platform, "dead-letters", "replay", "letters", one["id"])["replayed"] == 1
            await until(failed)
            trace = command(platform, "events", "trace", "letters", one["event_id"])
            assert [item["attempts"] for item in trace["dead_letters"]] == [2]
            assert trace["ended"] == [{"stage": "event-engine", "kind": "failed"}]
            again = [
                x for x in command(platform, "dead-letters", "list", "letters")["dead_letters"] if x["attempts"] > 1
            ]
            assert [(x["event_id"], x["attempts"], x["first"]) for x in again] == [(one["event_id"], 2, one["first"])]

            await api.call("PUT", "/api/v1/rules/letters/check", text=MENDED)
            await api.call("POST", "/api/v1/rules/letters/check/activate")
            await asyncio.sleep(2)
            dropped = command(platform, "dead-letters", "drop", "letters", again[0]["id"])
            assert dropped == {"dropped": 1}
            swept = command(platform, "dead-letters", "replay", "letters", "--stage", "event-engine", "--type", "order")
            assert swept == {"replayed": 9, "skipped": []}
            after = await settled(api, analytics, "letters", 399, 9)
            assert (await api.call("GET", "/api/v1/dead-letters/letters"))["total"] == 0
            assert after[0][0]["events"] == "400"
            assert after[0][0]["network_ingress"] == before[0][0]["network_ingress"]

    asyncio.run(run())


def test_history_goes_through_rules_over_a_crash_and_the_bill_stays(
    platform: RunningPlatform, analytics: Analytics
) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api:
            keys = await provision(api, ["past"], rules={})
            await send(platform, keys["past"], range(EVENTS))
            before = await settled(api, analytics, "past", EVENTS, 0)
            await api.call("PUT", "/api/v1/rules/past/alerts", text=ALERTS)
            since = ("--from", "2026-01-01T00:00:00Z")
            dry = command(platform, "replay", "past", *since, "--rules", "alerts", "--dry-run")
            assert (dry["counts"]["derived"], dry["counts"]["fired"], len(dry["examples"])) == (100, {"Alert": 100}, 10)
            assert stored(platform, "past") == EVENTS

            started = command(platform, "replay", "past", *since, "--rules", "alerts@1", "--rate", "50", "--detach")
            assert started["state"] == "pending"

            async def under_way() -> bool:
                now = await api.call("GET", f"/api/v1/replays/past/{started['id']}")
                return bool(now["state"] == "running" and now["counts"]["derived"])

            await until(under_way)
            for pid in replayers(platform):
                os.kill(pid, signal.SIGKILL)
            done = command(platform, "replay", "past", started["id"])
            assert (done["state"], done["progress"]) == ("done", 1.0)
            assert (done["counts"]["evaluated"], done["counts"]["derived"], done["counts"]["known"]) == (400, 100, 0)
            assert await settled(api, analytics, "past", EVENTS, 100) == before
            assert stored(platform, "past") == EVENTS + 100
            trace = command(platform, "events", "trace", "past", "e5")
            assert [(item["rule"], item["replay"]) for item in trace["derived"]] == [("Alert", started["id"])]
            assert (trace["usage"]["usagein"] > 0, trace["invoice"]["status"]) == (True, "open")
            again = command(platform, "replay", "past", *since, "--rules", "alerts", "--rate", "100000")
            assert (again["counts"]["derived"], again["counts"]["known"]) == (0, 100)
            assert stored(platform, "past") == EVENTS + 100
            assert await settled(api, analytics, "past", EVENTS, 100) == before

    asyncio.run(run())


def test_history_goes_to_one_consumer_and_nowhere_else(platform: RunningPlatform, analytics: Analytics) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api:
            keys = await provision(api, ["source"], rules={})
            await send(platform, keys["source"], range(EVENTS))
            before = await settled(api, analytics, "source", EVENTS, 0)
            before_rows = await rows(analytics, "source")
            to_alarms = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:05:00Z", "--consumer", "alarms")
            assert "has no consumer alarms" in command(platform, "replay", "source", *to_alarms, check=False)
            registry = await Registry.connect(platform.nats)
            await registry.put("consumers", "source.alarms", Consumer("source", "alarms").to_json())
            await registry.close()
            await asyncio.sleep(1)
            done = command(platform, "replay", "source", *to_alarms, "--filter", "type=order", "--rate", "100000")
            assert (done["state"], done["counts"]["sent"]) == ("done", 300)
            got = await results_for(platform, "source", "source-alarms")
            assert sorted(event.id for event in got) == sorted(f"e{n}" for n in range(300))
            assert {(event.extensions or {})["replayid"] for event in got} == {done["id"]}
            assert await settled(api, analytics, "source", EVENTS, 0) == before
            assert await rows(analytics, "source") == before_rows
            assert stored(platform, "source") == EVENTS
            listed = command(platform, "replay", "source", "--list")["replays"]
            assert msgspec.json.decode(msgspec.json.encode(listed)) == [done]

    asyncio.run(run())


def test_live_events_come_through_the_gateway(platform: RunningPlatform) -> None:
    async def run() -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api:
            keys = await provision(api, ["live"], rules={})
            environ = {**os.environ, "EVENTRUNNER_URL": platform.url, "EVENTRUNNER_KEY": keys["live"]}
            arguments = [sys.executable, "-m", "eventrunner", "tail", "live", "--limit", "20", "--json"]
            tail = await asyncio.create_subprocess_exec(*arguments, env=environ, stdout=asyncio.subprocess.PIPE)
            reading = asyncio.create_task(tail.communicate())
            for start in range(0, 1000, 10):
                await send(platform, keys["live"], range(start, start + 10))
                await asyncio.wait([reading], timeout=0.3)
                if reading.done():
                    break
            output, _ = await reading
            assert tail.returncode == 0
            assert len({json.loads(line)["id"] for line in output.splitlines()}) == 20

    asyncio.run(run())
