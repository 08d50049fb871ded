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
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore, module_name
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, Consumer, StoredModule, tenant_key
from support_nats import eventually, free_port
from support_wasm import register_key, signed, signing_key

__all__ = ["ConsumerFunction", "consumer_function", "deploy", "revoke"]

ROOT = Path(__file__).parents[1]


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
        headers = {"Content-Type": "application/cloudevents-batch+json"}
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
    with _process(nats_url, folder, port, log):
        async with aiohttp.ClientSession() as session:
            function = ConsumerFunction(f"http://127.0.0.1:{port}/", session, log)
            await eventually(function.is_up, 30)
            yield function


@contextlib.contextmanager
def _process(nats_url: str, folder: Path, port: int, log: Path) -> Iterator[None]:
    env = os.environ | {
        "EVENTRUNNER_NATS_URL": nats_url,
        "EVENTRUNNER_CONSUMER": "acme/test",
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
