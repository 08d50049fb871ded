"""Sinks that answer for the first events of a request, and are sent the others again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from eventrunner.events.packing import bracket, pack
from eventrunner.source.publisher import Publisher
from support_nats import NatsServer
from support_source import BATCH, Request, batch, event, open_lab


def first(count: int, handle: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list) -> Any:
    """Answers for so many events of each request."""

    def answer(request: Request) -> web.Response:
        events = request.events
        response = batch(handle(events[:count]))
        if len(events) > count:
            response.headers["Eventrunner-Handled"] = str(count)
        return response

    return answer


async def test_the_others_are_sent_again_at_once(server: NatsServer) -> None:
    async with open_lab(server, first(3)) as lab:
        await lab.publish([event(number) for number in range(5)])
        await lab.publish([event(number) for number in range(5, 8)])
        async with lab.adapter(batch={"linger": "PT0.3S"}, delivery={"backoffDelay": "PT9S"}):
            await lab.finished(5)
        assert [request.ids for request in lab.sink.requests] == [list("01234567"), list("34567"), list("67")]
        assert lab.sink.requests[1].headers["Eventrunner-Count"] == "5"
        assert await lab.ids("EVENTS") == list("01234567")


async def test_no_event_of_a_message_whose_header_miscounts_is_passed_over(server: NatsServer) -> None:
    async with open_lab(server, first(4)) as lab:
        await lab.publish([event(number) for number in range(6)], Eventrunner_Count="2")
        await lab.publish([event(number) for number in range(6, 9)])
        async with lab.adapter(batch={"linger": "PT0.3S"}):
            await lab.finished()
        assert await lab.ids("EVENTS") == list("012345678")


async def test_packed_messages_are_cut_too(server: NatsServer) -> None:
    async with open_lab(server, first(2)) as lab:
        members = b",".join(json.dumps(event(number)).encode() for number in range(5))
        headers = {"Content_Type": BATCH, "Content_Encoding": "zstd", "Eventrunner_Count": "5"}
        await lab.publish(bracket(pack(members)), **headers)
        async with lab.adapter():
            await lab.finished()
        assert [request.ids for request in lab.sink.requests] == [list("01234"), list("234"), list("4")]
        assert await lab.ids("EVENTS") == list("01234")


async def test_a_tenants_order_is_kept_over_partial_answers(server: NatsServer) -> None:
    async with open_lab(server, first(2)) as lab:
        for number in range(0, 12, 3):
            for tenant in ("acme", "globex"):
                await lab.publish([event(n, tenant) for n in range(number, number + 3)], f"raw.{tenant}")
        async with lab.adapter(ordering="ByTenant", inFlight=3, batch={"maxEvents": 7}):
            await lab.finished()
        for tenant in ("acme", "globex"):
            answered = [
                int(item["id"])
                for stored in await lab.stored("EVENTS")
                for item in stored.events
                if item["tenantid"] == tenant
            ]
            assert answered == list(range(12))


@pytest.mark.parametrize("ordering", ["Unordered", "ByTenant"])
async def test_an_error_between_two_answers_loses_and_repeats_nothing(
    ordering: str, server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventrunner.source.courier._CRASH_DELAY", 0.05)
    store, calls = Publisher.store, 0

    async def fail_once(self: Publisher, publications: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("a fault of the adapter's")
        await store(self, publications)

    monkeypatch.setattr(Publisher, "store", fail_once)
    async with open_lab(server, first(2)) as lab:
        await lab.publish([event(number) for number in range(5)])
        async with lab.adapter(ordering=ordering):
            await lab.finished()
        assert set(await lab.ids("EVENTS")) == set("01234")
        assert await lab.stored("RAW") == []
        if ordering == "ByTenant":
            assert [request.ids for request in lab.sink.requests][1:3] == [list("234"), list("234")]
            assert await lab.ids("EVENTS") == list("01234")


async def test_failures_among_the_first_are_dead_letters_and_the_others_go_on(server: NatsServer) -> None:
    def fail_odd(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            item | ({"knativeerrorcode": 422, "knativeerrordata": "odd"} if int(item["id"]) % 2 else {})
            for item in events
        ]

    async with open_lab(server, first(3, fail_odd)) as lab:
        await lab.publish([event(number) for number in range(7)])
        async with lab.adapter():
            await lab.finished()
        assert await lab.ids("EVENTS") == list("0246")
        assert await lab.ids("DEADLETTER") == list("135")
        letters = await lab.events("DEADLETTER")
        assert {letter["knativeerrorattempts"] for letter in letters} == {1}


@pytest.mark.parametrize("handled", ["0", "x", "-1"])
async def test_an_answer_for_nothing_is_a_failure(handled: str, server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        response = batch(request.events)
        if len(lab.sink.requests) == 1:
            response.headers["Eventrunner-Handled"] = handled
        return response

    async with open_lab(server, answer) as lab:
        await lab.publish([event(1), event(2)])
        async with lab.adapter():
            await lab.finished()
        assert [request.ids for request in lab.sink.requests] == [["1", "2"], ["1", "2"]]
        assert await lab.ids("EVENTS") == ["1", "2"]


async def test_a_number_that_is_all_or_more_means_all(server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        response = batch(request.events)
        response.headers["Eventrunner-Handled"] = "2"
        return response

    async with open_lab(server, answer) as lab:
        await lab.publish([event(1), event(2)])
        await lab.publish(event(3))
        async with lab.adapter(batch={"maxEvents": 2}):
            await lab.finished()
        assert len(lab.sink.requests) == 2
