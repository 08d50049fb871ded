"""The behaviour of every way in. A test module inherits `DoorSuite`, names its door and gives it a `lab` fixture.

A function lives longer than a test, so each test has a tenant of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from eventrunner.storage.jetstream import connect
from eventrunner.storage.records import Quota
from support_grpc import provision, stored
from support_nats import eventually, nats_server

from tests.unit.ingest.doors import Door, Lab, Send, cloudevent

__all__ = ["DoorSuite", "laboratory"]

_TENANTS = [f"tenant-{number}" for number in range(12)]
_BYTES = Quota(events_per_second=1_000_000, bytes_per_second=10)
_SETTINGS = {"EVENTRUNNER_MAX_EVENT_BYTES": "2000", "EVENTRUNNER_MAX_BODY_BYTES": "20000"}
_tenants = count()


def run(lab: Lab, door: Door, test: Callable[[Send], Awaitable[None]]) -> None:
    async def body() -> None:
        async with door.opened(lab) as send:
            await asyncio.wait_for(test(send), 60)

    asyncio.run(body())


async def ids(lab: Lab, tenant: str, count: int, seconds: float = 10) -> list[str]:
    return [event.id for event in await stored(lab.nats.url, tenant, count, seconds)]


@contextlib.contextmanager
def laboratory(door: Door, folder: Path) -> Iterator[Lab]:
    folder.mkdir(exist_ok=True)
    with nats_server(folder / "nats") as nats:
        keys = asyncio.run(provision(nats.url, _TENANTS))
        keys |= asyncio.run(provision(nats.url, ["limited"], _BYTES))
        with door.serve(folder, nats.url, **_SETTINGS) as (address, process):
            yield Lab(nats, address, process, keys)


class DoorSuite:
    door: ClassVar[Door]
    refuses_as_a_whole: ClassVar[bool] = True
    """Whether a request of which nothing is acceptable is an error."""

    @pytest.fixture
    def tenant(self) -> str:
        return _TENANTS[next(_tenants) % len(_TENANTS)]

    def test_what_is_accepted_is_stored_with_what_only_ingest_knows(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            answer = await send(cloudevent("1", data={"n": 1}), cloudevent("2", subject="s"), holder=tenant)
            assert (answer.status, answer.accepted, answer.rejected) == (202, 2, [])
            first, second = await stored(lab.nats.url, tenant, 2)
            assert (first.tenantid, first.id, first.source, first.type) == (tenant, "1", "/door", "order.placed")
            assert (second.id, second.subject) == ("2", "s")
            assert first.json_data == b'{"n": 1}'
            assert first.receivedtime
            assert first.traceparent
            assert first.usagein > 30

        run(lab, self.door, test)

    def test_a_bad_event_is_named_by_its_place_and_costs_the_others_nothing(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            answer = await send(
                cloudevent("0"),
                {**cloudevent("1"), "specversion": "0.3"},
                cloudevent("2", usagecpu="1"),
                cloudevent("3", time="yesterday"),
                cloudevent("4"),
                cloudevent("5", tenantid="somebody-else"),
                holder=tenant,
            )
            assert (answer.status, answer.accepted) == (202, 2)
            assert [(index, id) for index, id, _ in answer.rejected] == [(1, "1"), (2, "2"), (3, "3"), (5, "5")]
            errors = {index: error for index, _, error in answer.rejected}
            assert "specversion" in errors[1]
            assert "usagecpu" in errors[2]
            assert "time" in errors[3]
            assert "somebody-else" in errors[5]
            assert await ids(lab, tenant, 2) == ["0", "4"]

        run(lab, self.door, test)

    def test_when_nothing_is_acceptable_the_request_is_refused(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            answer = await send({**cloudevent("1"), "specversion": "0.3"}, holder=tenant)
            text = answer.detail if self.refuses_as_a_whole else answer.rejected[0][2]
            assert "specversion" in text
            assert (answer.status, answer.accepted) == (422 if self.refuses_as_a_whole else 202, 0)
            assert await ids(lab, tenant, 1, 0.5) == []

        run(lab, self.door, test)

    @pytest.mark.parametrize(("holder", "status"), [("nobody", 401), ("er_unknown", 401), ("tenant-0-user", 403)])
    def test_who_may_not_publish_is_refused(self, lab: Lab, holder: str, status: int) -> None:
        async def test(send: Send) -> None:
            assert (await send(cloudevent("1"), holder=holder)).status == status

        run(lab, self.door, test)

    def test_an_admin_names_the_tenant_and_others_only_their_own(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            assert (await send(cloudevent("1"), holder="admin", tenant=tenant)).accepted == 1
            assert (await send(cloudevent("2", tenantid=tenant), holder="admin")).accepted == 1
            assert await ids(lab, tenant, 2) == ["1", "2"]
            assert (await send(cloudevent("3"), holder="limited", tenant=tenant)).status == 403
            assert (await send(cloudevent("4"), holder="admin", tenant="no-such")).status == 403
            nameless = await send(cloudevent("5"), holder="admin")
            assert nameless.accepted == 0
            assert "tenantid" in nameless.detail or "tenantid" in nameless.rejected[0][2]

        run(lab, self.door, test)

    def test_what_is_sent_again_is_accepted_again(self, lab: Lab, tenant: str) -> None:
        """The stores know it by its source and id."""

        async def test(send: Send) -> None:
            for _ in range(2):
                assert (await send(cloudevent("1"), cloudevent("1"), holder=tenant)).accepted == 2
            assert await ids(lab, tenant, 4) == ["1"] * 4

        run(lab, self.door, test)

    def test_who_is_over_the_quota_is_told_when_to_come_back(self, lab: Lab) -> None:
        async def test(send: Send) -> None:
            # A request may overdraw, and is paid for by what comes after it.
            assert (await send(cloudevent("1", data="x" * 1000), holder="limited")).accepted == 1
            answer = await send(cloudevent("2"), holder="limited")
            assert (answer.status, "10 bytes" in answer.detail) == (429, True)
            assert 60 < answer.retry_after < 120
            assert await ids(lab, "limited", 2, 0.5) == ["1"]

        run(lab, self.door, test)

    def test_an_event_that_is_too_large_is_refused_alone(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            answer = await send(cloudevent("0"), cloudevent("1", data="x" * 3000), holder=tenant)
            assert (answer.accepted, [index for index, _, _ in answer.rejected]) == (1, [1])
            assert "2000" in answer.rejected[0][2]
            assert await ids(lab, tenant, 1) == ["0"]

        run(lab, self.door, test)

    def test_a_body_that_is_too_large_is_refused(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            assert (await send(cloudevent("1", data="x" * 30_000), holder=tenant)).status == 413
            assert (await send(cloudevent("2"), holder=tenant)).accepted == 1

        run(lab, self.door, test)

    def test_a_full_stream_takes_nothing_and_says_to_come_back(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            async with _limited(lab, 2000):
                for number in range(100):
                    answer = await send(cloudevent(str(number), data="x" * 500), holder=tenant)
                    if answer.status != 202:
                        break
            assert (answer.status, answer.retry_after) == (503, 1)
            assert "Nothing was taken" in answer.detail
            assert (await send(cloudevent("there is room again"), holder=tenant)).accepted == 1
            expected = [str(accepted) for accepted in range(number)]
            assert await ids(lab, tenant, number + 1) == [*expected, "there is room again"]

        run(lab, self.door, test)

    def test_a_caller_whose_time_is_over_is_not_held_and_the_door_stays_open(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            assert (await send(cloudevent("0"), holder=tenant)).accepted == 1
            lab.nats.pause()
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                await send(cloudevent("1"), holder=tenant, seconds=0.5)
            assert time.monotonic() - started < 2
            lab.nats.resume()
            assert (await send(cloudevent("2"), holder=tenant)).accepted == 1
            # Whether the one that nobody waited for got through is open, as its caller knows.
            assert [id for id in await ids(lab, tenant, 3, 1) if id != "1"] == ["0", "2"]

        run(lab, self.door, test)

    def test_without_nats_it_is_unavailable_and_recovers(self, lab: Lab, tenant: str) -> None:
        async def test(send: Send) -> None:
            assert (await send(cloudevent("0"), holder=tenant)).accepted == 1
            lab.nats.stop()
            answer = await send(cloudevent("1"), holder=tenant)
            assert (answer.status, answer.retry_after) == (503, 1)
            lab.nats.start()

            async def takes() -> bool:
                return (await send(cloudevent("2"), holder=tenant)).accepted == 1

            await eventually(takes, 20)

        run(lab, self.door, test)

    def test_at_its_end_what_is_under_way_is_finished(self, tmp_path: Path) -> None:
        with laboratory(self.door, tmp_path) as lab:

            async def test(send: Send) -> None:
                assert (await send(cloudevent("0"), holder="tenant-0")).accepted == 1
                lab.nats.pause()
                under_way = asyncio.create_task(send(cloudevent("1"), holder="tenant-0"))
                await asyncio.sleep(0.5)
                lab.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.5)
                lab.nats.resume()
                assert (await under_way).accepted == 1
                assert await asyncio.to_thread(lab.process.wait, 20) == 0
                assert await ids(lab, "tenant-0", 2) == ["0", "1"]

            run(lab, self.door, test)


@contextlib.asynccontextmanager
async def _limited(lab: Lab, more: int) -> AsyncIterator[None]:
    """RAW has room for some more bytes only."""
    client = await connect(lab.nats.url, name="test")
    stream = client.jetstream()
    info = await stream.stream_info("RAW")
    before = info.config.max_bytes
    info.config.max_bytes = info.state.bytes + more
    await stream.update_stream(info.config)
    try:
        yield
    finally:
        info.config.max_bytes = before
        await stream.update_stream(info.config)
        await client.close()
