"""Clients of several tenants, as they should be written: what is not acknowledged is sent again, with the same ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import aiohttp
import grpc

from tests.pipeline.faults.ledger import Ledger
from tests.pipeline.faults.target import Target
from tests.pipeline.faults.traffic import Batch
from tests.support_grpc import GrpcClient

__all__ = ["Load"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20)
_AGAIN: Final = 0.02
"""Share of the batches that are sent once more although they were acknowledged."""
_PAUSE: Final = 0.3
_GRPC_EVERY: Final = 20
"""One batch in so many of each tenant goes over gRPC."""
_TRY_AGAIN: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass(slots=True)
class Load:
    target: Target
    ledger: Ledger
    keys: Mapping[str, str]
    clients: int
    rate: float
    """Events a second, of all clients together."""
    random: Random

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends while the body runs; returns when everything that was begun is acknowledged."""
        stopping = asyncio.Event()
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._client(session, number, stopping))
            try:
                yield
            finally:
                stopping.set()

    async def send_first(self, tenant: str, batches: int) -> None:
        """As fast as they are taken; returns when they are acknowledged."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            for _ in range(batches):
                await self._send_at_last(session, self.ledger.hand_out(tenant))

    async def _client(self, session: aiohttp.ClientSession, number: int, stopping: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        interval = self.clients * self.ledger.traffic.size / self.rate
        turn = number
        while not stopping.is_set():
            tenant = self.ledger.tenants[turn % len(self.ledger.tenants)]
            turn += 1
            batch = self.ledger.hand_out(tenant)
            await self._send_at_last(session, batch)
            if self.random.random() < _AGAIN:
                await self._send_at_last(session, batch)
            # What was missed while the platform was away is not caught up with.
            due = max(due + interval, loop.time() - interval)
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _send_at_last(self, session: aiohttp.ClientSession, batch: Batch) -> None:
        body = batch.body
        while (wait := await self._send(session, batch, body)) is not None:
            await asyncio.sleep(wait)

    async def _send(self, session: aiohttp.ClientSession, batch: Batch, body: bytes) -> float | None:
        """None when the batch is acknowledged, else seconds until the next try."""
        if batch.number % _GRPC_EVERY == 1:
            return await self._call(batch)
        headers = {"Authorization": f"Bearer {self.keys[batch.tenant]}", "Content-Type": "application/x-ndjson"}
        answers = self.ledger.answers
        self.ledger.note_sent(batch)
        try:
            async with session.post(f"{self.target.url}/api/v1/events", data=body, headers=headers) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answers[type(error).__name__] += 1
            return _PAUSE
        answers[str(response.status)] += 1
        if response.status == 202:
            if f'"accepted":{len(batch.lines)},' not in text.replace(" ", ""):
                self.ledger.surprises.append(f"batch {batch.number} of {batch.tenant}: 202 {text[:300]}")
            self.ledger.note_acknowledged(batch)
            return None
        if response.status not in (429, 503):
            self.ledger.surprises.append(f"batch {batch.number} of {batch.tenant}: {response.status} {text[:300]}")
        return float(response.headers.get("Retry-After", _PAUSE))

    async def _call(self, batch: Batch) -> float | None:
        """The same over gRPC, event by event."""
        self.ledger.note_sent(batch)
        async with grpc.aio.insecure_channel(self.target.platform.grpc) as channel:
            client = GrpcClient(channel, self.keys[batch.tenant])
            calls = (client.event(line, timeout=20) for line in batch.lines)
            results = await asyncio.gather(*calls, return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            if not isinstance(error, grpc.aio.AioRpcError):
                raise error
            self.ledger.answers[f"gRPC {error.code().name}"] += 1
            if error.code() not in _TRY_AGAIN:
                self.ledger.surprises.append(f"batch {batch.number} of {batch.tenant}: {error.details()}")
        if errors:
            return _PAUSE
        self.ledger.answers["gRPC OK"] += 1
        self.ledger.note_acknowledged(batch)
        return None
