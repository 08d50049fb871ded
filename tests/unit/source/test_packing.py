"""Packed batches on their way through the loop, against a real nats-server and a real HTTP sink."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from backports import zstd
from eventrunner.events.costs import Cost, charge
from eventrunner.events.packing import bracket, pack, unpack
from support_nats import NatsServer
from support_source import BATCH, Lab, Request, echo, event, open_lab

ZSTD = {"compression": "zstd", "batch": {"linger": "PT0.3S"}}


async def publish_packed(lab: Lab, events: list[dict[str, Any]], tenant: str = "acme") -> bytes:
    body = bracket(pack(b",".join(json.dumps(item).encode() for item in events)))
    count = str(len(events))
    await lab.publish(body, f"raw.{tenant}", Content_Type=BATCH, Content_Encoding="zstd", Eventrunner_Count=count)
    return body


def echo_in_sections(request: Request) -> web.Response:
    tenants: dict[str, list[bytes]] = {}
    for item in request.events:
        tenants.setdefault(item["tenantid"], []).append(json.dumps(item).encode())
    sections = {tenant: pack(b",".join(items)) for tenant, items in tenants.items()}
    header = ",".join(f"{tenant};{len(tenants[tenant])};{len(body)}" for tenant, body in sections.items())
    return web.Response(
        body=bracket(pack(b",").join(sections.values())),
        headers={
            "Content-Type": BATCH,
            "Content-Encoding": "zstd",
            "Eventrunner-Count": str(len(request.events)),
            "Eventrunner-Tenants": header,
        },
    )


async def test_a_packed_batch_and_its_packed_reply_are_never_opened(server: NatsServer) -> None:
    async with open_lab(server, echo_in_sections) as lab, lab.adapter(**ZSTD):
        body = await publish_packed(lab, [event(1), event(2)])
        await lab.finished()
        (request,) = lab.sink.requests
        assert (request.headers["Content-Encoding"], request.headers["Accept-Encoding"]) == ("zstd", "zstd")
        assert request.ids == ["1", "2"]
        (stored,) = await lab.stored("EVENTS")
        assert (stored.headers["Content-Encoding"], stored.headers["Eventrunner-Count"]) == ("zstd", "2")
        assert stored.body == body


async def test_packed_and_plain_messages_of_several_tenants_share_a_request(server: NatsServer) -> None:
    async with open_lab(server, echo_in_sections) as lab:
        await publish_packed(lab, [event(1), event(2)])
        await lab.publish([event(3, "globex")], "raw.globex")
        await publish_packed(lab, [event(4, "globex")], "globex")
        async with lab.adapter(**ZSTD):
            await lab.finished()
        (request,) = lab.sink.requests
        assert request.ids == ["1", "2", "3", "4"]
        stored = {item.subject: json.loads(unpack(item.body, 10_000)) for item in await lab.stored("EVENTS")}
        assert {subject: [item["id"] for item in events] for subject, events in stored.items()} == {
            "events.acme": ["1", "2"],
            "events.globex": ["3", "4"],
        }


async def test_a_sink_that_did_not_ask_for_it_gets_plain_json(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter():
        await publish_packed(lab, [event(1), event(2)])
        await lab.finished()
        (request,) = lab.sink.requests
        assert "Content-Encoding" not in request.headers
        assert json.loads(request.body) == [event(1), event(2)]
        assert await lab.ids("EVENTS") == ["1", "2"]


async def test_one_poison_event_of_a_packed_batch_is_found(server: NatsServer) -> None:
    def refuse_bad(request: Request) -> web.Response:
        return web.Response(status=422) if "bad" in request.ids else echo(request)

    async with open_lab(server, refuse_bad) as lab, lab.adapter(**ZSTD):
        await publish_packed(lab, [event(number) for number in range(6)] + [event("bad")])
        await lab.finished()
        assert await lab.ids("EVENTS") == [str(number) for number in range(6)]
        assert await lab.ids("DEADLETTER") == ["bad"]


async def test_a_packed_batch_that_cannot_be_opened_is_a_dead_letter_and_harms_no_other(server: NatsServer) -> None:
    def unreadable(request: Request) -> web.Response:
        return web.Response(status=400)

    async with open_lab(server, unreadable) as lab, lab.adapter(**ZSTD):
        broken = bracket(b"not a frame")
        await lab.publish(broken, Content_Type=BATCH, Content_Encoding="zstd", Eventrunner_Count="2")
        await lab.publish(b"\x1f\x8b", Content_Type=BATCH, Content_Encoding="gzip", Eventrunner_Count="2")
        await lab.finished()
        assert [item["type"] for item in await lab.events("DEADLETTER")] == ["eventrunner.undecodable"] * 2


async def test_what_others_packed_is_read(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter(**ZSTD):
        body = zstd.compress(json.dumps([event(1), event(2)]).encode())
        await lab.publish(body, Content_Type=BATCH, Content_Encoding="zstd")
        await lab.finished()
        assert await lab.ids("EVENTS") == ["1", "2"]


async def test_sections_that_do_not_fit_are_no_reply(server: NatsServer) -> None:
    def first_wrong(request: Request) -> web.Response:
        answer = echo_in_sections(request)
        if len(lab.sink.requests) == 1:
            answer.headers["Eventrunner-Tenants"] = "acme;2;7"
        return answer

    async with open_lab(server, first_wrong) as lab, lab.adapter(**ZSTD):
        await publish_packed(lab, [event(1), event(2)])
        await lab.finished()
        assert len(lab.sink.requests) == 2
        assert [message.subject for message in await lab.stored("EVENTS")] == ["events.acme"]


async def test_a_packed_request_says_where_each_tenants_events_are(server: NatsServer) -> None:
    async with open_lab(server, echo_in_sections) as lab:
        await publish_packed(lab, [event(1), event(2)])
        await publish_packed(lab, [event(3, "globex")], "globex")
        await publish_packed(lab, [event(4)])
        async with lab.adapter(**ZSTD):
            await lab.finished()
        (request,) = lab.sink.requests
        (acme, globex) = (entry.split(";") for entry in request.headers["Eventrunner-Tenants"].split(","))
        assert (acme[:2], globex[:2]) == (["acme", "3"], ["globex", "1"])
        assert request.ids == ["1", "2", "4", "3"]
        marks = len(bracket(b"")) + len(pack(b","))
        assert int(acme[2]) + int(globex[2]) + marks == int(request.headers["Content-Length"])


async def test_a_reply_that_names_a_tenant_twice_loses_nothing(server: NatsServer) -> None:
    def one_section_each(request: Request) -> web.Response:
        bodies = [pack(json.dumps(item).encode()) for item in request.events]
        header = ",".join(f"acme;1;{len(body)}" for body in bodies)
        headers = {"Content-Type": BATCH, "Content-Encoding": "zstd", "Eventrunner-Tenants": header}
        return web.Response(body=bracket(pack(b",").join(bodies)), headers=headers)

    async with open_lab(server, one_section_each) as lab, lab.adapter(**ZSTD):
        await publish_packed(lab, [event(1), event(2), event(3)])
        await lab.finished()
        assert await lab.ids("EVENTS") == ["1", "2", "3"]


async def test_what_stages_spent_reaches_a_sink_that_takes_plain_json(server: NatsServer) -> None:
    async with open_lab(server) as lab, lab.adapter():
        members = charge(pack(b",".join(json.dumps(event(n)).encode() for n in (1, 2))), Cost(cpu=70, memory=5))
        await lab.publish(bracket(members), Content_Type=BATCH, Content_Encoding="zstd", Eventrunner_Count="2")
        await lab.finished()
        (request,) = lab.sink.requests
        assert [(item["usagecpu"], item["usagemem"]) for item in request.events] == [(70, 5)] * 2
