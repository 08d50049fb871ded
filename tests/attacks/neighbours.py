"""What a tenant's latency is while another tenant's consumer attacks: `python -m tests.attacks.neighbours [SECONDS]`.

A real platform; the quiet tenant sends 500 events/s, which come through the rules to RESULTS. The loud one has one
consumer after the other, which is handed its events and does one thing to each.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from eventrunner.cli.bench_neighbours import _quiet
from eventrunner.cli.connection import Api, Connection
from eventrunner.cli.platform_process import RunningPlatform, make_folder, running_platform
from eventrunner.cli.provision import provision, shipped_rules
from eventrunner.wasm.signing import SecretKey, sign

from tests.attacks.binaries import doubling_text
from tests.attacks.components import guest

__all__ = ["ATTACKS"]

_QUIET, _LOUD = "bench-quiet", "bench-loud"
_LOUD_RATE: Final = 50
"""Events a second that the loud tenant's consumer is handed."""
_SETTLING: Final = 3.0
"""Seconds until the attack is in full swing."""
_BOMB: Final = "code that its compiler never ends with"
_PATIENCE: Final = 90.0
"""Seconds for a consumer to be compiled and started."""
_GROW: Final = "(drop (memory.grow (i32.const 1000)))"
ATTACKS: Final[Mapping[str, bytes]] = {
    "a consumer that does nothing": guest(),
    "endless loop": guest(handle="(loop $l (br $l))"),
    "endless loop at the start": guest(start="(loop $l (br $l))"),
    "recursion": guest(handle="(call $recurse (i32.const 0))"),
    "memory bomb": guest(handle="(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"),
    "filling 60 MiB again and again": guest(
        handle=f"{_GROW} (loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 60000000)) (br $l))"
    ),
    "endless publishing": guest(handle="(loop $l (call $publish) (br $l))"),
    "trap": guest(handle="unreachable"),
    _BOMB: guest(before=doubling_text(40)),
}


@asynccontextmanager
async def _attack(
    platform: RunningPlatform, api: Api, key: str, code: bytes, patience: float
) -> AsyncIterator[dict[str, Any]]:
    """With the consumer running and being handed events; yields its record, when it is over, with its status."""
    made: dict[str, Any] = {}
    await api.call("PUT", f"/api/v1/consumers/{_LOUD}/attack", content=("application/wasm", code))
    sending = asyncio.create_task(_send(platform.url, key))
    try:
        await _until_ready(api, patience)
        await asyncio.sleep(_SETTLING)
        yield made
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        made.update(await api.call("GET", f"/api/v1/consumers/{_LOUD}/attack"))
        await api.call("DELETE", f"/api/v1/consumers/{_LOUD}/attack")


async def _until_ready(api: Api, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = await api.call("GET", f"/api/v1/consumers/{_LOUD}/attack")
        if found["status"]["state"] in ("ready", "failed"):
            return
        await asyncio.sleep(0.2)


async def _send(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    started, sent = time.monotonic(), 0
    async with aiohttp.ClientSession() as session:
        while True:
            line = b'{"specversion":"1.0","id":"%d","source":"/loud","type":"bench.loud","data":{}}' % time.time_ns()
            async with session.post(f"{url}/api/v1/events", data=line, headers=headers) as response:
                await response.read()
            sent += 1
            await asyncio.sleep(max(0.0, started + sent / _LOUD_RATE - time.monotonic()))


async def _measure(platform: RunningPlatform, seconds: float) -> None:
    secret = SecretKey.generate()
    async with Api(Connection(platform.url, platform.admin_key)) as api:
        keys = await provision(api, [_QUIET, _LOUD], rules={"flights": shipped_rules("flights.grl")})
        await api.call("POST", f"/api/v1/signing-keys/{_LOUD}", {"public_key": secret.public.to_text(), "name": "x"})
        await _quiet(platform, keys[_QUIET], 1)
        _show("alone", await _quiet(platform, keys[_QUIET], seconds), "")
        for name, code in ATTACKS.items():
            patience = 0 if name == _BOMB else _PATIENCE
            async with _attack(platform, api, keys[_LOUD], sign(code, secret), patience) as consumer:
                latency = await _quiet(platform, keys[_QUIET], seconds)
            _show(name, latency, str(consumer.get("status")))
        _show("alone again", await _quiet(platform, keys[_QUIET], seconds), "")


def _show(name: str, latency: tuple[float, float], status: str) -> None:
    p50, p99 = (1000 * value for value in latency)
    print(f"| {name:40} | {p50:6.0f} | {p99:6.0f} | {status[:160]}", flush=True)


def main() -> None:
    folder = make_folder("attacks")
    try:
        print("| what the other tenant's consumer does    | p50 ms | p99 ms |")
        with running_platform(folder) as platform:
            asyncio.run(_measure(platform, float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
