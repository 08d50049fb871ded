"""What everybody has read goes, what somebody has not read stays, and a full stream says who keeps it full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from eventrunner.errors import InvalidInput
from eventrunner.source import keeper
from eventrunner.source.keeper import StreamKeeper
from eventrunner.source.levels import read_level
from eventrunner.source.streams import parse_stream
from eventrunner.storage.jetstream import JetStreamApi, connect
from nats.aio.client import Client
from prometheus_client import REGISTRY
from support_nats import NatsServer, eventually
from support_source import event, open_lab

OFTEN = 0.1


class Stream:
    """The stream S with messages of the tenants a and b, of a kilobyte each."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.api = JetStreamApi(client)
        self.keeper = StreamKeeper(client, "S", ["reader"])

    async def make(self, **config: Any) -> None:
        given = {"subjects": ["s.>"], "storage": "file", "discard": "new", "allow_direct": True, **config}
        await self.api.request("STREAM.CREATE.S", {"name": "S", **given})

    async def consumer(self, name: str, subject: str = "s.>") -> None:
        config = {"name": name, "durable_name": name, "filter_subject": subject, "ack_policy": "explicit"}
        await self.api.request(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})

    async def publish(self, count: int, subject: str = "s.a") -> None:
        for _ in range(count):
            await self.client.jetstream().publish(subject, bytes(1024))

    async def read(self, name: str, count: int) -> None:
        subscription = await self.client.jetstream().pull_subscribe_bind(name, "S")
        for message in await subscription.fetch(count):
            await message.ack_sync()

    async def sequences(self) -> tuple[int, int]:
        level = await read_level(self.api, "S")
        return level.first, level.last


@asynccontextmanager
async def stream(server: NatsServer, **config: Any) -> AsyncIterator[Stream]:
    client = await connect(server.url, name="test")
    made = Stream(client)
    await made.make(**config)
    try:
        yield made
    finally:
        await client.close()


def keeping(duration: str) -> dict[str, Any]:
    return {"metadata": {"eventrunner.dev/keep-read": duration}}


async def test_what_one_of_two_readers_has_not_acked_stays_however_old_it_is(server: NatsServer) -> None:
    async with stream(server, **keeping("300ms")) as s:
        await s.consumer("reader")
        await s.consumer("slow")
        await s.publish(10)
        await s.read("reader", 10)
        await s.read("slow", 4)
        await asyncio.sleep(0.5)
        await s.keeper.look()
        assert await s.sequences() == (5, 10)
        await s.read("slow", 6)
        await s.publish(2)
        await s.keeper.look()
        assert await s.sequences() == (11, 12)


async def test_what_is_read_stays_for_its_time_while_there_is_room(server: NatsServer) -> None:
    async with stream(server, max_bytes=100_000, **keeping("1h")) as s:
        await s.consumer("reader")
        await s.publish(40)
        await s.read("reader", 40)
        await s.keeper.look()
        assert await s.sequences() == (1, 40)


async def test_what_is_read_makes_room_when_the_stream_is_half_full(server: NatsServer) -> None:
    async with stream(server, max_bytes=100_000, **keeping("1h")) as s:
        await s.consumer("reader")
        await s.publish(80)
        await s.keeper.look()
        assert await s.sequences() == (1, 80)
        await s.read("reader", 60)
        await s.keeper.look()
        first, last = await s.sequences()
        assert 61 >= first >= 30
        assert last == 80
        assert (await read_level(s.api, "S")).bytes <= 55_000


async def test_nothing_goes_while_a_source_of_the_adapter_has_no_consumer(server: NatsServer) -> None:
    async with stream(server, **keeping("1ms")) as s:
        await s.consumer("other")
        await s.publish(3)
        await s.read("other", 3)
        await s.keeper.look()
        assert await s.sequences() == (1, 3)
        await s.consumer("reader")
        await s.keeper.look()
        assert await s.sequences() == (1, 3)
        await s.read("reader", 3)
        await s.keeper.look()
        assert (await read_level(s.api, "S")).messages == 0


