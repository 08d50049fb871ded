"""A tenant that sends only poison fills its own share of the dead letters, and nobody else's time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.provision import provision
from eventrunner.cli.watch import ResultWatch

from tests.pipeline.faults.project import make_project

pytestmark = pytest.mark.pipeline

_LETTER_BYTES = 600_000
_BATCH = 20


def _small_letter_box(folder: Path) -> Path:
    manifests = make_project(folder, {}, "PT30S")
    path = manifests / "streams.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    for document in documents:
        if document["spec"].get("name") == "DEADLETTER":
            document["spec"]["maxBytes"] = _LETTER_BYTES
    path.write_text(yaml.safe_dump_all(documents))
    return manifests


class _Sender:
    def __init__(self, platform: RunningPlatform, session: aiohttp.ClientSession, key: str) -> None:
        self._url = f"{platform.url}/api/v1/events"
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self.accepted = 0

    async def send(self, *objects: dict[str, Any]) -> tuple[int, str]:
        body = b"\n".join(json.dumps(item).encode() for item in objects)
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            self.accepted += len(objects) if response.status == 202 else 0
            return response.status, await response.text()

    async def send_poison(self) -> tuple[int, str]:
        """Payloads of which no adapter makes events."""
        return await self.send(*({"number": self.accepted + n, "text": "x" * 500} for n in range(_BATCH)))

    async def send_poison_until_refused(self) -> str:
        async with asyncio.timeout(60):
            while True:
                status, answer = await self.send_poison()
                assert status in (202, 429), answer
                if status == 429:
                    return answer
                await asyncio.sleep(0.05)


def _event(id: str) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": {"n": 1}}


async def _letters(api: Api, tenant: str) -> dict[str, str]:
    """Event id → id of its letter."""
    page = await api.call("GET", f"/api/v1/dead-letters/{tenant}?limit=1000")
    assert page["next"] is None
    return {letter["event_id"]: letter["id"] for letter in page["dead_letters"]}


async def _until_letters(api: Api, tenant: str, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await _letters(api, tenant)) < count:
            await asyncio.sleep(0.1)


async def _take(api: Api, seen: set[str]) -> None:
    """Drops the letters that are there."""
    for event_id, letter in (await _letters(api, "bad")).items():
        await api.call("DELETE", f"/api/v1/dead-letters/bad/{letter}")
        seen.add(event_id)


async def _journey(platform: RunningPlatform) -> None:
    async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
        keys = await provision(api, ["bad", "good"], rules={})
        bad, good = (_Sender(platform, session, keys[tenant]) for tenant in ("bad", "good"))
        async with ResultWatch(platform.nats, "good") as watch:
            # Else all that is sent while the function starts comes at once.
            await bad.send_poison()
            await _until_letters(api, "bad", _BATCH)
            detail = json.loads(await bad.send_poison_until_refused())["detail"]
            assert "dead letters" in detail
            for number in range(0, 400, 20):
                assert (await good.send(*(_event(f"{n}") for n in range(number, number + 20))))[0] == 202
            assert (await good.send({"number": 1}))[0] == 202
            await watch.wait_for(400, 20)
            await _until_letters(api, "good", 1)
            problems = (await api.call("GET", "/api/v1/status"))["problems"]
            assert any(problem.startswith("Tenant bad has") for problem in problems)
        await _until_all_are_letters(api, bad)


async def _until_all_are_letters(api: Api, bad: _Sender) -> None:
    """Room is made twice; in the end there was a dead letter of each accepted payload."""
    seen: set[str] = set()
    for _ in range(2):
        async with asyncio.timeout(20):
            # What waited for the room may take all of it.
            await _take(api, seen)
            while (await bad.send_poison())[0] != 202:
                await asyncio.sleep(0.2)
                await _take(api, seen)
        await bad.send_poison_until_refused()
    async with asyncio.timeout(30):
        while len(seen) < bad.accepted:
            await _take(api, seen)
            await asyncio.sleep(0.3)
    assert len(seen) == bad.accepted


def test_one_tenants_poison_is_refused_at_last_and_others_go_on(tmp_path: Path) -> None:
    manifests = _small_letter_box(tmp_path / "project")
    with running_platform(tmp_path / "data", arguments=("--manifests", str(manifests))) as platform:
        asyncio.run(_journey(platform))
