"""The embedded ClickHouse: chdb in a process of its own, behind ClickHouse's HTTP interface."""

from __future__ import annotations

import sys

import aiohttp

from eventrunner.local.data_dir import DataDir
from eventrunner.local.ports import HOST, free_port, is_listening
from eventrunner.local.process import Command
from eventrunner.local.supervisor import Supervised

__all__ = ["ClickHouseServer"]

_PING_TIMEOUT = aiohttp.ClientTimeout(total=1)


class ClickHouseServer(Supervised):
    def __init__(self, data: DataDir, session: aiohttp.ClientSession) -> None:
        self._port = free_port()
        self._session = session
        self.url = f"http://{HOST}:{self._port}/eventrunner"
        module = "eventrunner.storage.chdb_server"
        command = Command(
            "clickhouse",
            (sys.executable, "-m", module, "--data", str(data.clickhouse), "--port", str(self._port)),
            data.logs / "clickhouse.log",
        )
        super().__init__(command, self._answers)

    async def _answers(self) -> bool:
        if not await is_listening(self._port):
            return False
        try:
            async with self._session.get(f"http://{HOST}:{self._port}/ping", timeout=_PING_TIMEOUT) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
