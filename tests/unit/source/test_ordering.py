"""`ordering: ByTenant` with several adapters, and through what happens to them.

The promise: each tenant's events are answered for the first time in the order of the stream, and a tenant has one
request at a time. After a fault it may go some steps back and comes through the same events again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from eventrunner.errors import ConfigurationError
from eventrunner.source import consumer, runner
from eventrunner.source.consumer import ensure_consumer
from eventrunner.source.courier import Courier
from eventrunner.source.message import Parcel
from eventrunner.source.spec import parse_source
from eventrunner.storage.jetstream import JetStreamApi
from nats.aio.msg import Msg
from support_nats import NatsServer, eventually
from support_source import Lab, Request, echo, event, manifest, open_lab

ORDERED: dict[str, Any] = {"ordering": "ByTenant", "inFlight": 4, "batch": {"maxEvents": 3}}
TENANTS = [f"t{number}" for number in range(4)]


@dataclass
class Log:
    """An answer of a sink that notes what it has answered, and whether a tenant has two requests at once."""

    answered: dict[str, list[int]] = field(default_factory=dict)
    overlaps: int = 0
    delay: Callable[[Request], Awaitable[None]] | None = None
    busy: list[str] = field(default_factory=list)

    async def __call__(self, request: Request) -> web.Response:
        tenants = {item["tenantid"] for item in request.events}
        self.overlaps += bool(tenants & set(self.busy))
        self.busy += tenants
        try:
            await (asyncio.sleep(0.005 * (1 + len(request.body) % 3)) if self.delay is None else self.delay(request))
        finally:
            for tenant in tenants:
                self.busy.remove(tenant)
        for item in request.events:
            self.answered.setdefault(item["tenantid"], []).append(int(item["id"]))
        return echo(request)

    def check(self, **events: int) -> None:
        """Each tenant's events, 0 to its number, in order apart from some that came again, whose acks were lost."""
        assert set(self.answered) == set(events)
        for tenant, numbers in self.answered.items():
            latest = itertools.accumulate([-1, *numbers], max)
            assert all(number <= before + 1 for before, number in zip(latest, numbers, strict=False)), numbers
            assert max(numbers) == events[tenant] - 1


async def publish(lab: Lab, numbers: range, *tenants: str, pause: float = 0.0) -> None:
    for number in numbers:
        for tenant in tenants:
            await lab.publish(event(number, tenant), f"raw.{tenant}")
        await asyncio.sleep(pause)


