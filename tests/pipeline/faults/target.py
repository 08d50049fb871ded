"""The platform under test: the real `eventrunner dev` over one folder, started again when all of it was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from eventrunner.cli.connection import Api, ApiError, Connection
from eventrunner.cli.platform_process import RunningPlatform, running_platform
from eventrunner.cli.processes import ProcessSample, sample_tree
from eventrunner.errors import Unavailable

__all__ = ["Target"]

_PATIENCE: Final = 60.0
_AGAIN: Final = (429, 502, 503, 504)


@dataclass(slots=True)
class Target:
    folder: Path
    manifests: Path
    environ: Mapping[str, str]
    _running: ExitStack = field(init=False, default_factory=ExitStack)
    _platform: RunningPlatform | None = field(init=False, default=None)

    async def start(self) -> None:
        arguments = ("--manifests", str(self.manifests))
        platform = running_platform(self.folder, self.environ, arguments)
        self._platform = await asyncio.to_thread(self._running.enter_context, platform)

    async def stop(self) -> None:
        await asyncio.to_thread(self._running.close)

    async def kill(self) -> None:
        """All of it at once: what it started dies with it."""
        os.kill(self.platform.pid, signal.SIGKILL)
        await self.stop()

    @property
    def platform(self) -> RunningPlatform:
        assert self._platform is not None
        return self._platform

    @property
    def url(self) -> str:
        """Another one after each start, as behind a load balancer."""
        return self.platform.url

    def processes(self, part: str) -> list[ProcessSample]:
        """Those of a function, or of `nats-server`, `source adapter`, `clickhouse (chdb)`; parents first."""
        return sorted((sample for sample in sample_tree(self.platform.pid) if sample.part == part), key=lambda p: p.pid)

    def sink_url(self, service: str) -> str:
        """Where the adapter would post to if its manifest named no other address."""
        for process in self.processes("source adapter"):
            words = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
            for word in words:
                name, found, url = word.partition("=")
                if found and name == service:
                    return url
        raise Unavailable("the adapter does not run just now")

    def api(self) -> Api:
        return Api(Connection(self.url, self.platform.admin_key))

    async def insist(self, method: str, path: str, body: object = None, *, text: str | None = None) -> Any:
        """The decoded answer of the API, asked for until it comes. Raises ApiError for an answer that means no, and
        Unavailable."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                async with self.api() as api:
                    return await api.call(method, path, body, text=text)
            except ApiError as error:
                if error.http_status not in _AGAIN or time.monotonic() > deadline:
                    raise
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def ask(self, session: aiohttp.ClientSession, path: str) -> bytes:
        """An answer of the API, asked for until it comes. Raises Unavailable."""
        deadline = time.monotonic() + _PATIENCE
        headers = {"Authorization": f"Bearer {self.platform.admin_key}"}
        while True:
            try:
                async with session.get(f"{self.url}{path}", headers=headers) as response:
                    text = await response.read()
                if response.status == HTTPStatus.OK:
                    return text
                reason = f"{response.status} {text.decode(errors='replace')}"
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = repr(error)
            if time.monotonic() > deadline:
                raise Unavailable(f"{path}: {reason}")
            await asyncio.sleep(0.2)
