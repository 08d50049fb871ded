"""The source adapter alone: single events of somebody else's producer, and a sink that is away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from aiohttp import web
from nats.aio.client import Client

from eventrunner.cli.processes import cpu_by_part
from eventrunner.local.ports import HOST, free_port
from eventrunner.source.streams import apply_streams, parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect

__all__ = ["SourceFigures", "measure_source"]

_STREAM = "BENCH"
_LIVE, _DEAD = "live", "dead"
_EVENTS = 100_000
_EVENT_BYTES = 300
_DEAD_SECONDS = 10.0


@dataclass(slots=True)
class SourceFigures:
    single_events_per_second: float
    """Messages of one event of 300 bytes each, to a sink that answers at once."""
    single_cpu: float
    """µs of the adapter's CPU per event."""
    beside_dead_per_second: float
    """The same, while another source's sink is away."""
    dead_percent_of_a_core: float
    """Of the adapter while its one busy source's sink is away."""


async def measure_source(nats_url: str, folder: Path) -> SourceFigures:
    """Runs an adapter of its own against the server, over a stream in memory."""
    client = await connect(nats_url, name="eventrunner bench")
    api = JetStreamApi(client)
    port = free_port()
    _write_sources(folder, f"http://{HOST}:{port}/", f"http://{HOST}:{free_port()}/")
    try:
        async with _sink(port), _stream(api):
            await _publish(client, _LIVE)
            rate, cpu = await _drain(api, nats_url, folder / "live.yaml")
            await _publish(client, _DEAD)
            await _publish(client, _LIVE)
            beside, _ = await _drain(api, nats_url, folder)
            with _adapter(nats_url, folder / "dead.yaml") as pid:
                await asyncio.sleep(3)
                before = _cpu(pid)
                await asyncio.sleep(_DEAD_SECONDS)
                dead = (_cpu(pid) - before) / _DEAD_SECONDS * 100
    finally:
        await disconnect(client)
    return SourceFigures(rate, cpu, beside, dead)


def _write_sources(folder: Path, live: str, dead: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sink in ((_LIVE, live), (_DEAD, dead)):
        source = {
            "apiVersion": "sources.eventrunner.dev/v1alpha1",
            "kind": "JetStreamSource",
            "metadata": {"name": name, "namespace": "bench"},
            "spec": {
                "stream": _STREAM,
                "filterSubject": f"bench.{name}.>",
                "batch": {"maxEvents": 500},
                "inFlight": 4,
                "sink": {"uri": sink},
            },
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(source))


@asynccontextmanager
async def _sink(port: int) -> AsyncIterator[None]:
    async def accept(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(accept, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _stream(api: JetStreamApi) -> AsyncIterator[None]:
    manifest = {
        "apiVersion": "jetstream.nats.io/v1beta2",
        "kind": "Stream",
        "metadata": {"name": "bench"},
        "spec": {"name": _STREAM, "subjects": ["bench.>"], "retention": "workqueue", "storage": "memory"},
    }
    await apply_streams(api, [parse_stream(manifest)])
    try:
        yield
    finally:
        await api.request(f"STREAM.DELETE.{_STREAM}")


async def _publish(client: Client, source: str) -> None:
    template = '{"specversion":"1.0","id":"%d","source":"/bench","type":"bench.one","tenantid":"acme","data":"%s"}'
    padding = "x" * (_EVENT_BYTES - len(template % (_EVENTS, "")))
    headers = {"Content-Type": "application/cloudevents+json"}
    for number in range(_EVENTS):
        await client.publish(f"bench.{source}.acme", (template % (number, padding)).encode(), headers=headers)
        if number % 1000 == 0:
            await client.flush(30)
    await client.flush(30)


async def _drain(api: JetStreamApi, nats_url: str, sources: Path) -> tuple[float, float]:
    """Events per second and µs of CPU per event of an adapter that works the live source's messages off."""
    with _adapter(nats_url, sources) as pid:
        started = before = 0.0
        async with asyncio.timeout(300):
            while True:
                await asyncio.sleep(0.02)
                info = await api.request(f"STREAM.INFO.{_STREAM}", {"subjects_filter": f"bench.{_LIVE}.>"})
                left = sum((info["state"].get("subjects") or {}).values())
                if not started and left < _EVENTS:
                    # From here on, so that the start of the process does not count.
                    started, before, there = time.perf_counter(), _cpu(pid), left
                if not left:
                    return there / (time.perf_counter() - started), (_cpu(pid) - before) / there * 1e6


@contextmanager
def _adapter(nats_url: str, sources: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "eventrunner", "source", "--sources", str(sources)]
    environ = {**os.environ, "EVENTRUNNER_NATS_URL": nats_url, "EVENTRUNNER_LOG_LEVEL": "error"}
    process = subprocess.Popen(command, env=environ)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _cpu(pid: int) -> float:
    return sum(cpu_by_part(pid).values())
