"""Who is stopped for want of room for dead letters outlives the adapter that knows it, and others hear of it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from eventrunner.source import letter_room, parking
from eventrunner.source import stops as stops_module
from eventrunner.source.consumer import ensure_consumer
from eventrunner.source.spec import SourceSpec, parse_source
from eventrunner.source.stops import SourceStops, Stops
from eventrunner.storage.jetstream import connect, disconnect
from eventrunner.storage.records import STOPS
from eventrunner.storage.registry import Registry
from prometheus_client import REGISTRY
from support_nats import NatsServer, eventually
from support_source import Lab, event, manifest, open_lab

from tests.unit.source.test_letter_room import (
    is_stopped,
    letters,
    publish_poison,
    resize,
    small_lab,
    until_stopped,
    waiting,
)

_DELAY = 3
_SPEC = parse_source(manifest("http://sink/"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "_INTERVAL", 0.1)
    monkeypatch.setattr(letter_room, "_STALE", 0.1)
    monkeypatch.setattr(letter_room, "_RECOUNT", 0.5)


def start(lab: Lab, folder: Path, **spec: Any) -> subprocess.Popen[bytes]:
    """An adapter of its own process, with less patience than those that are shipped."""
    path = folder / "source.yaml"
    path.write_text(yaml.safe_dump(manifest(lab.sink.url, **spec)))
    code = (
        "from eventrunner.source import letter_room, parking; from eventrunner.cli.main import main; "
        f"parking._DELAY = {_DELAY}; letter_room._STALE = 0.1; main()"
    )
    options = ["source", "--sources", str(path), "--nats", lab.server.url]
    return subprocess.Popen([sys.executable, "-c", code, *options])


async def stop_and_kill(lab: Lab, folder: Path, messages: int, **spec: Any) -> None:
    """Leaves a stream with so many messages of a stopped tenant, and nobody who knows of them."""
    process = start(lab, folder, **spec)
    try:
        await publish_poison(lab, messages)

        async def all_wait() -> bool:
            there, kept = await waiting(lab, "bad"), await letters(lab, "bad")
            if not kept:
                return False
            info = await lab.api.request("CONSUMER.INFO.RAW.stage")
            return len(there) == messages - len(kept) and not info["num_pending"]

        await eventually(all_wait, 20)
        await asyncio.sleep(0.5)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("ordering", ["Unordered", "ByTenant"])
async def test_what_waited_when_its_adapter_was_killed_goes_on_soon_after_there_is_room(
    server: NatsServer, tmp_path: Path, ordering: str
) -> None:
    few: dict[str, Any] = {"batch": {"maxEvents": 10}, "delivery": {"maxDeliver": 1}, "ordering": ordering}
    async with small_lab(server) as lab:
        await stop_and_kill(lab, tmp_path, 80, **few)
        await resize(lab, 1_000_000)
        started = time.monotonic()
        async with lab.adapter(**few):
            await lab.finished(20)
            assert time.monotonic() - started < 2 * _DELAY + 2
        kept = await letters(lab, "bad")
        assert Counter(kept) == Counter(f"poison-bad-{number}" for number in range(80))
        # They have been delivered more often than is allowed, and that says nothing.
        assert {item["knativeerrordata"] for item in await lab.events("DEADLETTER")} == {"indigestible"}


async def test_an_adapter_that_comes_later_tries_nothing_of_who_is_stopped(
    server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with small_lab(server) as lab:
        await stop_and_kill(lab, tmp_path, 80, batch={"maxEvents": 10})
        tried = len(lab.sink.requests)
        async with lab.adapter(batch={"maxEvents": 10}):
            await eventually(is_stopped)
            await lab.publish(event("sound", "good"), "raw.good")
            await eventually(lambda: len(lab.sink.requests) > tried)
            await asyncio.sleep(_DELAY + 1)
            assert [request.ids for request in lab.sink.requests[tried:]] == [["sound"]]
            await resize(lab, 1_000_000)
            await lab.finished(20)
        assert "another adapter has stopped bad" in caplog.text


async def test_one_that_was_released_is_given_up_in_the_end_if_it_kills_every_adapter(server: NatsServer) -> None:
    async with open_lab(server) as lab:
        await Registry(lab.client).put(STOPS, "RAW.stage.bad", stops_module.Stop("gone", 0, 4).to_json())
        await ensure_consumer(lab.api, _SPEC)
        await lab.publish(event("deadly", "bad"), "raw.bad")
        await lab.publish(event("unlucky", "good"), "raw.good")
        subscription = await lab.client.jetstream().pull_subscribe_bind("stage", "RAW")
        for _ in range(5):
            for message in await subscription.fetch(2, timeout=5):
                await message.nak()
        async with lab.adapter(delivery={"maxDeliver": 2}):
            await lab.finished()
        assert await lab.ids("EVENTS") == ["deadly"]
        assert await lab.ids("DEADLETTER") == ["unlucky"]
        await lab.publish(event("deadly", "bad"), "raw.bad")
        for _ in range(6):
            for message in await subscription.fetch(1, timeout=5):
                await message.nak()
        async with lab.adapter(delivery={"maxDeliver": 2}):
            await lab.finished()
        assert await lab.ids("DEADLETTER") == ["deadly", "unlucky"]


async def test_without_the_bucket_an_adapter_says_so_and_works(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with small_lab(server) as lab:
        await lab.api.request(f"STREAM.DELETE.KV_{STOPS}")
        with caplog.at_level(logging.WARNING):
            async with lab.adapter(batch={"maxEvents": 10}):
                await publish_poison(lab, 80)
                await until_stopped(lab, 80)
                await resize(lab, 1_000_000)
                await lab.finished()
        assert caplog.text.count("there is no bucket stops (run `eventrunner streams apply`)") == 1
        assert len(await letters(lab, "bad")) == 80


async def test_the_bucket_is_made_by_an_adapter_that_has_the_manifests(server: NatsServer) -> None:
    async with small_lab(server) as lab:
        await lab.api.request(f"STREAM.DELETE.KV_{STOPS}")
        async with lab.adapter(make_streams=True, batch={"maxEvents": 10}):
            await publish_poison(lab, 80)
            await until_stopped(lab, 80)
            assert set(await Registry(lab.client).items(STOPS)) == {"RAW.stage.bad"}


async def test_two_adapters_share_what_waits_and_go_on_together(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "_DELAY", _DELAY)
    monkeypatch.setattr(parking, "_OVERDUE", 0.5)
    few = {"batch": {"maxEvents": 10}}
    async with small_lab(server) as lab:
        other = start(lab, tmp_path, **few)
        try:
            async with lab.adapter(**few):
                await publish_poison(lab, 120)
                await until_stopped(lab, 120)
                # Rounds in which each message comes to either of the two.
                await asyncio.sleep(3 * _DELAY)
                tried = len(lab.sink.requests)
                await asyncio.sleep(_DELAY)
                assert len(lab.sink.requests) == tried
                labels = {"source": "stage", "tenant": "bad"}
                here = REGISTRY.get_sample_value("eventrunner_dead_letters_waiting_messages", labels) or 0
                assert 0 < here < len(await waiting(lab, "bad"))
                await resize(lab, 1_000_000)
                await lab.finished(4)
                assert Counter(await letters(lab, "bad")) == Counter(f"poison-bad-{number}" for number in range(120))
        finally:
            other.kill()
            other.wait()


class TestTwoAdapters:
    @staticmethod
    @asynccontextmanager
    async def stops(server: NatsServer, spec: SourceSpec = _SPEC) -> AsyncIterator[SourceStops]:
        client = await connect(server.url, name="test")
        stops = Stops(client)
        source = stops.of(spec)
        works = [asyncio.create_task(stops.run()), asyncio.create_task(source.keep())]
        try:
            await source.load()
            yield source
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await disconnect(client)

    async def test_hear_of_each_others_stops_and_releases(self, server: NatsServer) -> None:
        async with open_lab(server), self.stops(server) as one, self.stops(server) as two:
            await one.stop("bad", 700, 3)
            async with asyncio.timeout(5):
                await two.arrived.wait()
            (stop,) = two.news().values()
            assert stop is not None
            assert stop.size == 700
            assert two.deliveries("bad") == one.deliveries("bad") > 3
            await two.release("bad")
            async with asyncio.timeout(5):
                await one.arrived.wait()
            (stop,) = one.news().values()
            assert stop is not None
            assert not stop.size
            assert not one.news()

    async def test_hear_nothing_of_other_sources(self, server: NatsServer) -> None:
        other = parse_source(manifest("http://sink/", consumer="other"))
        async with open_lab(server), self.stops(server) as one, self.stops(server, other) as two:
            await one.stop("bad", 700, 3)
            await asyncio.sleep(0.5)
            assert not two.news()
            assert not two.deliveries("bad")

    async def test_tell_a_source_that_is_started_again_what_it_wrote_itself(self, server: NatsServer) -> None:
        async with open_lab(server), self.stops(server) as one:
            await one.stop("bad", 700, 3)
            again = one._stops.of(_SPEC)

            async def is_known() -> bool:
                await again.load()
                return "bad" in again.news()

            await eventually(is_known)
            assert again.deliveries("bad") == one.deliveries("bad")

    async def test_write_little_however_often_messages_come_and_go(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, self.stops(server) as one:
            await one.stop("bad", 700, 1)
            for number in range(1, 101):
                for _ in range(20):
                    await one.allow("bad", number)
                assert one.deliveries("bad") > number
            state = (await lab.api.request(f"STREAM.INFO.KV_{STOPS}"))["state"]
            assert state["last_seq"] <= 100 / 16 + 1

    async def test_write_what_they_could_not_when_the_server_is_back(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, self.stops(server) as one:
            await lab.stop_nats()
            await one.stop("bad", 700, 1)
            await lab.start_nats()

            async def is_noted() -> bool:
                return "RAW.stage.bad" in await Registry(lab.client).items(STOPS)

            await eventually(is_noted, 10)

    async def test_forget_when_no_message_can_remember(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stops_module, "_FORGET_SECONDS", 0.5)
        async with open_lab(server) as lab, self.stops(server) as one, self.stops(server) as two:
            registry = Registry(lab.client)
            await ensure_consumer(lab.api, _SPEC)
            await lab.publish(event("waited", "bad"), "raw.bad")
            subscription = await lab.client.jetstream().pull_subscribe_bind("stage", "RAW")
            (message,) = await subscription.fetch(1)
            await one.stop("bad", 700, 1)
            await eventually(lambda: bool(two.news()))
            await asyncio.sleep(1.5)
            assert set(await registry.items(STOPS)) == {"RAW.stage.bad"}
            await one.release("bad")
            await asyncio.sleep(1.5)
            assert set(await registry.items(STOPS)) == {"RAW.stage.bad"}
            await message.ack()

            async def is_forgotten() -> bool:
                two.news()
                return not await registry.items(STOPS) and not one.deliveries("bad") and not two.deliveries("bad")

            await eventually(is_forgotten, 10)
