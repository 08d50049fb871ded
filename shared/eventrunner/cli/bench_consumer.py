"""One process of a tenant's consumer from end to end: a stream, the source adapter, the function, and what the guest
publishes in another stream."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
import yaml
from aiohttp import web
from nats.aio.client import Client
from rich.table import Table

from eventrunner.access.identity import make_keys
from eventrunner.access.senders import SourceSigner, audience_of
from eventrunner.cli.bench_guests import LANGUAGES, build_echo
from eventrunner.cli.processes import cpu_by_part
from eventrunner.errors import Unavailable
from eventrunner.events import Event, encode_batch
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.packing import bracket, pack
from eventrunner.http_server import Server
from eventrunner.local.data_dir import DataDir
from eventrunner.local.nats_server import NatsServer
from eventrunner.local.ports import HOST, free_port
from eventrunner.local.project import Project, find_project
from eventrunner.source.consumer_desk import ConsumerDesk
from eventrunner.source.streams import apply_streams, parse_stream, read_streams
from eventrunner.source.tenant_consumers import kubernetes_name
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.modules import ModuleStore, module_name
from eventrunner.storage.records import CONSUMERS, SIGNING_KEYS, Consumer, SigningKey, StoredModule, tenant_key
from eventrunner.wasm.signing import SecretKey, sign

__all__ = ["ConsumerFigures", "consumer_table", "measure_consumer"]

_TENANT, _NAME, _NAMESPACE = "bench", "echo", "bench"
_AUDIENCE: Final = audience_of("serving.knative.dev/v1", "Service", _NAMESPACE, kubernetes_name(_TENANT, _NAME))
_IN, _OUT, _USED = "BENCHIN", "BENCHOUT", "BENCHUSED"
_EVENTS: Final = {"c": 60_000, "python": 15_000}
_MESSAGE: Final = 500
"""Events, as in those of the event engine."""
_DATA: Final = (
    b'{"year":2013,"month":1,"day":1,"dep_time":517,"sched_dep_time":515,"dep_delay":2,"arr_time":830,'
    b'"sched_arr_time":819,"arr_delay":11,"carrier":"UA","flight":1545,"origin":"EWR","dest":"IAH"}'
)
_INSTANCES: Final[tuple[Literal["fresh", "reuse"], ...]] = ("fresh", "reuse")
_PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path
    nats_url: str
    desk_url: str
    keys: str
    """With which the adapter signs."""


@dataclass(slots=True)
class ConsumerFigures:
    guest: str
    instances: str
    events_per_second: float
    """Taken from the stream, handled, published and metered, and acked."""
    function_cpu: float
    """µs of CPU of the function for an event."""
    source_cpu: float
    first_seconds: float
    """From the start of the process until it has loaded the module, compiled before or, the first time, not."""


async def measure_consumer(folder: Path) -> list[ConsumerFigures]:
    """Guests that publish what they are handed. Raises ConfigurationError where one cannot be built."""
    secret = SecretKey.generate()
    codes = {
        language: sign(await asyncio.to_thread(build_echo, language, folder / language), secret)
        for language in LANGUAGES
    }
    keys = make_keys("bench")
    async with _nats(folder) as url:
        client = await connect(url, name="eventrunner bench")
        try:
            await _make_streams(client)
            await asyncio.to_thread(_keep, url, codes.values(), secret)
            async with _desk(client, SourceSigner(keys)) as desk_url:
                place = _Place(folder, url, desk_url, keys)
                return [
                    await _measure(client, place, language, code, instances)
                    for language, code in codes.items()
                    for instances in _INSTANCES
                ]
        finally:
            await disconnect(client)


async def _measure(
    client: Client, place: _Place, language: str, code: bytes, instances: Literal["fresh", "reuse"]
) -> ConsumerFigures:
    await asyncio.to_thread(_register, place.nats_url, code, instances)
    messages = _EVENTS[language] // _MESSAGE
    await _publish(client, messages)
    started = time.perf_counter()
    with _function(place) as (function, port):
        await _until_loaded(port, SourceSigner(place.keys))
        first = time.perf_counter() - started
        with _adapter(place, port) as adapter:
            api = JetStreamApi(client)
            there, began, before = messages, 0.0, (0.0, 0.0)
            async with asyncio.timeout(_PATIENCE):
                while True:
                    left = int((await api.request(f"STREAM.INFO.{_IN}"))["state"]["messages"])
                    if not began and left < messages:
                        # From here on, so that the start of the adapter does not count.
                        there, began, before = left, time.perf_counter(), (_cpu(function), _cpu(adapter))
                    if not left:
                        break
                    await asyncio.sleep(0.02)
            events = there * _MESSAGE
            seconds = time.perf_counter() - began
            used, carried = _cpu(function) - before[0], _cpu(adapter) - before[1]
    rate, name = events / seconds, LANGUAGES[language]
    return ConsumerFigures(name, instances, rate, used / events * 1e6, carried / events * 1e6, first)


@asynccontextmanager
async def _desk(client: Client, signer: SourceSigner) -> AsyncIterator[str]:
    """Where the function gets its record and its module; as in the platform on one machine."""
    runner = web.ServerRunner(Server(ConsumerDesk(client, signer.public_keys, _NAMESPACE).answer))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _nats(folder: Path) -> AsyncIterator[str]:
    with DataDir(folder / "nats") as data:
        async with aiohttp.ClientSession() as session:
            server = NatsServer(data, session)
            await server.start()
            try:
                yield server.url
            finally:
                await server.stop(10.0)


async def _make_streams(client: Client) -> None:
    api = JetStreamApi(client)
    await apply_streams(api, read_streams([_project().manifests / "streams.yaml"]))
    await apply_streams(api, [_stream(_IN, "workqueue"), _stream(_OUT, "limits"), _stream(_USED, "limits")])


def _stream(name: str, retention: str) -> Any:
    """In memory, as it is the consumer that is measured."""
    spec = {"name": name, "subjects": [f"{name.lower()}.>"], "retention": retention, "storage": "memory"}
    manifest = {"apiVersion": "jetstream.nats.io/v1beta2", "kind": "Stream", "metadata": {"name": name.lower()}}
    return parse_stream({**manifest, "spec": spec})


def _project() -> Project:
    return find_project()


def _keep(url: str, codes: Iterable[bytes], secret: SecretKey) -> None:
    mirror = Mirror(url, (SIGNING_KEYS,))
    public = secret.public
    try:
        for code in codes:
            ModuleStore(mirror).keep(code)
        record = SigningKey(_TENANT, public.id, public.to_text())
        mirror.put(SIGNING_KEYS, tenant_key(_TENANT, public.id), record.to_json())
    finally:
        mirror.close()


def _register(url: str, code: bytes, instances: Literal["fresh", "reuse"]) -> None:
    mirror = Mirror(url, (CONSUMERS,))
    stored = StoredModule(module_name(code), len(code), "component", [], [])
    try:
        record = Consumer(_TENANT, _NAME, module=stored, instance=instances)
        mirror.put(CONSUMERS, tenant_key(_TENANT, _NAME), record.to_json())
    finally:
        mirror.close()


async def _publish(client: Client, messages: int) -> None:
    headers = {"Content-Type": BATCH_TYPE, "Content-Encoding": "zstd", "Eventrunner-Count": str(_MESSAGE)}
    for start in range(0, messages * _MESSAGE, _MESSAGE):
        body = bracket(pack(encode_batch([_event(start + number) for number in range(_MESSAGE)])[1:-1]))
        await client.publish(f"{_IN.lower()}.{_TENANT}", body, headers=headers)
    await client.flush(30)


def _event(number: int) -> Event:
    moment = "2026-11-01T00:00:00.000000Z"
    event = Event(
        id=str(number), source="/flights/UA", type="flight.recorded", tenantid=_TENANT, time=moment,
        receivedtime=moment, usagein=400, usagecpu=9_000, usagemem=300, usageout=500,
    )  # fmt: skip
    event.set_payload(_DATA, None)
    return event


@contextmanager
def _function(place: _Place) -> Iterator[tuple[int, int]]:
    """Its process and its port."""
    port = free_port()
    environ = {
        **os.environ,
        "EVENTRUNNER_CONSUMER_DESK_URL": place.desk_url,
        "EVENTRUNNER_SINK_JWKS": SourceSigner(place.keys).public_keys,
        "EVENTRUNNER_SINK_AUDIENCE": _AUDIENCE,
        "EVENTRUNNER_CONSUMER": f"{_TENANT}/{_NAME}",
        "EVENTRUNNER_MODULE_CACHE": str(place.folder / "modules"),
        "THREADS": "3",
        "TMPDIR": str(place.folder),
    }
    main = _project().function("tenant-consumer")
    arguments = ["--target", "main", "--source", str(main), "--host", HOST, "--port", str(port)]
    with _process(
        [sys.executable, "-m", "eventrunner.local.function_process", *arguments], environ, place.folder
    ) as pid:
        yield pid, port


@contextmanager
def _adapter(place: _Place, port: int) -> Iterator[int]:
    source = {
        "apiVersion": "sources.eventrunner.dev/v1alpha1",
        "kind": "JetStreamSource",
        "metadata": {"name": "echo", "namespace": "bench"},
        "spec": {
            "stream": _IN,
            "filterSubject": f"{_IN.lower()}.>",
            "batch": {"maxEvents": _MESSAGE},
            "inFlight": 2,
            "sink": {"uri": f"http://{HOST}:{port}/", "audience": _AUDIENCE},
            "reply": {"subject": f"{_OUT.lower()}.{{tenantid}}"},
            "usage": {"subject": f"{_USED.lower()}.{{tenantid}}"},
        },
    }
    file = place.folder / "source.yaml"
    file.write_text(yaml.safe_dump(source))
    environ = {
        **os.environ,
        "EVENTRUNNER_NATS_URL": place.nats_url,
        "EVENTRUNNER_SOURCE_KEYS": place.keys,
        "EVENTRUNNER_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "eventrunner", "source", "--sources", str(file)]
    with _process(command, environ, place.folder) as pid:
        yield pid


@contextmanager
def _process(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Iterator[int]:
    with (
        (folder / "processes.log").open("ab") as log,
        subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


async def _until_loaded(port: int, signer: SourceSigner) -> None:
    url, headers = f"http://{HOST}:{port}/", {"Content-Type": BATCH_TYPE, "Authorization": signer.header(_AUDIENCE)}
    deadline, text = time.monotonic() + _PATIENCE, "nothing"
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.post(url, data=b"[]", headers=headers) as answer:
                    if answer.status == 204:
                        return
                    text = await answer.text()
            except aiohttp.ClientError as error:
                text = str(error)
            await asyncio.sleep(0.02)
    raise Unavailable(f"The consumer does not get ready: {text}")


def _cpu(pid: int) -> float:
    return sum(cpu_by_part(pid).values())


def consumer_table(figures: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="one process of a consumer: stream → adapter → function (an echo) → stream")
    columns = ("guest", "instances", "events/s", "CPU µs an event: function", "source", "ready after, s")
    for title in columns:
        table.add_column(title, justify="left" if title in ("guest", "instances") else "right")
    for item in figures:
        table.add_row(
            item["guest"],
            item["instances"],
            f"{item['events_per_second']:,.0f}",
            f"{item['function_cpu']:.0f}",
            f"{item['source_cpu']:.0f}",
            f"{item['first_seconds']:.2f}",
        )
    return table
