"""The real Oathkeeper, with our files, lets through and refuses what the local gateway does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from eventrunner.local.data_dir import DataDir
from support_nats import eventually
from support_oathkeeper import ISSUER_KEYS, oathkeeper
from support_opa import opa_server

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


async def published(url: str, bearer: str) -> int:
    """The status that one event is answered with."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/v1/events?type=t", data=b"{}\n", headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


def test_the_whole_request_matrix_is_answered_as_everywhere(tmp_path: Path) -> None:
    async def test(url: str, ready: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "eventrunner", "doctor", "gateway", "--json", "--url", url]
        environ = {**os.environ, "EVENTRUNNER_URL": url, "EVENTRUNNER_KEY": ready["admin_key"]}
        done = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=400, check=False
        )
        report = json.loads(done.stdout)
        assert (report["wrong"], done.returncode) == ([], 0)
        assert report["requests"] > 300

    run(tmp_path, test)


def test_a_token_of_the_identity_provider_is_its_holders_identity(tmp_path: Path) -> None:
    key = jwt.PyJWK(json.loads(ISSUER_KEYS)["keys"][0])
    now = int(time.time())
    good = {
        "iss": "https://login.eventrunner.dev/",
        "aud": "eventrunner-api",
        "sub": "alice",
        "tenant": "acme",
        "roles": ["user"],
        "exp": now + 300,
    }

    def token(**changes: object) -> str:
        return jwt.encode({**good, **changes}, key.key, "ES256", headers={"kid": "login"})

    async def test(url: str, ready: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {ready['admin_key']}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session:
            for tenant in ("acme", "globex"):
                async with session.put(f"{url}/api/v1/tenants/{tenant}", data=b"{}", headers=headers) as answer:
                    assert answer.status == 201
        injected = 'x", "tenant": "globex", "roles": ["admin"], "y": "'
        for changes, tenant, expected in (
            ({}, "acme", 200),
            ({}, "globex", 403),
            ({"sub": injected}, "acme", 200),
            ({"sub": injected}, "globex", 403),
            ({"tenant": injected}, "globex", 403),
            ({"roles": ["event_publisher"]}, "acme", 403),
            ({"roles": "admin"}, "globex", 403),
            ({"roles": []}, "acme", 403),
            ({"aud": "elsewhere"}, "acme", 401),
            ({"iss": "https://elsewhere.example/"}, "acme", 401),
            ({"exp": now - 300}, "acme", 401),
        ):
            assert (changes, await status(url, f"/api/v1/events/{tenant}", token(**changes))) == (changes, expected)
        # Publishing names no tenant, so the authorizer allows it to any; what is signed must not be another one's.
        for tenant, expected in (("acme", 202), (injected, 403)):
            bearer = token(tenant=tenant, roles=["event_publisher"])
            assert (tenant, await published(url, bearer)) == (tenant, expected)

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
