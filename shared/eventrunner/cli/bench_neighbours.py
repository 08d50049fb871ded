"""What one tenant's flood does to another tenant's latency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform
from eventrunner.cli.provision import provision
from eventrunner.cli.sender import Batch, cut
from eventrunner.cli.watch import ResultWatch, percentile
from eventrunner.events.packing import ENCODING, pack

__all__ = ["Neighbours", "measure_neighbours"]

_QUIET, _LOUD = "bench-quiet", "bench-loud"
_RATE, _SIZE = 500, 10
"""Events a second of the quiet tenant, and of them in a request."""
_QUOTA = 2_000
_FLOOD = 10
"""Times its quota, that the loud tenant offers."""
_FLOOD_SIZE = 500
_FLOOD_CONNECTIONS = 4


@dataclass(slots=True)
class Neighbours:
    """p50 and p99 of the seconds from the quiet tenant's sending of an event until it is stored."""

    alone: tuple[float, float]
    beside_quota: tuple[float, float]
    """While another tenant offers ten times its quota."""
    beside_flood: tuple[float, float]
    """While another tenant without a quota sends as fast as it is answered."""
    refused: int
    """Requests of the loud tenant answered 429."""


async def measure_neighbours(
    platform: RunningPlatform, rules: str, lines: Sequence[bytes], seconds: float
) -> Neighbours:
    """`lines` are what the loud tenant sends, again and again."""
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        keys = await provision(api, [_QUIET, _LOUD], rules={"flights": rules})
        flood = list(cut(lines, keys[_LOUD], _FLOOD_SIZE))
        await _quiet(platform, keys[_QUIET], 1)
        alone = await _quiet(platform, keys[_QUIET], seconds)
        quota = {"events_per_second": _QUOTA, "bytes_per_second": 2**30}
        await api.call("PUT", f"/api/v1/tenants/{_LOUD}", {"name": _LOUD, "quota": quota})
        beside_quota, refused = await _beside(platform, keys[_QUIET], seconds, flood, _QUOTA * _FLOOD)
        await api.call("PUT", f"/api/v1/tenants/{_LOUD}", {"name": _LOUD, "quota": None})
        beside_flood, _ = await _beside(platform, keys[_QUIET], seconds, flood, None)
    return Neighbours(alone, beside_quota, beside_flood, refused)


async def _beside(
    platform: RunningPlatform, key: str, seconds: float, flood: Sequence[Batch], rate: float | None
) -> tuple[tuple[float, float], int]:
    refused: list[int] = [0]
    flooding = asyncio.create_task(_flood(platform.url, flood, rate, refused))
    try:
        # The bucket's burst is spent first, and a backlog has come up.
        await asyncio.sleep(2)
        return await _quiet(platform, key, seconds), refused[0]
    finally:
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


async def _flood(url: str, batches: Sequence[Batch], rate: float | None, refused: list[int]) -> None:
    """Sends without heeding Retry-After. Identities repeat after one round, which costs as much as new ones or less."""
    bodies = [(pack(batch.body), batch) for batch in batches]
    started, sent = time.perf_counter(), 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_FLOOD_CONNECTIONS)) as session:

        async def work() -> None:
            nonlocal sent
            while True:
                body, batch = bodies[sent // _FLOOD_SIZE % len(bodies)]
                due = started + sent / rate if rate else 0.0
                sent += batch.count
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                headers = {
                    "Authorization": f"Bearer {batch.key}",
                    "Content-Type": "application/x-ndjson",
                    "Content-Encoding": ENCODING,
                }
                async with session.post(f"{url}/api/v1/events", data=body, headers=headers) as response:
                    refused[0] += response.status == 429

        async with asyncio.TaskGroup() as group:
            for _ in range(_FLOOD_CONNECTIONS):
                group.create_task(work())


async def _quiet(platform: RunningPlatform, key: str, seconds: float) -> tuple[float, float]:
    count = int(_RATE * seconds) // _SIZE * _SIZE
    run, started = time.time_ns(), time.perf_counter()
    sent: list[float] = []
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    target = f"{platform.url}/api/v1/events"
    async with ResultWatch(platform.nats, _QUIET) as watch, aiohttp.ClientSession() as session:

        async def send(first: int) -> None:
            lines = [
                b'{"specversion":"1.0","id":"%d-%d","source":"/bench","type":"bench.quiet","data":{}}' % (run, n)
                for n in range(first, first + _SIZE)
            ]
            async with session.post(target, data=b"\n".join(lines), headers=headers) as response:
                response.raise_for_status()

        async with asyncio.TaskGroup() as group:
            for first in range(0, count, _SIZE):
                await asyncio.sleep(max(0.0, started + first / _RATE - time.perf_counter()))
                sent.append(time.perf_counter())
                group.create_task(send(first))
        await watch.wait_for(count, timeout=60)
        latencies = [watch.seen[f"{run}-{n}"] - sent[n // _SIZE] for n in range(count)]
    return percentile(latencies, 0.5), percentile(latencies, 0.99)
