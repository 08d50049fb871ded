"""A tenant's signed WebAssembly on a real `eventrunner dev`: deployed, fed, metered, at zero and back, removed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.provision import provision
from eventrunner.local.project import find_project
from eventrunner.storage.registry import Registry
from support_guests import component_guest, require_toolchain
from support_nats import eventually
from support_wasm import signed, signing_key
from yarl import URL

pytestmark = pytest.mark.pipeline

_SECONDS = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """The project itself, but that consumers go to zero after seconds."""
    require_toolchain()
    folder, project = tmp_path_factory.mktemp("platform"), find_project()
    for name in ("functions", "policies", "rules"):
        (folder / name).symlink_to(project.root / name)
    shutil.copytree(project.manifests.parent, folder / "knative")
    template = folder / "knative" / "templates" / "tenant-consumer.yaml"
    template.write_text(template.read_text().replace("window: 30s", "window: 6s"))
    with running_platform(folder / "data", arguments=("--manifests", str(folder / "knative" / "base"))) as running:
        yield running


class Tenants:
    """Both tenants' requests to the public port, and the administrator's."""

    def __init__(
        self, platform: RunningPlatform, api: Api, keys: dict[str, str], session: aiohttp.ClientSession
    ) -> None:
        self.api = api
        self.platform = platform
        self._keys = keys
        self._session = session

    async def send(self, tenant: str, type: str, *ids: str) -> None:
        events = [{"specversion": "1.0", "id": id, "source": "/shop", "type": type, "data": {"a": 1}} for id in ids]
        headers = {
            "Authorization": f"Bearer {self._keys[tenant]}",
            "Content-Type": "application/cloudevents-batch+json",
        }
        url = f"{self.platform.url}/api/v1/events"
        async with self._session.post(url, data=json.dumps(events), headers=headers) as response:
            assert response.status == 202, await response.text()

    async def events(self, tenant: str, type: str) -> list[dict[str, Any]]:
        found = await self.api.call("GET", f"/api/v1/events/{tenant}?type={type}&limit=1000")
        events: list[dict[str, Any]] = found["events"]
        return events

    async def causes(self, tenant: str, type: str) -> list[str]:
        return sorted(event["causeid"] for event in await self.events(tenant, type))

    async def status(self) -> dict[str, Any]:
        found = await self.api.call("GET", "/api/v1/consumers/acme/maker")
        status: dict[str, Any] = found["status"]
        return status

    async def letters(self) -> list[dict[str, Any]]:
        found = await self.api.call("GET", "/api/v1/dead-letters/acme")
        letters: list[dict[str, Any]] = found["dead_letters"]
        return letters


@contextlib.asynccontextmanager
async def tenants(platform: RunningPlatform) -> AsyncIterator[Tenants]:
    async with Api(Connection(platform.url, platform.admin_key)) as api, aiohttp.ClientSession() as session:
        keys = await provision(api, ["acme", "globex"], rules={})
        yield Tenants(platform, api, keys, session)


def environments() -> Iterator[str]:
    """Of this machine's process groups."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and os.getpgid(int(folder.name)) == int(folder.name):
                yield (folder / "environ").read_bytes().decode(errors="replace")


def processes() -> list[str]:
    """Consumers that have a process."""
    entries = (entry for text in environments() for entry in text.split("\0"))
    return [entry for entry in entries if entry.startswith("EVENTRUNNER_CONSUMER=")]


async def durables(platform: RunningPlatform) -> list[str]:
    registry = await Registry.connect(platform.nats)
    try:
        answer = await registry.client.request("$JS.API.CONSUMER.NAMES.RESULTS", b"", timeout=5)
        return json.loads(answer.data).get("consumers") or []
    finally:
        await registry.close()


def test_a_signed_guest_gets_its_tenants_events_and_nobody_elses(platform: RunningPlatform) -> None:
    asyncio.run(_journey(platform))


async def _journey(platform: RunningPlatform) -> None:
    async with tenants(platform) as both:
        await _deploy(both)
        await _is_fed(both)
        await _fails_and_is_replayed(both)
        await _goes_to_zero_and_comes_back(both)
        await _is_removed(both, platform)


async def _deploy(both: Tenants) -> None:
    await both.send("acme", "shop.derive", "before")
    await eventually(lambda: _arrived(both, "acme", "shop.derive", 1), _SECONDS)
    await both.api.call("POST", "/api/v1/signing-keys/acme", {"public_key": signing_key().to_text()})
    path = "/api/v1/consumers/acme/maker?type=shop.derive&type=shop.refuse"
    await both.api.call("PUT", path, content=("application/wasm", signed(component_guest())))
    await eventually(lambda: _is(both, state="ready"), _SECONDS)


