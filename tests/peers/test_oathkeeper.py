"""The real Oathkeeper, with our files, lets through and refuses what the local gateway does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eventrunner.local.data_dir import DataDir
from support_nats import eventually
from support_oathkeeper import oathkeeper
from support_opa import opa_server
from support_signed_tokens import check_gateway

from tests.unit.local.test_dev import running

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]


def run(folder: Path, test: Callable[[str, dict[str, Any]], Awaitable[None]]) -> None:
    """With the base URL of Oathkeeper and the ready line of a platform whose stores it shares."""

    async def body(ready: dict[str, Any], opa_url: str) -> None:
        settings = {
            "EVENTRUNNER_NATS_URL": ready["nats"],
            "EVENTRUNNER_CLICKHOUSE_URL": ready["clickhouse"],
            "EVENTRUNNER_STORE_URL": DataDir(folder / "data").store_url,
            "EVENTRUNNER_STREAM_REPLICAS": "1",
        }
        async with oathkeeper(folder / "oathkeeper", settings, opa_url) as url:
            await eventually(lambda: knows(url, ready["admin_key"]), 30)
            await test(url, ready)

    with running(folder / "data") as (_, ready), opa_server(folder) as opa_url:
        asyncio.run(asyncio.wait_for(body(ready, opa_url), 500))


async def knows(url: str, bearer: str) -> bool:
    return await status(url, "/api/v1/plans/standard", bearer) == 200


async def status(url: str, path: str, bearer: str) -> int:
    headers = {"Authorization": f"Bearer {bearer}"}
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as answer:
        await answer.read()
        return answer.status


def test_keys_and_signed_tokens_are_answered_as_everywhere(tmp_path: Path) -> None:
    async def test(url: str, ready: dict[str, Any]) -> None:
        report = await asyncio.to_thread(check_gateway, url, ready["admin_key"], tmp_path)
        assert report["requests"] > 300

    run(tmp_path, test)


def test_who_is_over_the_quota_is_told_at_once_when_to_come_back(tmp_path: Path) -> None:
    """By ingest: a 429 of the authorizer is repeated by Oathkeeper, as late as its Retry-After says."""

    async def test(url: str, ready: dict[str, Any]) -> None:
        admin = {"Authorization": f"Bearer {ready['admin_key']}"}
        async with aiohttp.ClientSession() as session:
            quota = {"quota": {"events_per_second": 1, "bytes_per_second": 10**9}}
            async with session.put(f"{url}/api/v1/tenants/acme", json=quota, headers=admin) as answer:
                assert answer.status == 201
            roles = {"roles": ["event_publisher"]}
            async with session.post(f"{url}/api/v1/tenants/acme/keys", json=roles, headers=admin) as answer:
                key = (await answer.json())["key"]
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}

            async def send() -> tuple[int, int, float]:
                """Status, Retry-After and how long it took."""
                started = time.monotonic()
                async with session.post(f"{url}/api/v1/events?type=t", data=b"{}\n" * 100, headers=headers) as answer:
                    await answer.read()
                    return answer.status, int(answer.headers.get("Retry-After", "0")), time.monotonic() - started

            async def is_over() -> bool:
                return (await send())[0] == 429

            await eventually(is_over, 30)
            # By now every part that counts has heard of it.
            await asyncio.sleep(1)
            status, after, seconds = await send()
            assert (status, after > 60, seconds < 5) == (429, True, True)

    run(tmp_path, test)
