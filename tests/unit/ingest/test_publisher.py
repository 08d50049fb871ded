"""What clients of ingest are told while the message store is in trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from eventrunner.errors import Unavailable
from eventrunner.events import Event
from eventrunner.ingest.publisher import Publisher
from eventrunner.storage.jetstream import disconnect
from nats.aio.client import Client
from support_nats import NatsServer, nats_server


@asynccontextmanager
async def _publisher(server: NatsServer) -> AsyncIterator[Publisher]:
    client = Client()
    publisher = Publisher(client, max_events=10, max_bytes=100_000)
    await client.connect(server.url, disconnected_cb=publisher.disconnected, max_reconnect_attempts=-1)
    await client.jetstream().add_stream(name="RAW", subjects=["raw.>"], allow_atomic=True)
    try:
        yield publisher
    finally:
        await disconnect(client)


@pytest.mark.parametrize("count", [1, 25])
def test_who_waits_for_an_answer_is_told_when_the_server_dies(tmp_path: Path, count: int) -> None:
    async def run(server: NatsServer) -> None:
        async with _publisher(server) as publisher:
            events = {"acme": [Event(id=f"{n}", source="/s", type="t", tenantid="acme") for n in range(count)]}
            await publisher.store(events)
            server.pause()
            waiting = asyncio.create_task(publisher.store(events))
            await asyncio.sleep(0.2)
            died = time.monotonic()
            server.stop()
            with pytest.raises(Unavailable):
                await waiting
            assert time.monotonic() - died < 1

    with nats_server(tmp_path) as server:
        asyncio.run(run(server))
