"""A port for a service that does not speak HTTP/1.1: whole connections go to a replica, started if there is none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from eventrunner.errors import Unavailable
from eventrunner.local.ports import HOST
from eventrunner.local.revision import Revision

__all__ = ["TcpFront"]

_log = logging.getLogger(__name__)
_CHUNK: Final = 256 * 1024


class TcpFront:
    """A connection counts as one request for as long as it is open."""

    def __init__(self, revision: Revision) -> None:
        self._revision = revision
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Host and port."""
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=_CHUNK)
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (Unavailable, OSError) as error:
            _log.warning("%s: a connection was not served: %s", self._revision.service.name, error)
        finally:
            self._connections.discard(task)
            await _close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = await self._revision.acquire()
        try:
            back, forth = await asyncio.open_connection(HOST, replica.port, limit=_CHUNK)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, forth))
                    group.create_task(_pump(back, writer))
            except* OSError as errors:
                _log.debug("%s: a connection broke: %s", self._revision.service.name, errors.exceptions)
            finally:
                await _close(forth)
        finally:
            self._revision.release(replica)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
