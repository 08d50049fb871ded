"""The loop against a real nats-server and a real HTTP sink."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiohttp import web
from eventrunner.source import consumer, intake, runner
from support_nats import NatsServer, eventually
from support_source import BATCH, Request, batch, echo, event, open_lab


async def test_posts_a_batch_as_it_came_stores_the_reply_as_it_came_and_acks(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter():
        body = b'[ {"specversion":"1.0","id":"1","source":"/s","type":"t", "data" : 1.50}]'
        await lab.publish(body, Content_Type=BATCH, Eventrunner_Count="1")
        await lab.finished()
        assert lab.sink.requests[0].body == body
        assert lab.sink.requests[0].headers["Content-Type"] == BATCH
        assert lab.sink.requests[0].headers["Eventrunner-Count"] == "1"
        (stored,) = await lab.stored("EVENTS")
        assert stored.subject == "events.acme"
        assert stored.headers["Eventrunner-Count"] == "1"
        assert await lab.stored("RAW") == []


async def test_joins_messages_of_all_content_modes_into_one_request(server: NatsServer) -> None:
    async with open_lab(server) as lab:
        await lab.publish(event(1))
        await lab.publish([event(2), event(3)])
        await lab.publish([])
        await lab.publish(
            b'{"a": 1}', ce_specversion="1.0", ce_id="4", ce_source="/b", ce_type="t", content_type="application/json"
        )
        await lab.publish(b" [ " + json.dumps(event(5)).encode() + b" ] ")
        # The linger, because the messages may come in several pieces.
        async with lab.adapter(batch={"linger": "PT0.3S"}):
            await lab.finished()
        (request,) = lab.sink.requests
        assert request.ids == ["1", "2", "3", "4", "5"]
        assert request.events[3]["data"] == {"a": 1}
        assert await lab.ids("EVENTS") == ["1", "2", "3", "4", "5"]


async def test_a_request_stays_within_the_batch_limits(server: NatsServer) -> None:
    async with open_lab(server) as lab:
        for start in range(0, 100, 4):
            await lab.publish([event(number) for number in range(start, start + 4)])
        async with lab.adapter(batch={"maxEvents": 10, "maxBytes": 2000}):
            await lab.finished()
        assert sum(len(request.events) for request in lab.sink.requests) == 100
        assert max(len(request.events) for request in lab.sink.requests) == 8
        assert max(len(request.body) for request in lab.sink.requests) <= 2001


async def test_a_message_larger_than_a_request_may_be_comes_alone(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter(batch={"maxEvents": 10, "maxBytes": 1000}):
        await lab.publish(event("small"))
        await lab.publish(event("large", data="x" * 100_000))
        await lab.publish(event("after"))
        await lab.finished()
        assert await lab.ids("EVENTS") == ["after", "large", "small"]


@pytest.mark.alone
async def test_lingers_to_fill_a_request_and_not_without_being_told(server: NatsServer) -> None:
    async with open_lab(server) as lab:
        async with lab.adapter(batch={"maxEvents": 3, "linger": "PT0.4S"}):
            await lab.publish(event(1))
            await asyncio.sleep(0.1)
            await lab.publish(event(2))
            await lab.finished()
            assert [request.ids for request in lab.sink.requests] == [["1", "2"]]
            started = time.monotonic()
            for number in (3, 4, 5):
                await lab.publish(event(number))
            await lab.finished()
            assert time.monotonic() - started < 0.35
        async with lab.adapter():
            await asyncio.sleep(0.2)
            started = time.monotonic()
            await lab.publish(event(6))
            await eventually(lambda: len(lab.sink.requests) == 3)
            assert lab.sink.requests[-1].at - started < 0.2


async def test_never_has_more_requests_in_flight_than_it_may(server: NatsServer) -> None:
    running, most = 0, 0

    async def slow(request: Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return echo(request)

    async with open_lab(server, slow) as lab:
        for number in range(20):
            await lab.publish(event(number))
        async with lab.adapter(inFlight=3, batch={"maxEvents": 2}):
            await lab.finished()
    assert most == 3


async def test_a_reply_that_comes_again_is_stored_once(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "ACK_WAIT", 1.0)
    async with open_lab(server) as lab:
        await lab.publish([event(1), event(2)])
        with monkeypatch.context() as lost:
            lost.setattr(intake, "_ACK", b"+WPI")
            async with lab.adapter():
                await eventually(lambda: len(lab.sink.requests) == 1)
                await asyncio.sleep(0.1)
        async with lab.adapter():
            await lab.finished()
        assert len(lab.sink.requests) == 2
        assert len(await lab.stored("EVENTS")) == 1


async def test_results_failures_and_usage_go_their_ways(server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        good, bad, _gone = request.events
        usage = event("u", type="eventrunner.usage", data={"stage": "stage"})
        return batch([good, bad | {"knativeerrorcode": 422, "knativeerrordata": "no"}, usage])

    async with open_lab(server, answer) as lab, lab.adapter():
        await lab.publish([event(1), event(2), event(3)])
        await lab.finished()
        assert await lab.ids("EVENTS") == ["1"]
        assert [message.subject for message in await lab.stored("USAGE")] == ["usage.acme"]
        (letter,) = await lab.stored("DEADLETTER")
        assert letter.subject == "deadletter.stage.acme"
        assert letter.events[0]["id"] == "2"


async def test_marks_inside_the_data_change_nothing(server: NatsServer) -> None:
    data = {"knativeerrorcode": 1, "type": "eventrunner.usage", "text": '"knativeerrorcode"'}
    async with open_lab(server) as lab, lab.adapter():
        await lab.publish([event(1, data=data)])
        await lab.finished()
        assert (await lab.events("EVENTS"))[0]["data"] == data
        assert await lab.stored("DEADLETTER") == []


async def test_a_reply_for_several_tenants_is_taken_apart(server: NatsServer) -> None:
    async with open_lab(server) as lab:
        for number in range(6):
            tenant = f"t{number % 3}"
            await lab.publish(event(number, tenant), f"raw.{tenant}")
        async with lab.adapter():
            await lab.finished()
        assert len(lab.sink.requests) == 1
        stored = {message.subject: [item["id"] for item in message.events] for message in await lab.stored("EVENTS")}
        assert stored == {"events.t0": ["0", "3"], "events.t1": ["1", "4"], "events.t2": ["2", "5"]}


async def test_a_reply_without_tenants_is_routed_by_the_messages_one_tenant_at_a_time(server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        return batch([{name: value for name, value in item.items() if name != "tenantid"} for item in request.events])

    async with open_lab(server, answer) as lab:
        for tenant in ("t1", "t2"):
            await lab.publish(event(tenant, tenant), f"raw.{tenant}")
        async with lab.adapter():
            await lab.finished()
        assert {message.subject for message in await lab.stored("EVENTS")} == {"events.t1", "events.t2"}
        assert await lab.stored("DEADLETTER") == []


async def test_a_reply_over_the_servers_limit_is_cut(server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        return batch([item | {"data": "x" * 1_000_000} for item in request.events])

    async with open_lab(server, answer) as lab, lab.adapter():
        await lab.publish([event(number) for number in range(20)])
        await lab.finished()
        assert len(await lab.stored("EVENTS")) == 3
        assert len(await lab.events("EVENTS")) == 20


async def test_a_result_too_large_to_store_is_a_dead_letter_without_its_data(server: NatsServer) -> None:
    def answer(request: Request) -> web.Response:
        return batch([item | ({"data": "x" * 9_000_000} if item["id"] == "1" else {}) for item in request.events])

    async with open_lab(server, answer) as lab, lab.adapter():
        await lab.publish([event(0), event(1)])
        await lab.finished()
        assert await lab.ids("EVENTS") == ["0"]
        (letter,) = await lab.events("DEADLETTER")
        assert letter["knativeerrorcode"] == 413
        assert "data" not in letter


async def test_events_that_do_not_pass_the_filters_go_nowhere(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter(filters=[{"prefix": {"type": "order."}}]):
        await lab.publish([event(1, type="order.new"), event(2, type="shop.open"), event(3, type="order.old")])
        await lab.publish(event(4, type="shop.closed"))
        await lab.finished()
        assert [request.ids for request in lab.sink.requests] == [["1", "3"]]


@pytest.mark.parametrize("form", ["structured", "binary"])
async def test_a_sink_that_wants_single_events_gets_them(server: NatsServer, form: str) -> None:
    def answer(request: Request) -> web.Response:
        return web.Response(body=request.body, headers={k: v for k, v in request.headers.items() if k != "Host"})

    async with open_lab(server, answer) as lab, lab.adapter(format=form, inFlight=2):
        await lab.publish([event(number, data={"n": number}) for number in range(5)])
        await lab.finished()
        assert len(lab.sink.requests) == 5
        assert await lab.ids("EVENTS") == ["0", "1", "2", "3", "4"]
        assert all(item["data"] == {"n": int(item["id"])} for item in await lab.events("EVENTS"))


async def test_a_reply_can_go_to_a_destination(server: NatsServer) -> None:
    async with open_lab(server) as lab, open_lab(server) as other:
        async with lab.adapter(reply={"uri": other.sink.url}):
            await lab.publish([event(1), event(2)])
            await lab.finished()
        assert [request.ids for request in other.sink.requests] == [["1", "2"]]
        assert await lab.stored("EVENTS") == []


async def test_a_reply_that_its_destination_refuses_is_a_dead_letter(server: NatsServer) -> None:
    async with open_lab(server) as lab, open_lab(server, lambda request: web.Response(status=400, text="no")) as other:
        async with lab.adapter(reply={"uri": other.sink.url}):
            await lab.publish([event(1), event(2)])
            await lab.finished()
        assert await lab.ids("DEADLETTER") == ["1", "2"]


async def test_a_tenants_events_keep_their_order_when_asked_for(server: NatsServer) -> None:
    seen: dict[str, list[int]] = {}
    busy: set[str] = set()

    async def answer(request: Request) -> web.Response:
        tenants = {item["tenantid"] for item in request.events}
        assert not tenants & busy
        busy.update(tenants)
        await asyncio.sleep(0.01 * (len(request.events) % 3))
        busy.difference_update(tenants)
        if len(request.events) == 7:
            return web.Response(status=400)
        for item in request.events:
            seen.setdefault(item["tenantid"], []).append(int(item["id"]))
        return web.Response(status=204)

    async with open_lab(server, answer) as lab:
        for number in range(120):
            tenant = f"t{number % 4}"
            await lab.publish(event(number, tenant), f"raw.{tenant}")
        async with lab.adapter(ordering="ByTenant", inFlight=4, batch={"maxEvents": 7}):
            await lab.finished()
    assert sum(len(numbers) for numbers in seen.values()) == 120
    assert all(numbers == sorted(numbers) for numbers in seen.values())


async def test_two_adapters_share_the_work(server: NatsServer) -> None:
    async def slow(request: Request) -> web.Response:
        await asyncio.sleep(0.02)
        return echo(request)

    async with open_lab(server, slow) as lab, lab.adapter(batch={"maxEvents": 1}), lab.adapter(batch={"maxEvents": 1}):
        await asyncio.sleep(0.3)
        for number in range(40):
            await lab.publish(event(number))
        await lab.finished()
        assert len(lab.sink.requests) == 40
        assert len(await lab.ids("EVENTS")) == 40


async def test_a_long_request_keeps_its_messages(server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "ACK_WAIT", 1.0)
    monkeypatch.setattr(runner, "ACK_WAIT", 1.0)

    async def slow(request: Request) -> web.Response:
        await asyncio.sleep(3)
        return echo(request)

    async with open_lab(server, slow) as lab, lab.adapter():
        await lab.publish([event(1)])
        await lab.finished()
        assert len(lab.sink.requests) == 1


async def test_holds_no_more_than_it_can_work_on_when_large_messages_follow_small_ones(server: NatsServer) -> None:
    answers = asyncio.Event()

    async def wait(request: Request) -> web.Response:
        if len(request.events) > 1:
            await answers.wait()
        return echo(request)

    async with open_lab(server, wait) as lab, lab.adapter(batch={"maxEvents": 1000}):  # type: ignore[arg-type]
        for number in range(20):
            await lab.publish(event(number))
            await lab.finished()
        for start in range(100, 20_100, 100):
            await lab.publish([event(start + number) for number in range(100)])
        await asyncio.sleep(0.3)
        consumer = await lab.api.request("CONSUMER.INFO.RAW.stage")
        # Room for 9 000 events, and what an open request may bring on top of it.
        assert consumer["num_ack_pending"] <= 130
        answers.set()
        await lab.finished()
        assert len(await lab.ids("EVENTS")) == 20_020
