"""What tests of the delivery loop need: a real HTTP sink that does what it is told, and an adapter beside it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from eventrunner.access.senders import SourceSigner
from eventrunner.source.adapter import Adapter
from eventrunner.source.spec import parse_source
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect
from nats.aio.client import Client
from support_nats import NatsServer, eventually, free_port

__all__ = ["BATCH", "STREAMS", "STRUCTURED", "Lab", "LocalSink", "Stored", "echo", "event", "manifest", "open_lab"]

BATCH = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"
STREAMS = Path(__file__).parents[1] / "knative/base/streams.yaml"

Event = dict[str, Any]
Answer = Callable[["Request"], "web.Response | Awaitable[web.Response]"]


@dataclass
class Request:
    headers: dict[str, str]
    body: bytes
    at: float
    hang_up: Callable[[], None]
    """Breaks the connection, as a process that dies does."""
    path: str = "/"
    """With its query."""

    @property
    def events(self) -> list[Event]:
        document = json.loads(self.body)
        return document if isinstance(document, list) else [document]

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.events]


@dataclass
class LocalSink:
    """`answer` may be replaced at any time; `stop` and `start` take it away and bring it back at the same address."""

    answer: Answer
    port: int = field(default_factory=free_port)
    requests: list[Request] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, received: web.Request) -> web.Response:
        transport = received.transport
        assert transport is not None
        headers, body = dict(received.headers), await received.read()
        request = Request(headers, body, time.monotonic(), transport.abort, received.path_qs)
        self.requests.append(request)
        answer = self.answer(request)
        return await answer if isinstance(answer, Awaitable) else answer


def echo(request: Request) -> web.Response:
    return batch(request.events)


def batch(events: list[Event]) -> web.Response:
    headers = {"Content-Type": BATCH, "Eventrunner-Count": str(len(events))}
    return web.Response(body=io.BytesIO(json.dumps(events).encode()), headers=headers)


def event(number: int | str, tenant: str = "acme", **attributes: Any) -> Event:
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/test",
        "type": "test",
        "tenantid": tenant,
        **attributes,
    }


@dataclass(frozen=True)
class Stored:
    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[Event]:
        document = json.loads(self.body)
        return document if isinstance(document, list) else [document]


def manifest(sink: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sources.eventrunner.dev/v1alpha1",
        "kind": "JetStreamSource",
        "metadata": {"name": "stage", "namespace": "eventrunner"},
        "spec": {
            "stream": "RAW",
            "filterSubject": "raw.>",
            "sink": {"uri": sink},
            "reply": {"subject": "events.{tenantid}"},
            "delivery": {"retry": 3, "backoffDelay": "PT0.02S", "timeout": "PT5S"},
            **spec,
        },
    }


@dataclass
class Lab:
    """A NATS server with the product's streams, a sink, and adapters."""

    server: NatsServer
    client: Client
    sink: LocalSink
    api: JetStreamApi

    async def make_streams(self) -> None:
        await apply_streams(self.api, read_streams([STREAMS]))

    async def stop_nats(self) -> None:
        self.server.stop()
        await eventually(lambda: not self.client.is_connected)

    async def start_nats(self) -> None:
        self.server.start()
        await eventually(lambda: self.client.is_connected)

    async def publish(self, body: bytes | Event | list[Event], subject: str = "raw.acme", **headers: str) -> None:
        if not isinstance(body, bytes):
            headers.setdefault("Content_Type", BATCH if isinstance(body, list) else STRUCTURED)
            body = json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.client.jetstream().publish(subject, body, headers=names or None)

    @contextlib.asynccontextmanager
    async def adapter(
        self,
        make_streams: bool = False,
        sink: str = "",
        signer: SourceSigner | None = None,
        audience: str = "",
        **spec: Any,
    ) -> AsyncIterator[Adapter]:
        """A running adapter with one source; leaves gracefully at the end. `sink`: another one's URL; `audience`: for
        whom what it sends there is signed."""
        document = manifest(sink or self.sink.url, **spec)
        document["spec"]["sink"] |= {"audience": audience} if audience else {}
        source = parse_source(document)
        streams = read_streams([STREAMS]) if make_streams else ()
        adapter = Adapter([source], self.server.url, streams=streams, signer=signer)
        stopping = asyncio.Event()
        task = asyncio.create_task(adapter.run(stopping))
        try:
            yield adapter
        finally:
            stopping.set()
            async with asyncio.timeout(30):
                await task

    async def stored(self, stream: str) -> list[Stored]:
        state = (await self.api.request(f"STREAM.INFO.{stream}"))["state"]
        found = []
        for sequence in range(state["first_seq"], state["last_seq"] + 1):
            with contextlib.suppress(Exception):
                message = await self.client.jetstream().get_msg(stream, seq=sequence)
                found.append(Stored(message.subject or "", message.headers or {}, message.data or b""))
        return found

    async def events(self, stream: str) -> list[Event]:
        return [item for message in await self.stored(stream) for item in message.events]

    async def ids(self, stream: str) -> list[str]:
        return sorted(item["id"] for item in await self.events(stream))

    async def is_done(self, stream: str = "RAW", consumer: str = "stage") -> bool:
        """Whether every message has been acked."""
        try:
            info = await self.api.request(f"CONSUMER.INFO.{stream}.{consumer}")
        except JetStreamError:
            return False
        return info["num_pending"] == 0 and info["num_ack_pending"] == 0

    async def finished(self, seconds: float = 15.0) -> None:
        await eventually(self.is_done, seconds)


@contextlib.asynccontextmanager
async def open_lab(server: NatsServer, answer: Answer = echo) -> AsyncIterator[Lab]:
    client = await connect(server.url, name="test")
    sink = LocalSink(answer)
    await sink.start()
    lab = Lab(server, client, sink, JetStreamApi(client))
    try:
        await lab.make_streams()
        async with asyncio.timeout(60):
            yield lab
    finally:
        await sink.stop()
        await client.close()
