"""The adapter: one process, one connection, any number of sources."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from nats.aio.client import Client

from eventrunner.access.senders import SourceSigner
from eventrunner.errors import EventRunnerError, NotFound
from eventrunner.http_server import Server, problem_response
from eventrunner.source.consumer import delete_consumer
from eventrunner.source.consumer_desk import ConsumerDesk
from eventrunner.source.folder import SourceFolder
from eventrunner.source.health import SinkHealth
from eventrunner.source.keeper import StreamKeeper
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.metrics import SourceMetrics
from eventrunner.source.nats_sink import NatsSink
from eventrunner.source.nats_uri import is_nats
from eventrunner.source.pin import PinLost
from eventrunner.source.publisher import Publisher
from eventrunner.source.refusals import tell_refusals
from eventrunner.source.runner import Links, SourceRunner
from eventrunner.source.running import RunningSources
from eventrunner.source.sink import HttpSink, Sink, make_session, sink_audience, sink_url
from eventrunner.source.spec import Destination, SourceSpec
from eventrunner.source.stops import Stops
from eventrunner.source.streams import StreamSpec, apply_streams
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.refusing_sinks import RefusingSinks
from eventrunner.telemetry import METRICS_CONTENT_TYPE, metrics_page
from eventrunner.tenancy import DEADLETTER_STREAM

__all__ = ["Adapter"]

_log = logging.getLogger(__name__)

_RESTART_DELAY = 1.0
_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class Adapter:
    sources: Sequence[SourceSpec]
    nats_url: str
    watch: Path | None = None
    """Folder of sources that come and go while the adapter runs. With the file of one goes its durable consumer."""
    sink_urls: Mapping[str, str] = field(default_factory=dict)
    """Name of a sink's object → URL, where that is not its address in the cluster."""
    streams: Sequence[StreamSpec] = ()
    """Made again when a source's stream is missing."""
    stream_replicas: int = 0
    signer: SourceSigner | None = None
    """Signs what is sent to sinks that have an audience."""
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    consumer_namespace: str = ""
    """Of the Services of tenants' consumers, for which it has a desk beside its metrics; empty: it has none."""
    _desk: ConsumerDesk | None = None
    _sinks: dict[tuple[str, str], Sink] = field(default_factory=dict)
    _client: Client | None = None
    _folder: SourceFolder | None = None
    _watched: Mapping[str, SourceSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.watch is not None:
            self._folder = SourceFolder(self.watch, frozenset(spec.name for spec in self.sources))

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and every source has left."""
        async with make_session() as session, self._monitoring():
            try:
                while not stopping.is_set():
                    await self._run_connection(session, stopping)
            finally:
                await asyncio.gather(*(sink.close() for sink in self._sinks.values()))

    async def _run_connection(self, session: aiohttp.ClientSession, stopping: asyncio.Event) -> None:
        """Until stopped, or until the client has given the connection up for good, which it does on some errors."""
        runners: dict[str, SourceRunner] = {}
        listeners: list[Publisher | Stops] = []
        closed = asyncio.Event()

        async def reconnected() -> None:
            for listener in (*listeners, *runners.values()):
                listener.reconnected()

        async def disconnected() -> None:
            for runner in runners.values():
                runner.disconnected()

        async def on_closed() -> None:
            closed.set()

        connecting = asyncio.create_task(
            connect(
                self.nats_url,
                name="eventrunner source",
                on_disconnect=disconnected,
                on_reconnect=reconnected,
                on_closed=on_closed,
            )
        )
        if not await _first(connecting, stopping.wait()):
            return
        client = self._client = await connecting
        if self.signer is not None and self.consumer_namespace:
            self._desk = ConsumerDesk(client, self.signer.public_keys, self.consumer_namespace)
        publisher = Publisher(client)
        await publisher.start()
        room, make_streams = LetterRoom(client), self._stream_maker(client)
        stops = Stops(client, make_streams)
        listeners += [publisher, stops]

        def links(spec: SourceSpec) -> Links:
            reply = self._http_sink(spec.reply, session) if isinstance(spec.reply, Destination) else None
            return Links(client, publisher, room, stops, self._sink(spec.sink, session), reply, make_streams)

        async def run_source(spec: SourceSpec, until: asyncio.Event) -> None:
            await self._run_source(spec, links(spec), runners, until)

        async def gone(spec: SourceSpec) -> None:
            stops.forget(spec)
            await self._forget(spec, client)

        running = RunningSources(run_source, gone)
        works = [room.run(), stops.run(), tell_refusals(client, self._refusals), self._keep_sources(running)]
        works += [keeper.run() for keeper in self._keepers(client)]
        keepers = [asyncio.create_task(work) for work in works]
        serving = asyncio.create_task(_until_finished(running, stopping))
        await _first(serving, closed.wait())
        for task in keepers:
            task.cancel()
        await asyncio.gather(*keepers, running.cancel(), return_exceptions=True)
        if not client.is_closed:
            with contextlib.suppress(Exception):
                await client.flush(2)
            await disconnect(client)
        elif not stopping.is_set():
            _log.error("the NATS client gave up (%s); connecting anew", client.last_error)

    async def _run_source(
        self, spec: SourceSpec, links: Links, runners: dict[str, SourceRunner], stopping: asyncio.Event
    ) -> None:
        """One source that fails is started again and does not touch the others."""
        while not stopping.is_set():
            runner = runners[spec.name] = SourceRunner(spec, links)
            try:
                await runner.run(stopping)
            except PinLost as lost:
                _log.warning("%s: standing by: %s", spec.name, lost)
            except Exception:
                _log.exception("%s: failed; starting it again", spec.name)
                SourceMetrics(spec.name).crashes.inc()
                await asyncio.sleep(_RESTART_DELAY)

        runners.pop(spec.name, None)

    async def _keep_sources(self, running: RunningSources) -> None:
        """Runs until it is cancelled."""
        fixed = {spec.name: spec for spec in self.sources}
        running.keep(fixed | dict(self._watched))
        while self._folder is not None:
            if (watched := self._folder.look()) is not None:
                self._watched = watched
                running.keep(fixed | dict(watched))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _forget(self, spec: SourceSpec, client: Client) -> None:
        """Of a source that is gone: its durable consumer would hold what nobody reads in the stream for ever."""
        SourceMetrics(spec.name).remove()
        for destination in (spec.sink, spec.reply):
            if isinstance(destination, Destination):
                sink = self._sinks.pop(self._sink_key(destination), None)
                if sink is not None:
                    await sink.close()
        try:
            await delete_consumer(JetStreamApi(client), spec.stream, spec.consumer)
        except EventRunnerError as error:
            _log.error("%s: its consumer %s of %s stays: %s", spec.name, spec.consumer, spec.stream, error)

    def _keepers(self, client: Client) -> list[StreamKeeper]:
        consumers: dict[str, set[str]] = {DEADLETTER_STREAM: set()}
        for spec in self.sources:
            consumers.setdefault(spec.stream, set()).add(spec.consumer)
        return [StreamKeeper(client, stream, names) for stream, names in consumers.items()]

    def _stream_maker(self, client: Client) -> Callable[[], Awaitable[None]] | None:
        async def make_streams() -> None:
            # An operator may have changed one that is there.
            await apply_streams(JetStreamApi(client), self.streams, replicas=self.stream_replicas, only_missing=True)

        return make_streams if self.streams else None

    def _refusals(self) -> RefusingSinks:
        refusing = [sink for sink in self._sinks.values() if sink.refusal]
        return RefusingSinks(
            {sink.url: sink.refusal for sink in refusing}, [sink.url for sink in refusing if not sink.is_signed]
        )

    def _sink(self, destination: Destination, session: aiohttp.ClientSession) -> Sink:
        """One for each URL, so that sources share what is known of its health."""
        if not is_nats(destination.uri):
            return self._http_sink(destination, session)
        key = self._sink_key(destination)
        if key not in self._sinks:
            self._sinks[key] = NatsSink(destination.uri, SinkHealth())
        return self._sinks[key]

    def _http_sink(self, destination: Destination, session: aiohttp.ClientSession) -> HttpSink:
        url, audience = key = self._sink_key(destination)
        if key not in self._sinks:
            sign = partial(self.signer.header, audience) if self.signer is not None and audience else None
            self._sinks[key] = HttpSink(url, session, SinkHealth(), sign)
        sink = self._sinks[key]
        assert isinstance(sink, HttpSink)
        return sink

    def _sink_key(self, destination: Destination) -> tuple[str, str]:
        if is_nats(destination.uri):
            return destination.uri, ""
        return sink_url(destination, self.sink_urls), sink_audience(destination)

    @contextlib.asynccontextmanager
    async def _monitoring(self) -> AsyncIterator[None]:
        if self.metrics_port is None:
            yield
            return
        server = web.ServerRunner(Server(self._page))
        await server.setup()
        await web.TCPSite(server, self.metrics_host, self.metrics_port).start()
        try:
            yield
        finally:
            await server.cleanup()

    async def _page(self, request: web.BaseRequest) -> web.Response:
        pages = {
            "/metrics": self._metrics,
            "/healthz": self._healthy,
            "/readyz": self._ready,
            "/.well-known/jwks.json": self._public_keys,
        }
        page = pages.get(request.path)
        if self._desk is not None and request.path.startswith("/consumers/"):
            return await self._desk.answer(request)
        if page is None:
            return problem_response(NotFound(f"There is no {request.path} here, only {', '.join(pages)}."))
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"})
        return page()

    def _metrics(self) -> web.Response:
        return web.Response(body=metrics_page(), headers={"Content-Type": METRICS_CONTENT_TYPE})

    def _public_keys(self) -> web.Response:
        """What sinks check the adapter's tokens with."""
        keys = self.signer.public_keys if self.signer is not None else '{"keys": []}'
        return web.Response(text=keys, content_type="application/json")

    def _healthy(self) -> web.Response:
        return web.Response(text="ok\n")

    def _ready(self) -> web.Response:
        ready = self._client is not None and self._client.is_connected
        return web.Response(text="ok\n" if ready else "no NATS\n", status=200 if ready else 503)


async def _until_finished(running: RunningSources, stopping: asyncio.Event) -> None:
    await stopping.wait()
    await running.stop()


async def _first(wanted: asyncio.Future[Any], other: Coroutine[Any, Any, Any]) -> bool:
    """Waits for either; whether it was the wanted one. What did not come is cancelled."""
    alternative = asyncio.ensure_future(other)
    try:
        await asyncio.wait((wanted, alternative), return_when=asyncio.FIRST_COMPLETED)
        return wanted.done()
    finally:
        alternative.cancel()
        if not wanted.done():
            wanted.cancel()
            await asyncio.gather(wanted, return_exceptions=True)
