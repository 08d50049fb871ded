"""The function `ingest-grpc` as a process over a real NATS, and a client of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import msgspec
from eventrunner.access.keys import make_key
from eventrunner.events import Event, decode_batch
from eventrunner.events.packing import unpack
from eventrunner.ingest.proto import cloudevents_pb2, ingest_pb2
from eventrunner.local.ports import free_port
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.records import KEYS, TENANTS, Quota, Tenant
from eventrunner.storage.registry import Registry

__all__ = ["GrpcClient", "GrpcServer", "ce", "grpc_ingest", "provision", "stored"]

_ROOT = Path(__file__).parents[1]
_SERVICE = "/eventrunner.v1.EventIngestService/"


@dataclass
class GrpcServer:
    process: subprocess.Popen[bytes]
    address: str
    log: Path


@contextlib.contextmanager
def grpc_ingest(folder: Path, nats_url: str, **settings: str) -> Iterator[GrpcServer]:
    port = free_port()
    env = os.environ | {"EVENTRUNNER_NATS_URL": nats_url, "HOST": "127.0.0.1", "PORT": str(port), **settings}
    path = folder / "ingest-grpc.log"
    with path.open("wb") as log:
        command = [sys.executable, str(_ROOT / "functions" / "ingest_grpc" / "main.py")]
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield GrpcServer(process, f"127.0.0.1:{port}", path)
    finally:
        process.kill()
        process.wait()


async def provision(url: str, tenants: Iterable[str], quota: Quota | None = None) -> dict[str, str]:
    """Streams and tenants. Returns a publisher's key of each tenant, a reader's as `<tenant>-user`, and `admin`."""
    client = await connect(url, name="test")
    await apply_streams(JetStreamApi(client), read_streams([_ROOT / "knative/base/streams.yaml"]))
    await client.close()
    registry = await Registry.connect(url)
    keys = {}
    holders = [(tenant, tenant, "event_publisher") for tenant in tenants]
    holders += [(f"{tenant}-user", tenant, "user") for tenant in tenants]
    for name, tenant, role in [*holders, ("admin", "", "admin")]:
        keys[name], record = make_key(tenant or "any", [role])
        await registry.put(KEYS, record.hash, msgspec.structs.replace(record, tenant=tenant).to_json())
    for tenant in tenants:
        await registry.put(TENANTS, tenant, Tenant(id=tenant, quota=quota).to_json())
    await registry.close()
    return keys


async def stored(url: str, tenant: str, count: int, seconds: float = 10) -> list[Event]:
    """The tenant's first events on RAW."""
    client = await connect(url, name="test")
    found: list[Event] = []
    subscription = await client.jetstream().pull_subscribe(f"raw.{tenant}", durable=f"test-{tenant}")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while len(found) < count:
                for message in await subscription.fetch(100, timeout=seconds):
                    packed = (message.headers or {}).get("Content-Encoding") == "zstd"
                    found += decode_batch(unpack(message.data, 2**27) if packed else message.data)
                    await message.ack()
    await client.close()
    return found


def ce(id: str, **members: object) -> cloudevents_pb2.CloudEvent:
    values = {"source": "/grpc", "type": "order.placed", "spec_version": "1.0", **members}
    return cloudevents_pb2.CloudEvent(id=id, **values)  # type: ignore[arg-type]


@dataclass
class GrpcClient:
    channel: grpc.aio.Channel
    key: str
    metadata: dict[str, str] = field(default_factory=dict)
    seconds: float = 30
    """Deadline of a batch and of a stream."""

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.key}"), *self.metadata.items())

    async def event(self, data: bytes, timeout: float = 10) -> ingest_pb2.IngestEventResponse:
        request = ingest_pb2.IngestEventRequest(event_data=data)
        call = self.channel.unary_unary(
            _SERVICE + "IngestEvent",
            ingest_pb2.IngestEventRequest.SerializeToString,
            ingest_pb2.IngestEventResponse.FromString,
        )
        answer: ingest_pb2.IngestEventResponse = await call(
            request, metadata=self._metadata(), timeout=timeout, wait_for_ready=True
        )
        return answer

    async def batch(self, *events: cloudevents_pb2.CloudEvent) -> ingest_pb2.IngestBatchResponse:
        call = self.channel.unary_unary(
            _SERVICE + "IngestBatch",
            cloudevents_pb2.CloudEventBatch.SerializeToString,
            ingest_pb2.IngestBatchResponse.FromString,
        )
        batch = cloudevents_pb2.CloudEventBatch(events=events)
        answer: ingest_pb2.IngestBatchResponse = await call(
            batch, metadata=self._metadata(), timeout=self.seconds, wait_for_ready=True
        )
        return answer

    def stream(self, events: AsyncIterable[cloudevents_pb2.CloudEvent] | None = None) -> grpc.aio.StreamStreamCall:
        call = self.channel.stream_stream(
            _SERVICE + "IngestStream",
            cloudevents_pb2.CloudEvent.SerializeToString,
            ingest_pb2.IngestStreamResponse.FromString,
        )
        return call(events, metadata=self._metadata(), timeout=self.seconds, wait_for_ready=True)
