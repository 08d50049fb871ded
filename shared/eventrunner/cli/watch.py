"""Watches the tenants' result streams: an event on RESULTS is in the event store."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from eventrunner.events.packing import ENCODING, unpack
from eventrunner.storage.jetstream import connect, disconnect

__all__ = ["ResultWatch", "percentile"]


class _Id(msgspec.Struct):
    id: str


_decoder = msgspec.json.Decoder(list[_Id])
_UNPACK_LIMIT = 64 * 1024 * 1024


class ResultWatch:
    """Notes when each event of one tenant comes out of the event engine; an asynchronous context manager."""

    def __init__(self, nats_url: str, tenant: str) -> None:
        self._nats_url = nats_url
        self._tenant = tenant
        self._client: Client | None = None
        self.seen: dict[str, float] = {}
        """Event id → `time.perf_counter` at its first sight."""

    async def __aenter__(self) -> ResultWatch:
        self._client = await connect(self._nats_url, name="eventrunner watch")
        await self._client.subscribe(f"results.{self._tenant}", cb=self._note)
        await self._client.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await disconnect(self._client)

    async def _note(self, message: Msg) -> None:
        now = time.perf_counter()
        packed = (message.headers or {}).get("Content-Encoding") == ENCODING
        for event in _decoder.decode(unpack(message.data, _UNPACK_LIMIT) if packed else message.data):
            self.seen.setdefault(event.id, now)

    async def wait_for(self, count: int, timeout: float) -> None:
        """Returns when `count` events were seen. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while len(self.seen) < count:
                await asyncio.sleep(0.01)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
