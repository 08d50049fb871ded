"""Of writes at once that expect the same state of an owner's keys one wins, in a cluster too."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from eventrunner.errors import Conflict, EventRunnerError
from eventrunner.source.streams import apply_streams, parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.storage.registry import Registry
from support_nats import NatsCluster, eventually, nats_cluster

_RULES = {
    "apiVersion": "jetstream.nats.io/v1beta2",
    "kind": "KeyValue",
    "metadata": {"name": "rules"},
    "spec": {"bucket": "rules", "history": 5, "replicas": 3},
}


def test_one_write_at_a_time_changes_an_owners_keys(tmp_path: Path) -> None:
    async def run(cluster: NatsCluster) -> None:
        registries = [Registry(await connect(server.url, name="test")) for server in cluster.servers.values()]

        async def make_bucket() -> bool:
            with contextlib.suppress(EventRunnerError):
                await apply_streams(JetStreamApi(registries[0].client), [parse_stream(_RULES)])
                await registries[0].put("rules", "other.x", b"")
                return True
            return False

        await eventually(make_bucket, 60)
        last = 0
        for number in range(20):
            work = [
                registry.update_among("rules", f"acme.{number}-{place}-{try_}", b"x", last)
                for place, registry in enumerate(registries)
                for try_ in range(4)
            ]
            outcomes = await asyncio.gather(*work, return_exceptions=True)
            written = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert len(written) == 1, outcomes
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == len(work) - 1, outcomes
            last = await registries[0].put("rules", "acme.last", b"") if number % 2 else written[0]
            await registries[0].put("rules", "other.x", b"")
        assert await registries[0].count("rules", "acme.*") == 21
        for registry in registries:
            await disconnect(registry.client)

    with nats_cluster(tmp_path) as cluster:
        asyncio.run(asyncio.wait_for(run(cluster), 120))