def start(lab: Lab, folder: Path, name: str, **spec: Any) -> subprocess.Popen[bytes]:
    """An adapter of its own process, whose requests tell its name."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(manifest(f"{lab.sink.url}?{name}", **ORDERED | spec)))
    options = ["--sources", str(path), "--nats", lab.server.url]
    return subprocess.Popen([sys.executable, "-m", "eventrunner", "source", *options])


@contextlib.asynccontextmanager
async def two_processes(lab: Lab, folder: Path) -> AsyncIterator[dict[str, subprocess.Popen[bytes]]]:
    processes = {name: start(lab, folder, name) for name in ("one", "two")}
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def worker(lab: Lab) -> str:
    """The adapter that sent the last request."""
    return lab.sink.requests[-1].path.partition("?")[2]


class TestSeveralAdapters:
    async def test_one_works_and_the_others_stand_by(self, server: NatsServer) -> None:
        log = Log()
        one = ORDERED | {"batch": {"maxEvents": 1}}
        async with open_lab(server, log) as lab, lab.adapter(**one), lab.adapter(**one):
            await asyncio.sleep(0.3)
            await publish(lab, range(40), "acme")
            await lab.finished()
            log.check(acme=40)
            assert log.overlaps == 0
            assert len(lab.sink.requests) == 40
            assert len(await lab.stored("EVENTS")) == 40

    async def test_kill_9_of_the_working_one_keeps_every_tenants_order(
        self, server: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = Log()
        async with open_lab(server, log) as lab, two_processes(lab, tmp_path) as processes:
            load = asyncio.create_task(publish(lab, range(600), *TENANTS, pause=0.01))
            await eventually(lambda: len(lab.sink.requests) > 50, 20)
            dead = worker(lab)
            processes[dead].kill()
            killed = time.monotonic()
            await eventually(lambda: worker(lab) != dead)
            taken_over = lab.sink.requests[-1].at - killed
            with capsys.disabled():
                print(f"taken over within {taken_over:.1f} s", end=" ")
            await load
            await lab.finished(20)
            log.check(**dict.fromkeys(TENANTS, 600))
            assert log.overlaps == 0
            assert taken_over < 5
            assert set(await lab.ids("EVENTS")) == {str(number) for number in range(600)}

    async def test_sigterm_hands_over_at_once(self, server: NatsServer, tmp_path: Path) -> None:
        log = Log()
        async with open_lab(server, log) as lab, two_processes(lab, tmp_path) as processes:
            load = asyncio.create_task(publish(lab, range(300), *TENANTS, pause=0.01))
            await eventually(lambda: len(lab.sink.requests) > 50, 20)
            gone = worker(lab)
            processes[gone].send_signal(signal.SIGTERM)
            asked = time.monotonic()
            await eventually(lambda: worker(lab) != gone)
            assert lab.sink.requests[-1].at - asked < 2
            await load
            await lab.finished(20)
            log.check(**dict.fromkeys(TENANTS, 300))
            assert log.overlaps == 0

    async def test_one_that_was_stopped_for_long_does_not_go_on_with_what_it_has(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        log = Log(delay=lambda request: asyncio.sleep(0.03))
        async with open_lab(server, log) as lab:
            await publish(lab, range(600), *TENANTS)
            async with two_processes(lab, tmp_path) as processes:
                await eventually(lambda: len(lab.sink.requests) > 50, 20)
                stopped = worker(lab)
                processes[stopped].send_signal(signal.SIGSTOP)
                await eventually(lambda: worker(lab) != stopped)
                await asyncio.sleep(0.5)
                assert not await lab.is_done()
                processes[stopped].send_signal(signal.SIGCONT)
                await lab.finished(30)
            log.check(**dict.fromkeys(TENANTS, 600))
            assert log.overlaps == 0


class TestAfterACrash:
    async def test_what_hung_with_the_dead_one_goes_before_later_messages(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        log, hanging = Log(), True

        async def hang(request: Request) -> None:
            if hanging:
                await asyncio.sleep(3600)

        log.delay = hang
        async with open_lab(server, log) as lab:
            dead = start(lab, tmp_path, "dead")
            try:
                await publish(lab, range(50), "acme")
                await eventually(lambda: len(lab.sink.requests) >= 1)
                await asyncio.sleep(0.3)
            finally:
                dead.kill()
                dead.wait()
            hanging = False
            log.busy.clear()
            killed = time.monotonic()
            async with lab.adapter(**ORDERED):
                await publish(lab, range(50, 80), "acme", pause=0.1)
                await eventually(lambda: len(lab.sink.requests) > 1)
                assert lab.sink.requests[1].at - killed < 5
                await lab.finished()
            log.check(acme=80)

    async def test_an_error_in_a_delivery_holds_back_its_tenant_and_no_other(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("eventrunner.source.courier._CRASH_DELAY", 1.0)
        original, crashes, log = Courier._deliver, [0], Log()

        async def fail_twice(self: Courier, parcel: Parcel) -> bool:
            if crashes[0] < 2 and "acme" in parcel.tenants and b'"7"' in parcel.members():
                crashes[0] += 1
                self.window.release()
                raise RuntimeError("a bug")
            return await original(self, parcel)

        monkeypatch.setattr(Courier, "_deliver", fail_twice)
        alone = ORDERED | {"batch": {"maxEvents": 1}}
        async with open_lab(server, log) as lab, lab.adapter(**alone), lab.adapter(**alone):
            await publish(lab, range(20), "acme", "other")
            await eventually(lambda: len(log.answered.get("other", ())) == 20)
            assert log.answered["acme"] == list(range(7))
            await lab.finished()
            assert crashes == [2]
            log.check(acme=20, other=20)
            assert log.answered["acme"] == list(range(20))

    async def test_an_error_that_comes_every_time_is_a_dead_letter_in_the_end(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("eventrunner.source.courier._CRASH_DELAY", 0.05)
        original, log = Courier._deliver, Log()

        async def fail(self: Courier, parcel: Parcel) -> bool:
            if b'"7"' in parcel.members():
                self.window.release()
                raise RuntimeError("a bug")
            return await original(self, parcel)

        monkeypatch.setattr(Courier, "_deliver", fail)
        few = ORDERED | {"batch": {"maxEvents": 1}, "delivery": {"maxDeliver": 3}}
        async with open_lab(server, log) as lab, lab.adapter(**few):
            await publish(lab, range(10), "acme")
            await lab.finished()
            assert log.answered["acme"] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
            assert await lab.ids("DEADLETTER") == ["7"]

    async def test_a_message_lost_on_its_way_is_waited_for(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original, lost, log = runner.SourceRunner._receive, list[str](), Log()

        def lose_the_eighth(self: runner.SourceRunner, received: Msg) -> None:
            if b'"7"' in received.data and not lost:
                lost.append(received.reply)
            else:
                original(self, received)

        monkeypatch.setattr(runner.SourceRunner, "_receive", lose_the_eighth)
        async with open_lab(server, log) as lab, lab.adapter(**ORDERED):
            await publish(lab, range(30), "acme", pause=0.02)
            await lab.finished()
            assert lost
            log.check(acme=30)
            assert log.answered["acme"] == list(range(30))

    async def test_nats_restarting_keeps_the_order(self, server: NatsServer) -> None:
        log = Log()
        async with open_lab(server, log) as lab, lab.adapter(**ORDERED), lab.adapter(**ORDERED):
            await publish(lab, range(150), *TENANTS)
            await eventually(lambda: len(lab.sink.requests) > 20)
            await lab.stop_nats()
            await lab.start_nats()
            await publish(lab, range(150, 200), *TENANTS)
            await lab.finished(30)
            log.check(**dict.fromkeys(TENANTS, 200))


class TestFailingEvents:
    async def test_one_that_is_retried_holds_back_its_tenant_only(self, server: NatsServer) -> None:
        """Though there is more of that tenant than an adapter holds."""
        log = Log()

        async def answer(request: Request) -> web.Response:
            if any((item["tenantid"], item["id"]) == ("poison", "3") for item in request.events):
                return web.Response(status=500, text="not yet")
            return await log(request)

        delivery = {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT1S", "timeout": "PT5S"}
        async with open_lab(server, answer) as lab:
            await publish(lab, range(200), "poison")
            await publish(lab, range(20), "other")
            async with lab.adapter(**ORDERED, delivery=delivery):
                await eventually(lambda: len(log.answered.get("other", ())) == 20, 3)
                await publish(lab, range(20, 30), "other")
                await eventually(lambda: len(log.answered["other"]) == 30, 3)
                assert set(log.answered["poison"]) <= {0, 1, 2}
                await lab.finished(20)
            assert log.answered["poison"] == [number for number in range(200) if number != 3]
            assert log.answered["other"] == list(range(30))
            assert await lab.ids("DEADLETTER") == ["3"]

    async def test_tenants_that_share_a_request_do_not_share_its_retries(self, server: NatsServer) -> None:
        log = Log()

        async def answer(request: Request) -> web.Response:
            if any(item["tenantid"] == "t1" and item["id"] == "0" for item in request.events):
                return web.Response(status=500, text="not yet")
            return await log(request)

        shared = {"batch": {"maxEvents": 100, "linger": "PT0.3S"}, "reply": None, "inFlight": 2}
        delivery = {"retry": 2, "backoffPolicy": "linear", "backoffDelay": "PT2S", "timeout": "PT5S"}
        async with open_lab(server, answer) as lab:
            # The middle of this request is within a tenant.
            await publish(lab, range(3), "t1", "t2", "t3")
            await publish(lab, range(1), "t0")
            async with lab.adapter(**ORDERED | shared, delivery=delivery):
                await eventually(lambda: len(log.answered) == 3, 1.5)
                assert len(lab.sink.requests[0].events) == 10
                await lab.finished(20)
            assert log.answered == {"t0": [0], "t1": [1, 2], "t2": [0, 1, 2], "t3": [0, 1, 2]}
            assert await lab.ids("DEADLETTER") == ["0"]


class TestTheConsumer:
    async def test_becomes_ordered_and_unordered_as_the_manifest_says(self, server: NatsServer) -> None:
        log = Log()
        async with open_lab(server, log) as lab:
            for ordering in ("Unordered", "ByTenant", "Unordered"):
                first = len(log.answered.get("acme", ()))
                async with lab.adapter(**ORDERED | {"ordering": ordering}):
                    await publish(lab, range(first, first + 20), "acme")
                    await lab.finished()
                info = await lab.api.request("CONSUMER.INFO.RAW.stage")
                assert info["config"].get("priority_policy", "none") == (
                    "pinned_client" if ordering == "ByTenant" else "none"
                )
            assert sorted(log.answered["acme"]) == list(range(60))

    async def test_becomes_ordered_while_an_unordered_adapter_has_some_of_it(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        log, hanging = Log(), True

        async def hang(request: Request) -> None:
            if hanging:
                await asyncio.sleep(3600)

        log.delay = hang
        async with open_lab(server, log) as lab:
            dead = start(lab, tmp_path, "dead", ordering="Unordered")
            try:
                await publish(lab, range(30), "acme")
                await eventually(lambda: len(lab.sink.requests) == 4)
            finally:
                dead.kill()
                dead.wait()
            hanging = False
            log.busy.clear()
            async with lab.adapter(**ORDERED):
                await lab.finished()
            assert log.answered["acme"] == list(range(30))

    async def test_of_a_server_that_cannot_pin_is_refused_with_what_to_do(self, server: NatsServer) -> None:
        class Older(JetStreamApi):
            """Answers as servers before 2.11, which pass over what they do not know."""

            async def request(self, name: str, body: Any = None) -> dict[str, Any]:
                answer = await super().request(name, body)
                config = {key: value for key, value in answer["config"].items() if not key.startswith("priority")}
                return answer | {"config": config}

        async with open_lab(server) as lab:
            spec = parse_source(manifest("http://sink/", **ORDERED))
            await ensure_consumer(lab.api, spec)
            with pytest.raises(ConfigurationError, match=r"nats-server 2\.11"):
                await ensure_consumer(Older(lab.client), spec)

    async def test_that_cannot_be_changed_is_refused_with_what_to_do(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            config = {"durable_name": "stage", "ack_policy": "none", "deliver_policy": "all", "filter_subject": "raw.>"}
            await lab.api.request("STREAM.CREATE.X", {"name": "X", "subjects": ["x.>"]})
            config["filter_subject"] = "x.>"
            await lab.api.request("CONSUMER.CREATE.X.stage", {"stream_name": "X", "config": config})
            spec = parse_source(manifest("http://sink/", **ORDERED, stream="X", filterSubject="x.>"))
            with pytest.raises(ConfigurationError, match="nats consumer rm X stage"):
                await ensure_consumer(lab.api, spec)

    async def test_made_unordered_by_another_manifest_is_made_ordered_again(
        self, server: NatsServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = Log()
        async with open_lab(server, log) as lab, lab.adapter(**ORDERED):
            await publish(lab, range(5), "acme")
            await lab.finished()
            await ensure_consumer(lab.api, parse_source(manifest("http://sink/")))
            await publish(lab, range(5, 30), "acme", pause=0.1)
            await lab.finished()
            info = await lab.api.request("CONSUMER.INFO.RAW.stage")
            assert info["config"]["priority_policy"] == "pinned_client"
            log.check(acme=30)
            assert "does another manifest make it so?" in caplog.text


def test_the_pin_lasts_as_long_as_what_an_adapter_holds() -> None:
    spec = parse_source(manifest("http://sink/", **ORDERED))
    assert consumer._config(spec)["priority_timeout"] == consumer._config(spec)["ack_wait"]