async def _is_fed(both: Tenants) -> None:
    wanted = sorted(f"{number:02}" for number in range(40))
    for start in range(0, 40, 10):
        await asyncio.gather(
            both.send("acme", "shop.derive", *wanted[start : start + 10]),
            both.send("globex", "shop.derive", *wanted[start : start + 10]),
            both.send("acme", "shop.other", f"other{start}"),
        )
    await eventually(lambda: _arrived(both, "acme", "shop.derive.made", 40), _SECONDS)
    assert await both.causes("acme", "shop.derive.made") == wanted
    made = (await both.events("acme", "shop.derive.made"))[0]
    # A new instance for each event has had one call.
    assert (made["data"], made["causeconsumer"], made["tenantid"]) == (1, "maker", "acme")
    await eventually(lambda: _is(both, handled=40, failed=0), _SECONDS)
    _knows_no_secret(both.platform)
    assert await both.events("globex", "shop.derive.made") == []


def _knows_no_secret(platform: RunningPlatform) -> None:
    """Whatever gets out of a guest finds no key to NATS, the gateway or another part in its process's environment."""
    environ = next(text for text in environments() if "EVENTRUNNER_CONSUMER=acme/maker\0" in text)
    names = {entry.partition("=")[0] for entry in environ.split("\0") if entry.startswith("EVENTRUNNER_")}
    assert names.isdisjoint({"EVENTRUNNER_NATS_URL", "EVENTRUNNER_STORE_URL", "EVENTRUNNER_CLICKHOUSE_URL"})
    token = URL(platform.nats).user
    assert token
    for secret in (token, platform.admin_key, '"d"'):
        assert secret not in environ


async def _fails_and_is_replayed(both: Tenants) -> None:
    await both.send("acme", "shop.refuse", "bad")
    await eventually(lambda: _has_letters(both, 1), _SECONDS)
    (letter,) = await both.letters()
    assert (letter["stage"], letter["event_id"], letter["code"]) == ("consumer-maker", "bad", 422)
    await both.api.call("POST", f"/api/v1/dead-letters/acme/{letter['id']}/replay")
    await eventually(lambda: _is_another(both, letter), _SECONDS)
    (again,) = await both.letters()
    assert (again["event_id"], again["first"]) == ("bad", letter["first"])
    assert again["attempts"] > letter["attempts"]
    await eventually(lambda: _is(both, handled=40, failed=1), _SECONDS)


async def _goes_to_zero_and_comes_back(both: Tenants) -> None:
    await eventually(lambda: _is(both, replicas=0, state="ready"), _SECONDS)
    await eventually(lambda: "EVENTRUNNER_CONSUMER=acme/maker" not in processes(), _SECONDS)
    await both.send("acme", "shop.derive", "later")
    await eventually(lambda: _arrived(both, "acme", "shop.derive.made", 41), _SECONDS)
    assert "later" in await both.causes("acme", "shop.derive.made")


async def _is_removed(both: Tenants, platform: RunningPlatform) -> None:
    assert "acme=maker" in await durables(platform)
    await both.api.call("DELETE", "/api/v1/consumers/acme/maker")
    await eventually(lambda: _is_gone(platform), _SECONDS)
    await both.send("acme", "shop.derive", "after")
    await eventually(lambda: _arrived(both, "acme", "shop.derive", 43), _SECONDS)
    assert len(await both.events("acme", "shop.derive.made")) == 41


async def _arrived(both: Tenants, tenant: str, type: str, count: int) -> bool:
    return len(await both.events(tenant, type)) >= count


async def _is(both: Tenants, **wanted: Any) -> bool:
    status = await both.status()
    return {name: status[name] for name in wanted} == wanted


async def _has_letters(both: Tenants, count: int) -> bool:
    return len(await both.letters()) == count


async def _is_another(both: Tenants, letter: dict[str, Any]) -> bool:
    return [item["id"] for item in await both.letters()] not in ([], [letter["id"]])


async def _is_gone(platform: RunningPlatform) -> bool:
    files = list((platform.data_dir / "sources").glob("*.yaml"))
    is_running = "EVENTRUNNER_CONSUMER=acme/maker" in processes()
    return not files and not is_running and "acme=maker" not in await durables(platform)
