"""One signed file, a small consumer in C that publishes an event for each that it is handed: on our own host, and under
`wash host`, which makes an instance for each message as well."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from nats.aio.client import Client
from nats.aio.msg import Msg
from rich.console import Console
from rich.table import Table

from eventrunner.cli.consumer_build import build_project
from eventrunner.cli.guest_projects import write_project
from eventrunner.cli.processes import cpu_by_part
from eventrunner.cli.wash import Component, acknowledger, docker_registry, need_wash, push, wash_host
from eventrunner.local.ports import HOST, free_port, is_listening
from eventrunner.local.process import Command, spawn
from eventrunner.source.streams import apply_streams, parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Handled, Message
from eventrunner.wasm.signing import SecretKey, sign

__all__ = ["WasmcloudFigures", "measure_wasmcloud", "wasmcloud_table"]

_SUBJECT, _MADE = "results.bench.flight", "results.bench.flight.late"
_EVENT: Final = {
    "specversion": "1.0",
    "id": "2013-01-01-UA-1545-EWR",
    "source": "/bench",
    "type": "flight",
    "tenantid": "bench",
    "data": {"carrier": "UA", "flight": 1545, "origin": "EWR", "dest": "IAH", "dep_delay": 90, "arr_delay": 82},
}
_SECONDS: Final = 5.0
_AT_ONCE: Final = 32
"""Messages that wash has to work on; it lets a component of its have 33."""
_FROM_STREAM: Final = 500
_STREAM: Final = "BENCH"
_ASKED: Final = 10.0


@dataclass(slots=True)
class WasmcloudFigures:
    own_per_second: float
    """Events on one thread of our host, a fresh instance for each."""
    own_cpu: float
    """µs an event."""
    wash_per_second: float
    """Events for which the component under `wash host` has published; 32 at a time, handed over by NATS."""
    wash_cpu: float
    """µs an event, of the host's process."""
    wash_from_stream_per_second: float
    """Out of a stream, by a source with a sink of NATS, each event settled by the acknowledger's reply."""

    @property
    def ratio(self) -> float:
        return self.own_per_second / self.wash_per_second


