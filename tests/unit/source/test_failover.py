"""A cluster of three NATS servers, one of which is killed under load.

JetStream's own election takes 4 to 9 seconds (constants in nats-server's server/raft.go); what is ours comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from eventrunner.cli.streams import command
from eventrunner.errors import EventRunnerError, Unavailable
from eventrunner.events import Event
from eventrunner.ingest.publisher import Publisher
from eventrunner.source.adapter import Adapter
from eventrunner.source.consumer import ensure_consumer
from eventrunner.source.spec import parse_source
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from nats.aio.client import Client
from nats.errors import Error as NatsError
from support_nats import NatsCluster, eventually, nats_cluster
from support_source import STREAMS, STRUCTURED, LocalSink, echo, event, manifest

_BOUND = 5.0
"""Seconds after the election. An ordered source waits for what was lost with the leader, for the ack wait of 3 s."""


@contextlib.asynccontextmanager
async def _cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[NatsCluster, JetStreamApi]]:
    """Its streams are made as they are in production: by the environment, from manifests that say one replica."""
    with nats_cluster(folder) as cluster:
        client = await connect(cluster.url, name="test")
        api = JetStreamApi(client)
        monkeypatch.setenv("EVENTRUNNER_NATS_URL", cluster.url.replace(",", ", "))
        monkeypatch.setenv("EVENTRUNNER_STREAM_REPLICAS", "3")
        try:
            await eventually(lambda: _apply_streams(), 30)
            yield cluster, api
        finally:
            await disconnect(client)


async def _apply_streams() -> bool:
    result = await asyncio.to_thread(CliRunner().invoke, command, ["apply", "--file", str(STREAMS)])
    return result.exit_code == 0


async def _leader(api: JetStreamApi, name: str) -> str:
    """Of a stream or consumer, empty while it has none."""
    try:
        return str((await api.request(name))["cluster"].get("leader", ""))
    except EventRunnerError:
        return ""


async def _kill(
    cluster: NatsCluster, api: JetStreamApi, victim: str, led: Sequence[str], goes_on: Callable[[], bool]
) -> tuple[float, float]:
    """Seconds until these streams and consumers have a leader again, and until it goes on."""
    cluster.servers[victim].stop()
    killed = time.monotonic()
    impatient = JetStreamApi(api._client, timeout=0.5)

    async def elected() -> bool:
        leaders = [await _leader(impatient, name) for name in led]
        return all(leader not in ("", victim) for leader in leaders)

    waiting = asyncio.create_task(eventually(elected, 60))
    waiting.add_done_callback(lambda _: times.append(time.monotonic() - killed))
    times: list[float] = []
    await eventually(goes_on, 60)
    flows = time.monotonic() - killed
    await waiting
    return times[0], flows


class Load:
    """Publishes one event after the other, each until it is confirmed, as a producer does that loses none."""

    def __init__(self, api: JetStreamApi) -> None:
        self._jetstream = api._client.jetstream(timeout=1)
        self.published = 0

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._publish(json.dumps(event(self.published)).encode())
            self.published += 1
            await asyncio.sleep(0.003)

    async def _publish(self, body: bytes) -> None:
        headers = {"Content-Type": STRUCTURED, "Nats-Msg-Id": str(self.published)}
        while True:
            try:
                await self._jetstream.publish("raw.acme", body, headers=headers)
                return
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _running(*works: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """They end when the event is set. Not cancelled, which a request to NATS can swallow up to Python 3.11."""
    stopping = asyncio.Event()
    tasks = [asyncio.ensure_future(work(stopping)) for work in works]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def _is_done(api: JetStreamApi) -> bool:
    try:
        info = await api.request("CONSUMER.INFO.RAW.stage")
    except EventRunnerError:
        return False
    return bool(info["num_pending"] == 0 and info["num_ack_pending"] == 0)


async def _bodies(api: JetStreamApi, stream: str) -> list[list[dict[str, str]]]:
    """The events of each message."""
    state = (await api.request(f"STREAM.INFO.{stream}"))["state"]
    jetstream = api._client.jetstream()
    found = []
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        body = json.loads((await jetstream.get_msg(stream, seq=sequence)).data or b"null")
        found.append(body if isinstance(body, list) else [body])
    return found


@pytest.mark.parametrize(
    ("leads", "at_home", "ordering"),
    [
        ("STREAM.INFO.RAW", True, "Unordered"),
        ("CONSUMER.INFO.RAW.stage", False, "Unordered"),
        ("CONSUMER.INFO.RAW.stage", False, "ByTenant"),
    ],
    ids=["of the stream", "of the consumer, elsewhere than the adapter", "of an ordered source's consumer, elsewhere"],
)
async def test_a_killed_leader_costs_no_event_and_each_is_stored_once(
    leads: str,
    at_home: bool,
    ordering: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = LocalSink(echo)
    await sink.start()
    # One event a request: what comes again comes as the same request, and its result has the same id.
    source = parse_source(manifest(sink.url, batch={"maxEvents": 1}, inFlight=4, ordering=ordering))
    async with _cluster(tmp_path, monkeypatch) as (cluster, api):
        await ensure_consumer(api, source)
        load, victim = Load(api), await _leader(api, leads)
        adapter = Adapter([source], cluster.url if at_home else cluster.url_without(victim))
        async with _running(adapter.run):
            async with _running(load.run):
                await eventually(lambda: len(sink.requests) > 200, 30)
                before, last = len(sink.requests), load.published

                def goes_on() -> bool:
                    return any(int(request.ids[0]) > last + 20 for request in sink.requests[before:])

                led = ("STREAM.INFO.RAW", "STREAM.INFO.EVENTS", "CONSUMER.INFO.RAW.stage")
                election, flows = await _kill(cluster, api, victim, led, goes_on)
                with capsys.disabled():
                    print(f"{ordering}: leader after {election:.1f} s, events after {flows:.1f} s", end=" ")
                assert flows - election < _BOUND
            await eventually(lambda: _is_done(api), 30)
        counts = Counter(item["id"] for events in await _bodies(api, "EVENTS") for item in events)
        assert set(counts) >= {str(number) for number in range(load.published)}
        assert set(counts.values()) == {1}
        config = (await api.request("STREAM.INFO.EVENTS"))["config"]
        assert config["num_replicas"] == 3
    await sink.stop()


async def test_what_ingest_has_acknowledged_outlives_the_leader_that_stored_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledged: set[str] = set()
    groups: list[set[str]] = []

    async def store(publisher: Publisher, tenant: str, count: int, stopping: asyncio.Event) -> None:
        """A client that sends bodies of so many events, and never one of them twice."""
        while not stopping.is_set():
            ids = {f"{tenant}-{len(groups)}-{number}" for number in range(count)}
            groups.append(ids)
            events = [Event(id=identifier, source="/s", type="t", tenantid=tenant) for identifier in ids]
            with contextlib.suppress(Unavailable):
                await publisher.store({tenant: events})
                acknowledged.update(ids)
            await asyncio.sleep(0.02)

    async with _cluster(tmp_path, monkeypatch) as (cluster, api):
        client = Client()
        publisher = Publisher(client, max_events=10, max_bytes=100_000)
        await client.connect(cluster.url.split(","), disconnected_cb=publisher.disconnected, max_reconnect_attempts=-1)
        # The second one's bodies need several messages, which are stored whole or not at all.
        async with _running(partial(store, publisher, "small", 1), partial(store, publisher, "large", 25)):
            await eventually(lambda: len(acknowledged) > 500, 30)
            before = len(acknowledged)
            led = ["STREAM.INFO.RAW"]
            victim = await _leader(api, *led)
            election, flows = await _kill(cluster, api, victim, led, lambda: len(acknowledged) > before + 200)
            with capsys.disabled():
                print(f"leader after {election:.1f} s, acknowledged again after {flows:.1f} s", end=" ")
            assert flows - election < _BOUND
        await disconnect(client)
        counts = Counter(item["id"] for events in await _bodies(api, "RAW") for item in events)
        assert acknowledged <= set(counts)
        assert set(counts.values()) == {1}
        assert all(ids <= set(counts) or not ids & set(counts) for ids in groups)


async def test_streams_get_the_replicas_that_are_asked_for_and_adapters_leave_them_so(tmp_path: Path) -> None:
    with nats_cluster(tmp_path) as cluster:
        client = await connect(cluster.url, name="test")
        api, specs = JetStreamApi(client), read_streams([STREAMS])

        async def replicas() -> set[int]:
            infos = [await api.request(f"STREAM.INFO.{spec.name}") for spec in specs]
            return {info["config"]["num_replicas"] for info in infos}

        async def made() -> bool:
            with contextlib.suppress(EventRunnerError):
                await apply_streams(api, specs)
                return True
            return False

        await eventually(made, 30)
        assert await replicas() == {1}
        await apply_streams(api, specs, replicas=3)
        assert await replicas() == {3}
        await apply_streams(api, specs, only_missing=True)
        assert await replicas() == {3}
        await disconnect(client)
