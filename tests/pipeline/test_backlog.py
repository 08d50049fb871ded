"""Analytics are away for longer than what is read is kept, and for more than the streams hold."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.processes import sample_tree
from eventrunner.cli.provision import provision
from eventrunner.clock import utc_now
from eventrunner.storage.analytics import Analytics

from tests.pipeline.faults.project import make_project

pytestmark = pytest.mark.pipeline

_STREAM_BYTES = 250_000
_KEEP_SECONDS = 1
_BATCH = 50
_SHORT_OF = {"RAW", "EVENTS", "RESULTS"}


def _small_streams(folder: Path) -> Path:
    manifests = make_project(folder, {}, "PT30S")
    path = manifests / "streams.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    for document in documents:
        spec = document["spec"]
        if spec.get("name") in _SHORT_OF:
            spec["maxBytes"] = _STREAM_BYTES
        if spec.get("name") == "RESULTS":
            spec["metadata"] = {"eventrunner.dev/keep-read": f"{_KEEP_SECONDS}s"}
    path.write_text(yaml.safe_dump_all(documents))
    return manifests


def _body(first: int) -> bytes:
    """Of which no packing makes less."""
    events = [
        {"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "t", "data": os.urandom(300).hex()}
        for n in range(first, first + _BATCH)
    ]
    return b"\n".join(json.dumps(event).encode() for event in events)


async def _fill(url: str, key: str) -> int:
    """Sends until nothing more is taken; returns how many events were."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    taken, refused = 0, 0
    async with aiohttp.ClientSession() as session:
        while refused < 5:
            async with session.post(f"{url}/api/v1/events", data=_body(taken), headers=headers) as response:
                assert response.status in (202, 503), await response.text()
                taken += _BATCH if response.status == 202 else 0
                refused = 0 if response.status == 202 else refused + 1
            await asyncio.sleep(0.5 if refused else 0)
            assert taken < 100_000, "the streams do not fill up"
    return taken


async def _journey(platform: RunningPlatform) -> None:
    (clickhouse,) = (s.pid for s in sample_tree(platform.pid) if s.part == "clickhouse (chdb)")
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        key = (await provision(api, ["acme"], rules={}))["acme"]
        os.kill(clickhouse, signal.SIGSTOP)
        try:
            taken = await _fill(platform.url, key)
            await asyncio.sleep(2 * _KEEP_SECONDS)
            status = await api.call("GET", "/api/v1/status")
        finally:
            os.kill(clickhouse, signal.SIGCONT)
        (reason,) = (problem for problem in status["problems"] if problem.startswith("The stream RESULTS is full"))
        assert "analytics has not acked" in reason
        await _until_analysed(platform, taken)
        await _check(api, taken)


async def _until_analysed(platform: RunningPlatform, count: int) -> None:
    analytics = Analytics(platform.clickhouse)
    try:
        await asyncio.to_thread(analytics.migrate)
        async with asyncio.timeout(60):
            while await asyncio.to_thread(analytics.count, "acme") < count:
                await asyncio.sleep(0.2)
        assert analytics.count("acme") == count
    finally:
        analytics.close()


async def _check(api: Api, count: int) -> None:
    since, until = utc_now() - timedelta(days=1), utc_now() + timedelta(days=1)
    usage: dict[str, Any] = await api.call(
        "GET", f"/api/v1/usage/acme?from={since:%Y-%m-%dT%H:%M:%SZ}&to={until:%Y-%m-%dT%H:%M:%SZ}&window=month"
    )
    assert sum(Decimal(row["events"]) for row in usage["usage"]) == count
    # What a rebuild from the event store could not bring back.
    assert sum(Decimal(row["cpu_usage"]) for row in usage["usage"]) > 0
    invoice = await api.call("GET", "/api/v1/invoice/acme")
    assert sum(Decimal(line["quantity"]) for line in invoice["lines"] if line["meter"] == "events") == count


def test_nothing_is_missing_when_analytics_come_back_after_the_streams_were_full(tmp_path: Path) -> None:
    manifests = _small_streams(tmp_path / "project")
    with running_platform(tmp_path / "data", arguments=("--manifests", str(manifests))) as platform:
        asyncio.run(_journey(platform))
