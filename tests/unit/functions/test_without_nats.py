"""Functions that are started while NATS is away: every request is told so, none costs more than the one before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from eventrunner.access.identity import Identity
from eventrunner.events import Event, encode_batch
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.records import TENANTS, Tenant
from eventrunner.storage.registry import Registry
from support_identity import JWKS, sign
from support_nats import NatsServer, eventually, free_port

_ROOT = Path(__file__).parents[3]
_BODY = encode_batch([Event(id="1", source="/s", type="t", tenantid="acme")])
_WAVE = 4
"""Requests at once: no more than the threads that a function has here."""


@contextlib.contextmanager
def _function(name: str, folder: Path, nats_url: str) -> Iterator[tuple[int, str]]:
    """A running function: the process group of its server, and its URL."""
    port = free_port()
    env = os.environ | {
        "EVENTRUNNER_NATS_URL": nats_url,
        "EVENTRUNNER_STORE_URL": f"sqlite:///{folder}/events.db",
        "EVENTRUNNER_GATEWAY_JWKS": JWKS,
        "THREADS": str(_WAVE + 1),
        "TMPDIR": str(folder),
    }
    arguments = ["--target=main", f"--source={_ROOT}/functions/{name}/main.py", "--host=127.0.0.1", f"--port={port}"]
    if name == "ingest_http":
        arguments.append("--asgi")
    command = [sys.executable, "-m", "eventrunner.local.function_process", *arguments]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as process:
        try:
            yield process.pid, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _threads(pid: int) -> int:
    """Threads of the server's worker."""
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return len(os.listdir(f"/proc/{worker}/task"))


class _Caller:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url + "/api/v1/events"

    async def is_up(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(self._url.replace("/api/v1/events", "/healthz")) as response:
                return response.status == 200
        return False

    async def call(self) -> tuple[int, str, str]:
        """Status, Retry-After and body."""
        identity = Identity("ann", "acme", ("event_publisher",))
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "Authorization": "Bearer " + sign(identity),
        }
        async with self._session.post(self._url, data=_BODY, headers=headers) as response:
            return response.status, response.headers.get("Retry-After", ""), await response.text()

    async def wave(self) -> list[tuple[int, str, str]]:
        return await asyncio.gather(*(self.call() for _ in range(_WAVE)))

    async def succeeds(self) -> bool:
        return (await self.call())[0] in (200, 202)


@contextlib.asynccontextmanager
async def _caller(url: str) -> AsyncIterator[_Caller]:
    async with aiohttp.ClientSession() as session:
        caller = _Caller(session, url)
        await eventually(caller.is_up)
        yield caller


async def _provision(url: str) -> None:
    client = await connect(url, name="test")
    await apply_streams(JetStreamApi(client), read_streams([_ROOT / "knative/base/streams.yaml"]))
    registry = await Registry.connect(url)
    await registry.put(TENANTS, "acme", Tenant(id="acme").to_json())
    await registry.close()
    await client.close()


@pytest.mark.parametrize("name", ["ingest_http", "event_runner", "event_engine"])
def test_a_function_that_finds_no_nats_says_so_and_works_when_it_is_there(name: str, tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")

    async def run(pid: int, url: str) -> None:
        async with _caller(url) as caller:
            started = time.monotonic()
            answers = await caller.wave()
            # All wait for the same attempt, not each for its own.
            assert time.monotonic() - started < 9
            threads = _threads(pid)
            answers += await caller.wave()
            assert {(status, after) for status, after, _ in answers} == {(503, "1")}
            assert not [text for _, _, text in answers if str(server.port) in text]
            # The server starts its threads as it needs them, and may have had no need of the last one before.
            assert _threads(pid) <= threads + 1
            server.start()
            await _provision(server.url)
            await eventually(caller.succeeds, 20)

    try:
        with _function(name, tmp_path, server.url) as (pid, url):
            asyncio.run(run(pid, url))
    finally:
        server.stop()