async def test_a_reader_of_one_tenant_keeps_what_is_its_own_and_later(server: NatsServer) -> None:
    async with stream(server, **keeping("1ms")) as s:
        await s.consumer("reader")
        await s.consumer("of-b", "s.b")
        await s.publish(3, "s.a")
        await s.publish(1, "s.b")
        await s.publish(3, "s.a")
        await s.read("reader", 7)
        await s.keeper.look()
        assert await s.sequences() == (4, 7)
        await s.read("of-b", 1)
        await s.publish(1, "s.a")
        await s.keeper.look()
        assert await s.sequences() == (8, 8)


async def test_a_consumer_that_keeps_no_place_keeps_nothing(server: NatsServer) -> None:
    async with stream(server, **keeping("1ms")) as s:
        await s.consumer("reader")
        config = {"ack_policy": "explicit", "inactive_threshold": 10**12}
        await s.api.request("CONSUMER.CREATE.S", {"stream_name": "S", "config": config})
        await s.publish(3)
        await s.read("reader", 3)
        await s.keeper.look()
        assert (await read_level(s.api, "S")).messages == 0


async def test_a_stream_that_does_not_say_so_is_left_alone(server: NatsServer) -> None:
    async with stream(server, max_bytes=5000) as s:
        await s.consumer("reader")
        await s.publish(4)
        await s.read("reader", 4)
        await s.keeper.look()
        assert await s.sequences() == (1, 4)


async def test_a_full_stream_names_who_keeps_it_full(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async with stream(server, max_bytes=10_000) as s:
        await s.consumer("reader")
        await s.consumer("quick")
        await s.publish(9)
        await s.read("quick", 9)
        with caplog.at_level(logging.WARNING):
            await s.keeper.look()
            await s.keeper.look()
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("The stream S is full to 9")
    assert "reader has not acked 9 messages, the oldest of 2" in line
    assert "quick" not in line
    labels = {"stream": "S", "consumer": "reader"}
    assert REGISTRY.get_sample_value("eventrunner_stream_unread_messages", labels) == 9
    assert REGISTRY.get_sample_value("eventrunner_stream_max_bytes", {"stream": "S"}) == 10_000
    assert (REGISTRY.get_sample_value("eventrunner_stream_bytes", {"stream": "S"}) or 0) > 9_000


async def test_an_adapter_keeps_its_streams(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_INTERVAL", OFTEN)
    async with open_lab(server) as lab:
        config = (await lab.api.request("STREAM.INFO.RESULTS"))["config"]
        await lab.api.request("STREAM.UPDATE.RESULTS", config | keeping("200ms"))
        await lab.sink.stop()
        source = {"stream": "RESULTS", "filterSubject": "results.>", "consumer": "analytics"}
        async with lab.adapter(**source):
            for number in range(10):
                await lab.publish(event(number), "results.acme")
            await asyncio.sleep(1)
            assert len(await lab.stored("RESULTS")) == 10
            await lab.sink.start()

            async def is_empty() -> bool:
                return not await lab.stored("RESULTS")

            await eventually(is_empty)
            assert {id for request in lab.sink.requests for id in request.ids} == {f"{n}" for n in range(10)}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"allowDirect": True, **keeping("an hour")}, "spec.metadata.eventrunner.dev/keep-read"),
        (keeping("1h"), "spec.allowDirect"),
        ({"metadata": {"a": 1}}, "spec.metadata"),
    ],
)
def test_a_manifest_by_which_nothing_could_be_trimmed_is_refused(spec: dict[str, Any], field: str) -> None:
    manifest = {
        "apiVersion": "jetstream.nats.io/v1beta2",
        "kind": "Stream",
        "metadata": {"name": "s"},
        "spec": {"name": "S", "subjects": ["s.>"], **spec},
    }
    with pytest.raises(InvalidInput) as caught:
        parse_stream(manifest)
    assert [error.field for error in caught.value.fields] == [field]
