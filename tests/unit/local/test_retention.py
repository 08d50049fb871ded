"""The regular sweep asks the API only when there is something to delete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from eventrunner.access.keys import make_key
from eventrunner.clock import utc_now
from eventrunner.local import retention
from eventrunner.storage.records import KEYS, TENANTS, Tenant
from eventrunner.storage.registry import Registry
from support_grpc import provision
from support_nats import eventually, nats_server


async def expired_key(registry: Registry) -> None:
    record = make_key("acme", ["user"])[1]
    record.expires = utc_now().timestamp() - 8 * 86_400
    await registry.put(KEYS, record.hash, record.to_json())


async def retention_of_a_tenant(registry: Registry) -> None:
    await registry.put(TENANTS, "acme", Tenant(id="acme", retention_days=1).to_json())


@pytest.mark.parametrize("make_work", [expired_key, retention_of_a_tenant])
def test_it_sweeps_when_there_is_something_to_delete(
    make_work: Callable[[Registry], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FIRST_SECONDS", 0.02)
    monkeypatch.setattr(retention, "_SECONDS", 0.02)
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.path} {request.headers['Authorization']}")
        return web.json_response({})

    async def body(nats_url: str) -> None:
        await provision(nats_url, ["acme"])
        registry = await Registry.connect(nats_url)
        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            sweeping = asyncio.create_task(retention.sweep_regularly(registry, session, url, "er_admin"))
            await asyncio.sleep(0.5)
            assert asked == []
            await make_work(registry)
            await eventually(lambda: bool(asked))
            sweeping.cancel()
            await asyncio.wait([sweeping])
        assert asked[0] == "POST /api/v1/retention/sweep Bearer er_admin"
        await runner.cleanup()
        await registry.close()

    with nats_server(tmp_path / "nats") as nats:
        asyncio.run(asyncio.wait_for(body(nats.url), 30))
