"""A running function `tenant_consumer` for tests, over a real nats-server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from eventrunner.access.identity import make_keys
from eventrunner.access.senders import SourceSigner, audience_of
from eventrunner.http_server import Server
from eventrunner.source.consumer_desk import ConsumerDesk
from eventrunner.source.tenant_consumers import kubernetes_name
from eventrunner.storage.jetstream import connect, disconnect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore, module_name
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, Consumer, StoredModule, tenant_key
from support_nats import eventually, free_port
from support_wasm import register_key, signed, signing_key

__all__ = [
    "KEY_SET",
    "NAMESPACE",
    "SIGNER",
    "ConsumerFunction",
    "audience",
    "consumer_desk",
    "consumer_function",
    "deploy",
    "revoke",
]

ROOT = Path(__file__).parents[1]
NAMESPACE = "eventrunner"
KEY_SET = make_keys("source")
SIGNER = SourceSigner(KEY_SET)


def audience(tenant: str, name: str) -> str:
    """Of a consumer's Service."""
    return audience_of("serving.knative.dev/v1", "Service", NAMESPACE, kubernetes_name(tenant, name))


@contextlib.asynccontextmanager
async def consumer_desk(nats_url: str) -> AsyncIterator[str]:
    """The URL of a desk that believes `SIGNER`."""
    client = await connect(nats_url, name="desk")
    desk = ConsumerDesk(client, SIGNER.public_keys, NAMESPACE)
    runner = web.ServerRunner(Server(desk.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await disconnect(client)


def deploy(nats_url: str, code: bytes, **settings: Any) -> Consumer:
    """Signs the code, and stores it, the key and the record of acme's consumer `test`, as the API does."""
    mirror = Mirror(nats_url, (CONSUMERS, SIGNING_KEYS))
    code = signed(code)
    try:
        register_key(mirror, "acme")
        ModuleStore(mirror).keep(code)
        stored = StoredModule(module_name(code), len(code), "component", [], [])
        consumer = Consumer("acme", "test", "acme=test", module=stored, **settings)
        mirror.put(CONSUMERS, tenant_key("acme", "test"), consumer.to_json())
        return consumer
    finally:
        mirror.close()


def revoke(nats_url: str) -> None:
    """The key with which `deploy` signs."""
    mirror = Mirror(nats_url, (SIGNING_KEYS,))
    try:
        mirror.purge(SIGNING_KEYS, tenant_key("acme", signing_key().id))
    finally:
        mirror.close()


class ConsumerFunction:
    """The function of acme's consumer `test`."""

    def __init__(self, url: str, session: aiohttp.ClientSession, log: Path) -> None:
        self.url = url
        self._session = session
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def post(self, body: bytes) -> tuple[int, str, dict[str, str]]:
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "Authorization": SIGNER.header(audience("acme", "test")),
        }
        async with self._session.post(self.url, data=body, headers=headers) as response:
            return response.status, await response.text(), dict(response.headers)

    async def is_up(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(f"{self.url}healthz") as response:
                return response.status == 200
        return False


@contextlib.asynccontextmanager
async def consumer_function(nats_url: str, folder: Path) -> AsyncIterator[ConsumerFunction]:
    port, log = free_port(), folder / "function.log"
    async with consumer_desk(nats_url) as desk_url, aiohttp.ClientSession() as session:
        with _process(desk_url, folder, port, log):
            function = ConsumerFunction(f"http://127.0.0.1:{port}/", session, log)
            await eventually(function.is_up, 30)
            yield function


@contextlib.contextmanager
def _process(desk_url: str, folder: Path, port: int, log: Path) -> Iterator[None]:
    env = os.environ | {
        "EVENTRUNNER_CONSUMER_DESK_URL": desk_url,
        "EVENTRUNNER_CONSUMER": "acme/test",
        "EVENTRUNNER_SINK_JWKS": SIGNER.public_keys,
        "EVENTRUNNER_SINK_AUDIENCE": audience("acme", "test"),
        "EVENTRUNNER_MODULE_CACHE": str(folder / "modules"),
        "THREADS": "3",
        "TMPDIR": str(folder),
    }
    main = ROOT / "functions" / "tenant_consumer" / "main.py"
    arguments = ["--target=main", f"--source={main}", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "eventrunner.local.function_process", *arguments]
    with log.open("wb") as file, subprocess.Popen(command, env=env, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
