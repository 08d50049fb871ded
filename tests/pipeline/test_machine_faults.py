"""What the machine does to a platform: the message store stops or dies, the disk is full."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.processes import sample_tree
from eventrunner.cli.provision import provision
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.stores import open_store

from tests.support import small_disk

pytestmark = pytest.mark.pipeline


def _nats_pid(platform: RunningPlatform) -> int:
    (pid,) = (sample.pid for sample in sample_tree(platform.pid) if sample.part == "nats-server")
    return pid


def _body(first: int, count: int, size: int = 10) -> bytes:
    events = [
        {"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "t", "data": os.urandom(size).hex()}
        for n in range(first, first + count)
    ]
    return b"\n".join(json.dumps(event).encode() for event in events)


class _Sender:
    def __init__(self, platform: RunningPlatform, session: aiohttp.ClientSession, key: str) -> None:
        self._url = f"{platform.url}/api/v1/events"
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

    async def send(self, body: bytes) -> tuple[int, aiohttp.ClientResponse]:
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            await response.read()
            return response.status, response

    async def send_at_last(self, body: bytes) -> None:
        """As a client does that heeds 503."""
        async with asyncio.timeout(60):
            while (await self.send(body))[0] != 202:
                await asyncio.sleep(0.3)


async def _until_all_is_there(platform: RunningPlatform, count: int) -> None:
    store, analytics = open_store(f"sqlite:///{platform.data_dir / 'events.db'}"), Analytics(platform.clickhouse)
    try:
        await asyncio.to_thread(analytics.migrate)
        async with asyncio.timeout(60):
            while await asyncio.to_thread(analytics.count, "acme") < count:
                await asyncio.sleep(0.2)
        assert store.count("acme") == analytics.count("acme") == count
    finally:
        store.close()
        analytics.close()


def test_events_are_refused_while_the_message_store_hangs_and_none_is_lost_or_doubled(tmp_path: Path) -> None:
    async def run(platform: RunningPlatform) -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            sender = _Sender(platform, session, (await provision(api, ["acme"], rules={}))["acme"])
            await sender.send_at_last(_body(0, 100))
            pid = _nats_pid(platform)
            os.kill(pid, signal.SIGSTOP)
            try:
                started = time.monotonic()
                # Several messages, of which none may be there without the others.
                body = _body(100, 3000)
                status, response = await sender.send(body)
                assert status == 503
                assert int(response.headers["Retry-After"]) >= 1
                assert response.content_type == "application/problem+json"
                assert time.monotonic() - started < 15
            finally:
                os.kill(pid, signal.SIGCONT)
            await sender.send_at_last(body)
            await _until_all_is_there(platform, 3100)

    with running_platform(tmp_path) as platform:
        asyncio.run(run(platform))


def test_what_was_accepted_survives_a_kill_of_the_message_store(tmp_path: Path) -> None:
    async def run(platform: RunningPlatform) -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            sender = _Sender(platform, session, (await provision(api, ["acme"], rules={}))["acme"])
            for number in range(20):
                await sender.send_at_last(_body(100 * number, 100))
                if number in (5, 12):
                    os.kill(_nats_pid(platform), signal.SIGKILL)
            await _until_all_is_there(platform, 2000)

    with running_platform(tmp_path) as platform:
        asyncio.run(run(platform))


def test_a_full_disk_takes_nothing_more_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "disk"

    async def run(platform: RunningPlatform) -> None:
        async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
            sender = _Sender(platform, session, (await provision(api, ["acme"], rules={}))["acme"])
            count, status = 0, 202
            while status == 202:
                assert count < 50_000, "the disk does not fill up"
                body = _body(count, 50, size=5000)
                status, _ = await sender.send(body)
                count += 50
            assert status == 503
            remount = await asyncio.create_subprocess_exec("mount", "-o", "remount,size=900m", str(folder))
            assert await remount.wait() == 0
            await sender.send_at_last(body)
            await _until_all_is_there(platform, count)

    with small_disk(folder, 50), running_platform(folder) as platform:
        asyncio.run(run(platform))
