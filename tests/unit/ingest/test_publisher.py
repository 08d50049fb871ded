"""What clients of ingest are told while the message store is in trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from eventrunner.errors import Unavailable
from eventrunner.events import Event, decode_batch
from eventrunner.ingest.publisher import Publisher
from eventrunner.storage.jetstream import connect, disconnect
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


def _event(id: str) -> dict[str, list[Event]]:
    return {"acme": [Event(id=id, source="/s", type="t", tenantid="acme")]}


async def _one_after_the_other(publisher: Publisher, *ids: str) -> None:
    """Each comes a few turns of the event loop after the one before, and waits for none."""
    tasks = []
    for id in ids:
        tasks.append(asyncio.create_task(publisher.store(_event(id))))
        for _ in range(5):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def _stored(server: NatsServer) -> list[int]:
    """Events in each message."""
    client = await connect(server.url, name="test")
    api = client.jetstream()
    messages = (await api.stream_info("RAW")).state.messages
    found = [await api.get_msg("RAW", seq=number) for number in range(1, messages + 1)]
    await client.close()
    return [len(decode_batch(message.data or b"")) for message in found]


def test_where_several_have_shared_a_message_the_next_waits_for_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(server: NatsServer) -> None:
        async with _publisher(server) as publisher:
            await asyncio.gather(*(publisher.store(_event(f"{number}")) for number in range(3)))
            await _one_after_the_other(publisher, "3", "4")
            await _one_after_the_other(publisher, "5")
            assert await _stored(server) == [3, 2, 1]
            # Nobody came beside that one.
            monkeypatch.setattr("eventrunner.ingest.publisher._LINGER", 1000.0)
            await asyncio.wait_for(publisher.store(_event("6")), 30)
            assert await _stored(server) == [3, 2, 1, 1]

    monkeypatch.setattr("eventrunner.ingest.publisher._LINGER", 0.5)
    with nats_server(tmp_path) as server:
        asyncio.run(run(server))


def test_two_who_wait_for_each_answer_are_never_kept_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def client(publisher: Publisher, name: str) -> None:
        for number in range(50):
            await publisher.store(_event(f"{name}-{number}"))

    async def run(server: NatsServer) -> None:
        async with _publisher(server) as publisher:
            await asyncio.wait_for(asyncio.gather(*(client(publisher, name) for name in "ab")), 60)
            assert sum(await _stored(server)) == 100

    monkeypatch.setattr("eventrunner.ingest.publisher._LINGER", 1000.0)
    with nats_server(tmp_path) as server:
        asyncio.run(run(server))


@pytest.mark.parametrize("count", [1, 25])
@pytest.mark.alone
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
