"""A tenant's dead letters leave room for those of others; what finds none waits, and nobody else does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from eventrunner.errors import QuotaExceeded
from eventrunner.ingest.full_letters import FullLetterBoxes
from eventrunner.source import consumer, letter_room, overtaking, parking, runner
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.letters import LetterFilter
from eventrunner.source.publication import Publication
from eventrunner.storage.full_letters import FullLetters
from eventrunner.storage.message_sizes import subject_bytes
from prometheus_client import REGISTRY
from support_nats import NatsServer, eventually
from support_source import STRUCTURED, Lab, Request, batch, echo, event, open_lab

SIZE = 60_000
"""Of the stream DEADLETTER in these tests."""
DATA = "x" * 700


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "_INTERVAL", 0.1)
    monkeypatch.setattr(letter_room, "_STALE", 0.1)
    monkeypatch.setattr(letter_room, "_RECOUNT", 0.5)


def refuse_poison(request: Request) -> web.Response:
    """As a sink that refuses requests with poison in them."""
    poison = any(identifier.startswith("poison") for identifier in request.ids)
    return web.Response(status=400, text="indigestible") if poison else echo(request)


def fail_poison(request: Request) -> web.Response:
    """As a stage that gives up poison itself and makes results of the rest."""
    return batch(
        [
            {**item, "knativeerrorcode": 422, "knativeerrordata": "no"} if item["id"].startswith("poison") else item
            for item in request.events
        ]
    )


@asynccontextmanager
async def small_lab(server: NatsServer, answer: Any = refuse_poison, size: int = SIZE) -> AsyncIterator[Lab]:
    async with open_lab(server, answer) as lab:
        await resize(lab, size)
        yield lab


async def resize(lab: Lab, size: int) -> None:
    config = (await lab.api.request("STREAM.INFO.DEADLETTER"))["config"]
    await lab.api.request("STREAM.UPDATE.DEADLETTER", config | {"max_bytes": size})


async def publish_poison(lab: Lab, count: int, tenant: str = "bad") -> set[str]:
    ids = [f"poison-{tenant}-{number}" for number in range(count)]
    for identifier in ids:
        await lab.publish(event(identifier, tenant, data=DATA), f"raw.{tenant}")
    return set(ids)


async def letters(lab: Lab, tenant: str) -> list[str]:
    return [item["id"] for item in await lab.events("DEADLETTER") if item["tenantid"] == tenant]


async def drop_all(lab: Lab, tenant: str) -> list[str]:
    """Ids of the letters that were there."""
    there = await letters(lab, tenant)
    await LetterBox(lab.client).drop_all(LetterFilter(tenant), None)
    return there


async def waiting(lab: Lab, tenant: str) -> set[str]:
    return {item["id"] for item in await lab.events("RAW") if item["tenantid"] == tenant}


def is_stopped(tenant: str = "bad") -> bool:
    labels = {"source": "stage", "tenant": tenant}
    return REGISTRY.get_sample_value("eventrunner_dead_letters_waiting_messages", labels) is not None


async def until_stopped(lab: Lab, messages: int, tenant: str = "bad") -> None:
    async def all_wait() -> bool:
        return is_stopped(tenant) and len(await waiting(lab, tenant)) == messages - len(await letters(lab, tenant))

    await eventually(all_wait, 15)


@pytest.mark.parametrize("answer", [refuse_poison, fail_poison], ids=["refused", "failed"])
async def test_one_tenants_poison_stops_that_tenant_alone(
    server: NatsServer, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with small_lab(server, answer) as lab, lab.adapter(inFlight=2, batch={"maxEvents": 10}):
        with caplog.at_level(logging.ERROR):
            poison = await publish_poison(lab, 120)
            await until_stopped(lab, 120)
        assert "no room for more dead letters of bad" in caplog.text
        for number in range(30):
            await lab.publish(event(f"good-{number}", "good"), "raw.good")
        await lab.publish(event("poison-good", "good"), "raw.good")

        async def good_is_done() -> bool:
            return not await waiting(lab, "good")

        await eventually(good_is_done)
        assert await lab.ids("EVENTS") == sorted(f"good-{number}" for number in range(30))
        assert await letters(lab, "good") == ["poison-good"]
        kept = await letters(lab, "bad")
        assert set(kept) | await waiting(lab, "bad") == poison
        level = (await lab.api.request("STREAM.INFO.DEADLETTER"))["state"]["bytes"]
        assert SIZE / 3 < level < SIZE * 0.7
        requests = len(lab.sink.requests)
        await asyncio.sleep(0.5)
        # What waits is not tried again and again.
        assert len(lab.sink.requests) == requests


async def test_all_of_it_becomes_dead_letters_once_as_room_is_made(server: NatsServer) -> None:
    async with small_lab(server) as lab, lab.adapter(inFlight=2, batch={"maxEvents": 10}):
        poison = await publish_poison(lab, 150)
        seen: list[str] = []
        while await waiting(lab, "bad"):
            await until_stopped(lab, 150 - len(seen))
            seen += await drop_all(lab, "bad")
            await eventually(lambda: not is_stopped())
            async with asyncio.timeout(20):
                while await waiting(lab, "bad") and not is_stopped():
                    await asyncio.sleep(0.05)
        seen += await drop_all(lab, "bad")
        assert Counter(seen) == Counter(poison)


async def test_a_message_of_much_poison_makes_each_letter_once(server: NatsServer) -> None:
    async with small_lab(server) as lab, lab.adapter(batch={"maxEvents": 20}):
        ids = [f"poison-{number}" for number in range(60)]
        for start in (0, 20, 40):
            await lab.publish([event(name, "bad", data=DATA) for name in ids[start : start + 20]], "raw.bad")
            # The second message began when there was room, and goes beyond the share; the third one waits.
            if start < 40:
                await lab.finished()
        await eventually(is_stopped)
        assert sorted(await letters(lab, "bad")) == sorted(ids[:40])
        await drop_all(lab, "bad")
        await lab.finished()
        assert sorted(await letters(lab, "bad")) == sorted(ids[40:])


async def test_a_request_that_makes_more_letters_than_fit_is_taken_in_parts(server: NatsServer) -> None:
    async with small_lab(server, fail_poison) as lab:
        poison = await publish_poison(lab, 100)
        await lab.publish(event("sound", "good"), "raw.good")
        seen: list[str] = []
        async with lab.adapter(batch={"maxEvents": 500}), asyncio.timeout(40):
            while len(seen) < 100:
                if is_stopped() or not await waiting(lab, "bad"):
                    seen += await drop_all(lab, "bad")
                await asyncio.sleep(0.2)
            await lab.finished()
        assert Counter(seen) == Counter(poison)
        assert set(await lab.ids("EVENTS")) == {"sound"}
        assert max(len(request.ids) for request in lab.sink.requests) > 60


async def test_several_tenants_of_poison_leave_room_for_one_that_comes_new(server: NatsServer) -> None:
    tenants = [f"bad-{number}" for number in range(4)]
    async with small_lab(server, size=150_000) as lab, lab.adapter(inFlight=2, batch={"maxEvents": 10}):
        for tenant in tenants:
            await publish_poison(lab, 110, tenant)
            await eventually(lambda tenant=tenant: is_stopped(tenant), 20)  # type: ignore[misc]
        await lab.publish(event("poison-new", "new", data=DATA), "raw.new")

        async def is_kept() -> bool:
            return await letters(lab, "new") == ["poison-new"]

        await eventually(is_kept)
        assert not is_stopped("new")


async def test_good_events_of_a_stopped_tenant_wait_and_then_pass(server: NatsServer) -> None:
    async with small_lab(server) as lab, lab.adapter(batch={"maxEvents": 10}):
        await publish_poison(lab, 80)
        await until_stopped(lab, 80)
        await lab.publish(event("sound", "bad"), "raw.bad")
        await asyncio.sleep(0.5)
        assert await lab.ids("EVENTS") == []
        await resize(lab, 100 * SIZE)
        await lab.finished()
        assert await lab.ids("EVENTS") == ["sound"]
        assert len(await letters(lab, "bad")) == 80


async def test_a_tenants_order_is_kept_over_the_wait(server: NatsServer) -> None:
    async with small_lab(server) as lab, lab.adapter(batch={"maxEvents": 10}, inFlight=2, ordering="ByTenant"):
        await publish_poison(lab, 60)
        await until_stopped(lab, 60)
        for number in range(40):
            await lab.publish(event(f"{number:02}", "bad"), "raw.bad")
        await asyncio.sleep(0.5)
        await resize(lab, 100 * SIZE)
        await lab.finished()
        order = [item["id"] for item in await lab.events("EVENTS")]
        assert order == [f"{number:02}" for number in range(40)]


async def test_what_waited_is_not_taken_for_what_kills_the_adapter(server: NatsServer) -> None:
    async with small_lab(server) as lab, lab.adapter(batch={"maxEvents": 10}, delivery={"maxDeliver": 1}):
        await publish_poison(lab, 80)
        await until_stopped(lab, 80)
        await lab.publish(event("sound", "bad"), "raw.bad")
        await asyncio.sleep(0.3)
        await resize(lab, 100 * SIZE)
        await lab.finished()
        assert await lab.ids("EVENTS") == ["sound"]
        assert {item["knativeerrordata"] for item in await lab.events("DEADLETTER")} == {"indigestible"}


async def test_an_adapter_that_leaves_lets_the_next_one_go_on_at_once(server: NatsServer) -> None:
    async with small_lab(server) as lab:
        async with lab.adapter(batch={"maxEvents": 10}):
            await publish_poison(lab, 80)
            await until_stopped(lab, 80)
        await resize(lab, 100 * SIZE)
        async with lab.adapter(batch={"maxEvents": 10}):
            await lab.finished(10)
        assert len(await letters(lab, "bad")) == 80


async def test_what_finds_no_room_while_an_adapter_leaves_is_the_next_ones_at_once(server: NatsServer) -> None:
    async def refuse_slowly(request: Request) -> web.Response:
        await asyncio.sleep(0.7)
        return refuse_poison(request)

    async with small_lab(server, refuse_slowly) as lab:
        for number in range(50):
            body = json.dumps(event(number, "bad", data=DATA)).encode()
            await lab.client.jetstream().publish("deadletter.stage.bad", body)
        async with lab.adapter():
            await publish_poison(lab, 1)
            await eventually(lambda: len(lab.sink.requests) == 1)
        assert await waiting(lab, "bad") == {"poison-bad-0"}
        await resize(lab, 100 * SIZE)
        async with lab.adapter():
            await lab.finished(10)
        assert (await letters(lab, "bad"))[-1] == "poison-bad-0"


async def test_others_overtake_when_what_waits_is_all_that_the_consumer_may_have_open(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure = consumer.ensure_consumer
    monkeypatch.setattr(overtaking, "_LONG", 5 * 10**8)

    async def ensure_small(api: Any, spec: Any) -> None:
        await ensure(api, spec)
        info = await api.request(f"CONSUMER.INFO.{spec.stream}.{spec.consumer}")
        config = info["config"] | {"max_ack_pending": 20}
        name = f"CONSUMER.CREATE.{spec.stream}.{spec.consumer}"
        await api.request(name, {"stream_name": spec.stream, "config": config})

    monkeypatch.setattr(runner, "ensure_consumer", ensure_small)
    async with small_lab(server) as lab:
        await publish_poison(lab, 150)
        async with lab.adapter(batch={"maxEvents": 10}):
            await eventually(is_stopped, 15)
            await asyncio.sleep(0.5)
            for number in range(5):
                await lab.publish(event(f"good-{number}", "good"), "raw.good")
            await lab.publish(event("poison-good", "good"), "raw.good")

            async def good_is_done() -> bool:
                return not await waiting(lab, "good")

            await eventually(good_is_done, 15)
            assert len(await lab.ids("EVENTS")) == 5
            assert await letters(lab, "good") == ["poison-good"]


class TestRoom:
    """Of a stream of 60 000 bytes."""

    @staticmethod
    def letter(tenant: str, number: int, size: int = 900) -> Publication:
        subject, body = f"deadletter.stage.{tenant}", json.dumps({"id": f"{number}", "data": "x" * size}).encode()
        return Publication(subject, body, STRUCTURED, f"{tenant}.{number}")

    async def store(self, lab: Lab, room: LetterRoom, tenant: str, numbers: range, size: int = 900) -> int:
        """How many were stored before the tenant was refused."""
        for number in numbers:
            letter = self.letter(tenant, number, size)
            if await room.refused([letter]):
                return number - numbers.start
            await lab.client.jetstream().publish(letter.subject, letter.body, headers=letter.headers)
        return len(numbers)

    async def test_one_tenant_gets_half_and_others_get_what_is_left(self, server: NatsServer) -> None:
        async with small_lab(server) as lab:
            room = LetterRoom(lab.client)
            first = await self.store(lab, room, "a", range(100))
            assert 25 <= first <= 31
            second = await self.store(lab, room, "b", range(100))
            assert 12 <= second <= 16
            assert await self.store(lab, room, "c", range(3)) == 3
            assert not await room.has_room("a", 900)
            assert await room.has_room("c", 900)

    async def test_what_others_added_and_removed_counts(self, server: NatsServer) -> None:
        async with small_lab(server) as lab:
            room, other = LetterRoom(lab.client), LetterRoom(lab.client)
            await self.store(lab, room, "a", range(22))
            # Large ones, of which only the number is seen at first.
            await self.store(lab, other, "a", range(30, 31), 12_000)
            await asyncio.sleep(0.6)
            assert await room.refused([self.letter("a", 50)])
            box = LetterBox(lab.client)
            page = await box.page(LetterFilter("a"), 20, None)
            await box.drop(page.letters)
            await asyncio.sleep(0.2)
            assert await room.has_room("a", 900)
            assert not await room.refused([self.letter("a", 51)])

    async def test_whose_message_has_letters_already_goes_on(self, server: NatsServer) -> None:
        async with small_lab(server) as lab:
            room = LetterRoom(lab.client)
            await self.store(lab, room, "a", range(100))
            letters = [self.letter("a", 100), self.letter("b", 1)]
            assert list(await room.refused(letters)) == ["a"]
            assert await room.refused(letters, lambda tenant: tenant == "a") == {}

    async def test_a_stream_without_a_limit_or_that_is_not_there_refuses_nobody(self, server: NatsServer) -> None:
        async with small_lab(server, size=-1) as lab:
            room = LetterRoom(lab.client)
            assert await self.store(lab, room, "a", range(80)) == 80
            await lab.api.request("STREAM.DELETE.DEADLETTER")
            await asyncio.sleep(0.2)
            assert await room.refused([self.letter("a", 1)]) == {}
            assert await room.has_room("a", 900)

    async def test_ingest_hears_whose_are_full_before_they_are(self, server: NatsServer) -> None:
        async with small_lab(server) as lab:
            room, boxes = LetterRoom(lab.client), FullLetterBoxes()
            await boxes.follow(lab.client)
            working = asyncio.create_task(room.run())
            try:
                await self.store(lab, room, "a", range(15))
                await self.store(lab, room, "b", range(2))
                await asyncio.sleep(1.5)
                boxes.check("a")
                await self.store(lab, room, "a", range(15, 22))

                def is_heard() -> bool:
                    try:
                        boxes.check("a")
                    except QuotaExceeded as error:
                        return "0.0 MiB of dead letters" in error.detail and "dead-letters list a" in error.detail
                    return False

                await eventually(is_heard, 5)
                boxes.check("b")
                assert not await room.refused([self.letter("a", 50)])
                assert (REGISTRY.get_sample_value("eventrunner_dead_letters_bytes", {"tenant": "a"}) or 0) > 15_000
                room_left = REGISTRY.get_sample_value("eventrunner_dead_letters_room_bytes") or 0
                assert 20_000 < room_left < 45_000
            finally:
                working.cancel()

    async def test_the_bytes_of_a_subject_are_counted_by_the_sizes_of_its_messages(self, server: NatsServer) -> None:
        async with small_lab(server, size=50_000_000) as lab:
            stream = lab.client.jetstream()
            for stage, size in (("one", 10), ("one", 5000), ("two", 70_000)):
                await stream.publish(f"deadletter.{stage}.acme", bytes(size), headers={"Nats-Msg-Id": f"{size}"})
            before = (await lab.api.request("STREAM.INFO.DEADLETTER"))["state"]["bytes"]
            for _ in range(9):
                await asyncio.gather(*(stream.publish("deadletter.one.other", bytes(300)) for _ in range(500)))
            whole = (await lab.api.request("STREAM.INFO.DEADLETTER"))["state"]["bytes"]
            count, size = await subject_bytes(lab.client, "DEADLETTER", "deadletter.*.acme")
            assert (count, size) == (3, pytest.approx(before, rel=0.01))
            count, size = await subject_bytes(lab.client, "DEADLETTER", "deadletter.*.other")
            assert (count, size) == (4500, pytest.approx(whole - before, rel=0.05))
            assert await subject_bytes(lab.client, "DEADLETTER", "deadletter.*.nobody") == (0, 0)
            assert (await lab.api.request("CONSUMER.LIST.DEADLETTER"))["total"] == 0


def test_what_an_adapter_said_counts_for_some_seconds() -> None:
    now = 0.0
    boxes = FullLetterBoxes(lambda: now)
    boxes.check("a")
    boxes.note(FullLetters({"a": 3 * 2**20}))
    with pytest.raises(QuotaExceeded) as caught:
        boxes.check("a")
    assert "3.0 MiB" in caught.value.detail
    assert caught.value.retry_after > 0
    boxes.check("b")
    now = 4.0
    boxes.note(FullLetters({"b": 1}))
    with pytest.raises(QuotaExceeded):
        boxes.check("a")
    now = 6.0
    boxes.check("a")
