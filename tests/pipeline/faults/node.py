"""A Cassandra node that can be killed and started again over its folder."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from eventrunner.errors import Unavailable
from eventrunner.local.ports import free_port

__all__ = ["CassandraNode"]

_TOOL: Final = Path(__file__).parents[3] / "tools" / "cassandra-up"


@dataclass(slots=True)
class CassandraNode:
    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"cassandra://127.0.0.1:{self.port}/faults"

    async def start(self) -> None:
        """Returns when it answers. Raises Unavailable."""
        command = [sys.executable, str(_TOOL), str(self.folder), "--port", str(self.port)]
        self._process = process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if not await asyncio.to_thread(process.stdout.readline):
            raise Unavailable(f"Cassandra does not start; see {self.folder}")

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
