from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from eventrunner.errors import EventRunnerError
from eventrunner.source.streams import apply_streams, parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.registry import Registry
from support_nats import NatsCluster, eventually, nats_cluster

TENANTS = {
    "apiVersion": "jetstream.nats.io/v1beta2",
    "kind": "KeyValue",
    "metadata": {"name": "tenants"},
    "spec": {"bucket": "tenants", "replicas": 3},
}


@contextlib.asynccontextmanager
async def _registry(url: str) -> AsyncIterator[Registry]:
    registry = Registry(await connect(url, name="test"))
    try:
        yield registry
    finally:
        await disconnect(registry.client)


async def _make_bucket(api: JetStreamApi) -> bool:
    with contextlib.suppress(EventRunnerError):
        await apply_streams(api, [parse_stream(TENANTS)])
        return True
    return False


async def _host(cluster: NatsCluster, registry: Registry) -> str:
    """The server that has the watch's consumer; empty when the watch would lose its connection with it."""
    consumers: list[dict[str, Any]] = []

    async def listed() -> bool:
        consumers[:] = (await JetStreamApi(registry.client).request("CONSUMER.LIST.KV_tenants"))["consumers"]
        return bool(consumers)

    # The servers tell each other, and not at once.
    await eventually(listed, 30)
    (consumer,) = consumers
    host = str(consumer["cluster"]["leader"])
    return "" if cluster.servers[host].url.endswith(registry.client.connected_url.netloc) else host


async def _put(registry: Registry, key: str) -> bool:
    """Writes once the cluster has all the leaders that a watch needs."""
    config = {"ack_policy": "none", "inactive_threshold": 10**9}
    with contextlib.suppress(EventRunnerError):
        api = JetStreamApi(registry.client, timeout=1.0)
        await api.request("CONSUMER.CREATE.KV_tenants", {"stream_name": "KV_tenants", "config": config})
        await registry.put("tenants", key, b"{}")
        return True
    return False


def test_goes_on_when_its_consumer_dies_with_a_server_that_it_has_no_connection_to(tmp_path: Path) -> None:
    async def run(cluster: NatsCluster) -> bool:
        async with _registry(cluster.url) as registry:
            await eventually(lambda: _make_bucket(JetStreamApi(registry.client)), 30)
            watch = registry.follow("tenants", lambda change: None)
            following = asyncio.create_task(watch.run())
            try:
                await watch.loaded.wait()
                if not (host := await _host(cluster, registry)):
                    return False
                cluster.servers[host].stop()
                await eventually(lambda: _put(registry, "acme"), 30)
                put = time.monotonic()
                await eventually(lambda: "acme" in watch.state, 30)
                assert time.monotonic() - put < 5
                return True
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    for attempt in range(10):
        with nats_cluster(tmp_path / str(attempt)) as cluster:
            if asyncio.run(run(cluster)):
                return
    raise AssertionError("ten watches had their consumers where they were connected")
