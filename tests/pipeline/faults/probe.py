"""Says when events flow again from end to end: through both ways in, all stages, ClickHouse, metering, both APIs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Final

import aiohttp
import grpc
from eventrunner.clock import utc_now

from tests.pipeline.faults.target import Target
from tests.support_grpc import GrpcClient

__all__ = ["PROBE_TENANT", "Probe", "Stuck"]

PROBE_TENANT: Final = "probe"
_PATIENCE: Final = 120.0
_POLL: Final = 0.1
_EVENTS: Final = 3
"""Of each pass."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=3)


class Stuck(Exception):
    """Events do not come through."""


class Probe:
    def __init__(self, target: Target, key: str) -> None:
        self._target = target
        self._key = key
        self._headers = {"Authorization": f"Bearer {key}"}
        self._sent = 0
        self._last_answer = ""
        now = utc_now()
        span = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - timedelta(days=2), now + timedelta(days=2))]
        self._usage = f"/api/v1/usage/{PROBE_TENANT}?from={span[0]}&to={span[1]}"

    async def pass_through(self) -> None:
        """Sends an event that is stored and one that a rule drops over HTTP, and one over gRPC; returns when all are
        seen. Raises Stuck."""
        self._sent += 1
        id = f"probe-{self._sent}"
        event = '{"specversion":"1.0","id":"%s","source":"/probe","type":"%s","data":{}}'
        body = "\n".join((event % (id, "probe"), event % (f"{id}-dropped", "ping"))).encode()
        call = (event % (f"{id}-grpc", "probe")).encode()
        stage = "accepted by ingest"
        try:
            async with asyncio.timeout(_PATIENCE):
                while not await self._post(body):
                    await asyncio.sleep(_POLL)
                stage = "accepted by ingest over gRPC"
                while not await self._call(call):
                    await asyncio.sleep(_POLL)
                stage = "counted by usage"
                while await self._used() < _EVENTS * self._sent:
                    await asyncio.sleep(_POLL)
                stage = "found in the event store"
                while await self._get(f"/api/v1/events/{PROBE_TENANT}/{id}") is None:
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            reason = f"an event was not {stage} within {_PATIENCE:g} s; the last answer was {self._last_answer}"
            raise Stuck(reason) from None

    async def _post(self, body: bytes) -> bool:
        headers = {**self._headers, "Content-Type": "application/x-ndjson"}
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
                session.post(f"{self._target.url}/api/v1/events", data=body) as response,
            ):
                self._last_answer = f"{response.status} {await response.text()}"
                return response.status == 202
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._last_answer = repr(error)
            return False

    async def _call(self, event: bytes) -> bool:
        try:
            async with grpc.aio.insecure_channel(self._target.platform.grpc) as channel:
                await GrpcClient(channel, self._key).event(event, timeout=_TIMEOUT.total or 0)
        except grpc.aio.AioRpcError as error:
            self._last_answer = f"{error.code().name} {error.details()}"
            return False
        return True

    async def _used(self) -> int:
        answer = await self._get(self._usage)
        return 0 if answer is None else int(sum(Decimal(row["events"]) for row in answer["usage"]))

    async def _get(self, path: str) -> dict[str, list[dict[str, str]]] | None:
        """None for any answer but 200, and for none."""
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers) as session,
                session.get(f"{self._target.url}{path}") as response,
            ):
                self._last_answer = f"{response.status} {await response.text()}"
                return await response.json(content_type=None) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._last_answer = repr(error)
            return None
