"""One tenant's backlog must not keep the others waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from aiohttp import web
from support_nats import NatsServer, eventually
from support_source import Lab, Request, echo, event, open_lab

BACKLOG = 300
LIMITS: dict[str, Any] = {"batch": {"maxEvents": 5}, "inFlight": 1}


async def slowly(request: Request) -> web.Response:
    await asyncio.sleep(0.02)
    return echo(request)


async def publish_backlog(lab: Lab) -> None:
    for number in range(BACKLOG):
        await lab.publish(event(f"large-{number}", "large"), "raw.large")


def seen(lab: Lab) -> list[str]:
    return [identifier for request in lab.sink.requests for identifier in request.ids]


async def test_who_comes_late_with_little_is_served_before_a_backlog_is_worked_off(server: NatsServer) -> None:
    async with open_lab(server, slowly) as lab:  # type: ignore[arg-type]
        await publish_backlog(lab)
        for number in range(3):
            await lab.publish(event(f"small-{number}", "small"), "raw.small")
        await lab.publish([event(f"other-{number}", "other") for number in range(4)], "raw.other")
        async with lab.adapter(**LIMITS):
            await lab.finished(30)
        order = seen(lab)
        late = [place for place, identifier in enumerate(order) if not identifier.startswith("large")]
        assert max(late) < BACKLOG / 4
        assert Counter(order).most_common(1)[0][1] == 1
        assert len(order) == BACKLOG + 7
        assert len(await lab.ids("EVENTS")) == BACKLOG + 7
        assert not await lab.stored("RAW")


async def test_a_tenant_that_goes_on_sending_is_served_beside_the_backlog(server: NatsServer) -> None:
    async with open_lab(server, slowly) as lab:  # type: ignore[arg-type]
        await publish_backlog(lab)
        async with lab.adapter(**LIMITS):
            for number in range(10):
                await lab.publish(event(f"small-{number}", "small"), "raw.small")
                await eventually(lambda number=number: f"small-{number}" in seen(lab), 5)  # type: ignore[misc]
            assert len(seen(lab)) < BACKLOG
            await lab.finished(30)
        assert len(await lab.ids("EVENTS")) == BACKLOG + 10


async def test_poison_that_overtook_is_a_dead_letter_once(server: NatsServer) -> None:
    async def refuse(request: Request) -> web.Response:
        return web.Response(status=400, text="no") if "small-1" in request.ids else await slowly(request)

    async with open_lab(server, refuse) as lab:  # type: ignore[arg-type]
        await publish_backlog(lab)
        await lab.publish([event(f"small-{number}", "small") for number in range(3)], "raw.small")
        async with lab.adapter(**LIMITS):
            await lab.finished(30)
        assert await lab.ids("DEADLETTER") == ["small-1"]
        assert len(await lab.ids("EVENTS")) == BACKLOG + 2


async def test_what_overtook_and_was_not_settled_comes_again_with_its_consumer(server: NatsServer) -> None:
    async def hang(request: Request) -> web.Response:
        if any(identifier.startswith("small") for identifier in request.ids):
            await asyncio.sleep(60)
        return await slowly(request)

    async with open_lab(server, hang) as lab:  # type: ignore[arg-type]
        await publish_backlog(lab)
        await lab.publish(event("small", "small"), "raw.small")
        async with lab.adapter(**LIMITS | {"inFlight": 2}, delivery={"timeout": "PT1S", "retry": 1000}):
            await eventually(lambda: "small" in seen(lab), 10)
        lab.sink.answer = echo
        async with lab.adapter(**LIMITS):
            await lab.finished(30)
        # What the first adapter had sent may be there twice.
        assert len(set(await lab.ids("EVENTS"))) == BACKLOG + 1


async def test_a_tenants_order_is_kept_where_it_matters(server: NatsServer) -> None:
    async with open_lab(server, slowly) as lab:  # type: ignore[arg-type]
        await publish_backlog(lab)
        for number in range(20):
            await lab.publish(event(f"small-{number}", "small"), "raw.small")
        async with lab.adapter(**LIMITS, ordering="ByTenant"):
            await lab.finished(30)
        for tenant, count in (("large", BACKLOG), ("small", 20)):
            got = [identifier for identifier in seen(lab) if identifier.startswith(tenant)]
            assert got == [f"{tenant}-{number}" for number in range(count)]