def measure_wasmcloud(folder: Path, console: Console) -> WasmcloudFigures:
    """Raises Unavailable where wash or the registry is missing, ConfigurationError without the C compiler."""
    need_wash("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    consumer = folder / "consumer.wasm"
    write_project("c", "bench", folder / "project")
    consumer.write_bytes(sign(build_project(folder / "project").read_bytes(), SecretKey.generate()))
    console.print("our own host …")
    own = _own(consumer.read_bytes())
    console.print("wash host …")
    return WasmcloudFigures(*own, *asyncio.run(_wash(folder, consumer, acknowledger(folder / "acknowledger"))))


def _own(code: bytes) -> tuple[float, float]:
    """Events per second, and µs of CPU for each."""
    engine = shared_engine()
    host = Host(engine, load_guest(engine, ModuleCache(engine), code), Limits())
    message = Message(_SUBJECT, json.dumps(_EVENT).encode())
    count, before, started = 0, time.thread_time(), time.perf_counter()
    while (seconds := time.perf_counter() - started) < _SECONDS:
        call = host.handle(message)
        assert call.outcome == Handled(), call.outcome
        assert [item.subject for item in call.published] == [_MADE]
        count += 1
    return count / seconds, (time.thread_time() - before) / count * 1e6


async def _wash(folder: Path, consumer: Path, front: Path) -> tuple[float, float, float]:
    async with _nats(folder / "nats") as url, docker_registry(folder / "registry") as registry:
        image, front_image = [await push(folder / "push", registry, file) for file in (consumer, front)]
        client = await connect(url, name="eventrunner bench")
        try:
            async with wash_host(folder / "alone", url, [Component("consumer", image, _SUBJECT)]) as pid:
                alone = await _over_nats(client, pid)
            workload = [Component("acknowledger", front_image, _SUBJECT), Component("consumer", image)]
            async with wash_host(folder / "behind", url, workload):
                return *alone, await _from_stream(folder, client, url)
        finally:
            await disconnect(client)


async def _over_nats(client: Client, pid: int) -> tuple[float, float]:
    """A new message for each that has been published for. Events per second, and µs of the host's CPU for each."""
    body = json.dumps(_EVENT).encode()
    made = itertools.count(1)
    count = 0

    async def follow(_: Msg) -> None:
        nonlocal count
        count = next(made)
        await client.publish(_SUBJECT, body)

    subscription = await client.subscribe(_MADE, cb=follow)
    for _ in range(_AT_ONCE):
        await client.publish(_SUBJECT, body)
    await asyncio.sleep(1)
    before, cpu, started = count, _cpu(pid), time.perf_counter()
    await asyncio.sleep(_SECONDS)
    seconds, events = time.perf_counter() - started, count - before
    await subscription.unsubscribe()
    return events / seconds, (_cpu(pid) - cpu) / events * 1e6


def _cpu(pid: int) -> float:
    return sum(cpu_by_part(pid).values())


async def _from_stream(folder: Path, client: Client, url: str) -> float:
    api = JetStreamApi(client)
    spec = {"name": _STREAM, "subjects": ["bench.>"], "retention": "workqueue", "storage": "memory"}
    stream = {"apiVersion": "jetstream.nats.io/v1beta2", "kind": "Stream", "metadata": {"name": "bench"}, "spec": spec}
    await apply_streams(api, [parse_stream(stream)])
    for number in range(_FROM_STREAM):
        headers = {"Content-Type": "application/cloudevents+json"}
        body = json.dumps({**_EVENT, "id": str(number)}).encode()
        await client.jetstream().publish("bench.bench", body, headers=headers)
    sources = folder / "source.yaml"
    sources.write_text(yaml.safe_dump(_source(url)))
    command = (sys.executable, "-m", "eventrunner", "source", "--sources", str(sources))
    environ = {"EVENTRUNNER_NATS_URL": url, "EVENTRUNNER_LOG_LEVEL": "error"}
    adapter = await spawn(Command("source", command, folder / "source.log", environ))
    try:
        return await _drained(api)
    finally:
        await adapter.stop(30)


def _source(url: str) -> dict[str, Any]:
    spec = {
        "stream": _STREAM,
        "filterSubject": "bench.>",
        "inFlight": _AT_ONCE,
        "sink": {"uri": f"{url}/results.{{tenantid}}.{{type}}"},
    }
    metadata = {"name": "wasmcloud", "namespace": "bench"}
    return {
        "apiVersion": "sources.eventrunner.dev/v1alpha1",
        "kind": "JetStreamSource",
        "metadata": metadata,
        "spec": spec,
    }


async def _drained(api: JetStreamApi) -> float:
    """Events per second from when the first had been settled."""
    started, there = 0.0, 0
    async with asyncio.timeout(300):
        while True:
            left = int((await api.request(f"STREAM.INFO.{_STREAM}"))["state"]["messages"])
            if not started and left < _FROM_STREAM:
                started, there = time.perf_counter(), left
            if not left:
                return there / (time.perf_counter() - started)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _nats(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    binary = str(Path(sys.executable).with_name("nats-server"))
    command = (binary, "-a", HOST, "-p", str(port), "-js", "-sd", str(folder / "store"))
    child = await spawn(Command("nats-server", command, folder / "nats-server.log"))
    try:
        while not await is_listening(port):
            await asyncio.sleep(0.02)
        yield f"nats://{HOST}:{port}"
    finally:
        await child.stop(10)


def wasmcloud_table(figures: WasmcloudFigures) -> Table:
    table = Table("", title="one signed file, a fresh instance for each event")
    for title in ("events/s", "CPU µs/event"):
        table.add_column(title, justify="right")
    table.add_row("our host, one thread", f"{figures.own_per_second:,.0f}", f"{figures.own_cpu:,.0f}")
    wash = f"wash host, {_AT_ONCE} messages at a time"
    table.add_row(wash, f"{figures.wash_per_second:,.0f}", f"{figures.wash_cpu:,.0f}")
    table.add_row("stream → source → wash host → reply", f"{figures.wash_from_stream_per_second:,.0f}", "")
    cpu = f"{figures.wash_cpu / figures.own_cpu:.1f}×"
    table.add_row("our host against wash host", f"{figures.ratio:.1f}× (asked {_ASKED:g}×)", cpu)
    return table
