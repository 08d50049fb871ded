"""What goes wrong around the loop, and what must not come of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from eventrunner.cli.processes import cpu_by_part
from eventrunner.events.packing import pack
from eventrunner.source import runner
from eventrunner.source.adapter import Adapter
from eventrunner.source.courier import Courier
from eventrunner.source.letter_box import LetterBox
from eventrunner.source.letters import LetterFilter
from eventrunner.source.spec import parse_source
from prometheus_client import REGISTRY
from support_nats import NatsServer, eventually, free_port
from support_source import BATCH, Lab, Request, batch, echo, event, manifest, open_lab


def refusing(*poison: str, status: int = 400) -> object:
    """An answer that refuses every request with one of these events in it."""

    def answer(request: Request) -> web.Response:
        if set(poison) & set(request.ids):
            return web.Response(status=status, text="indigestible\x00 " + "x" * 2000)
        return echo(request)

    return answer


class TestPoison:
    async def test_only_the_refused_event_is_a_dead_letter(self, server: NatsServer) -> None:
        async with open_lab(server, refusing("123")) as lab, lab.adapter():  # type: ignore[arg-type]
            await lab.publish([event(number, data={"n": number}) for number in range(500)])
            await lab.finished()
            assert len(await lab.ids("EVENTS")) == 499
            (stored,) = await lab.stored("DEADLETTER")
            (letter,) = stored.events
            assert stored.subject == "deadletter.stage.acme"
            assert letter["id"] == "123"
            assert letter["data"] == {"n": 123}
            assert letter["knativeerrorcode"] == 400
            assert letter["knativeerrordest"] == lab.sink.url
            assert letter["knativeerrordata"].startswith("indigestible")
            assert len(letter["knativeerrordata"]) == 1024
            assert letter["knativeerrorattempts"] == 10

    async def test_is_found_among_joined_messages(self, server: NatsServer) -> None:
        async with open_lab(server, refusing("3", "9")) as lab:  # type: ignore[arg-type]
            for start in range(0, 12, 2):
                await lab.publish([event(start), event(start + 1)])
            async with lab.adapter(inFlight=2):
                await lab.finished()
            assert await lab.ids("DEADLETTER") == ["3", "9"]
            assert len(await lab.ids("EVENTS")) == 10

    @pytest.mark.parametrize("status", [500, 502, 503])
    async def test_that_makes_the_sink_fail_is_given_up_after_its_retries(
        self, server: NatsServer, status: int
    ) -> None:
        async with open_lab(server, refusing("3", "17", status=status)) as lab, lab.adapter():  # type: ignore[arg-type]
            await lab.publish([event(number) for number in range(20)])
            await lab.finished()
            assert await lab.ids("DEADLETTER") == ["17", "3"]
            assert len(await lab.ids("EVENTS")) == 18
            alone = [request for request in lab.sink.requests if request.ids == ["3"]]
            assert len(alone) == 4

    async def test_that_kills_the_sink_is_given_up_when_others_get_through(self, server: NatsServer) -> None:
        def answer(request: Request) -> web.Response:
            if "poison" in request.ids:
                request.hang_up()
            return echo(request)

        async with open_lab(server, answer) as lab, lab.adapter(inFlight=2):
            await lab.publish(event("poison"))
            for number in range(60):
                await lab.publish(event(number))
                await asyncio.sleep(0.05)
            await lab.finished(30)
            assert await lab.ids("DEADLETTER") == ["poison"]
            assert len(await lab.ids("EVENTS")) == 60

    async def test_that_is_no_json_is_kept_as_bytes(self, server: NatsServer) -> None:
        def strict(request: Request) -> web.Response:
            try:
                return echo(request)
            except json.JSONDecodeError:
                return web.Response(status=400, text="not JSON")

        async with open_lab(server, strict) as lab:
            await lab.publish(event(1))
            await lab.publish(b"\xff\xfe garbage")
            await lab.publish(b'[{"id": }]', Content_Type=BATCH, Eventrunner_Count="1")
            await lab.publish(b'[{"id": }, 2]', Content_Type=BATCH, Eventrunner_Count="2")
            await lab.publish(b'[{"id": }]')
            await lab.publish(b"x", ce_specversion="1.0", ce_id="1")
            await lab.publish(event(2))
            async with lab.adapter():
                await lab.finished()
            assert await lab.ids("EVENTS") == ["1", "2"]
            letters = await lab.events("DEADLETTER")
            assert len(letters) == 5
            assert {letter["type"] for letter in letters} == {"eventrunner.undecodable"}
            assert len({letter["id"] for letter in letters}) == 5

    async def test_is_acked_only_when_its_dead_letter_is_stored(self, server: NatsServer) -> None:
        async with open_lab(server, refusing("1")) as lab:  # type: ignore[arg-type]
            await lab.api.request("STREAM.DELETE.DEADLETTER")
            async with lab.adapter():
                await lab.publish([event(0), event(1)])
                await eventually(lambda: len(lab.sink.requests) == 3)
                await asyncio.sleep(0.3)
                assert len(await lab.stored("RAW")) == 1
                await lab.make_streams()
                await lab.finished()
                assert await lab.ids("DEADLETTER") == ["1"]
                assert await lab.stored("RAW") == []

    async def test_that_came_too_often_is_not_sent_again(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            async with lab.adapter():
                await eventually(lambda: consumer_exists(lab))
            await lab.publish(event(1))
            taker = await lab.client.jetstream().pull_subscribe_bind("stage", stream="RAW")
            for _ in range(2):
                (message,) = await taker.fetch(1)
                await message.nak()
            async with lab.adapter(delivery={"maxDeliver": 2}):
                await lab.finished()
            assert lab.sink.requests == []
            (letter,) = await lab.events("DEADLETTER")
            assert letter["knativeerrordata"] == "delivered 3 times without any outcome"

    @pytest.mark.parametrize("packed", [False, True])
    async def test_that_came_too_often_can_be_replayed_event_by_event(self, server: NatsServer, packed: bool) -> None:
        async with open_lab(server) as lab:
            async with lab.adapter():
                await eventually(lambda: consumer_exists(lab))
            body = json.dumps([event(number, data="x" * 600) for number in range(500)]).encode()
            headers = {"Content-Type": BATCH, "Eventrunner-Count": "500"}
            if packed:
                body, headers["Content-Encoding"] = pack(b"[") + pack(body[1:-1]) + pack(b"]"), "zstd"
            await lab.client.jetstream().publish("raw.acme", body, headers=headers)
            taker = await lab.client.jetstream().pull_subscribe_bind("stage", stream="RAW")
            for _ in range(2):
                (message,) = await taker.fetch(1)
                await message.nak()
            async with lab.adapter(delivery={"maxDeliver": 2}):
                await lab.finished()
            letters = await lab.events("DEADLETTER")
            assert sorted(int(letter["id"]) for letter in letters) == list(range(500))
            assert {letter["knativeerrordata"] for letter in letters} == {"delivered 3 times without any outcome"}
            box = LetterBox(lab.client)
            cursor = None
            while True:
                replayed = await box.replay_all(LetterFilter("acme"), cursor)
                if (cursor := replayed.next_cursor) is None:
                    break
            async with lab.adapter():
                await lab.finished()
            assert len(await lab.ids("EVENTS")) == 500


class TestOutageOfTheSink:
    async def test_of_whatever_length_makes_no_dead_letters_and_few_requests(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, lab.adapter(inFlight=4, batch={"maxEvents": 5}):
            await lab.sink.stop()
            before = unanswered()
            for number in range(100):
                await lab.publish(event(number))
            await asyncio.sleep(3)
            # Those in flight when it began, and then one probe at a time, each after a longer pause.
            assert 4 < unanswered() - before < 20
            await asyncio.sleep(2)
            assert unanswered() - before < 22
            await lab.sink.start()
            await lab.finished()
            assert await lab.stored("DEADLETTER") == []
            assert len(await lab.ids("EVENTS")) == 100

    @pytest.mark.parametrize("status", [500, 503, 429, 408])
    async def test_with_answers_makes_no_dead_letters_either(self, server: NatsServer, status: int) -> None:
        async with open_lab(server, lambda request: web.Response(status=status)) as lab:
            for number in range(60):
                await lab.publish(event(number))
            async with lab.adapter(inFlight=3, batch={"maxEvents": 5}):
                await asyncio.sleep(3)
                during = len(lab.sink.requests)
                lab.sink.answer = echo
                await lab.finished()
            assert await lab.stored("DEADLETTER") == []
            assert len(await lab.ids("EVENTS")) == 60
            assert during < 60

    @pytest.mark.parametrize("status", [500, 503])
    async def test_takes_the_only_message_apart_no_further_than_to_find_poison(
        self, server: NatsServer, status: int
    ) -> None:
        async with open_lab(server, lambda request: web.Response(status=status)) as lab:
            await lab.publish([event(number) for number in range(1000)])
            async with lab.adapter(inFlight=2, batch={"maxEvents": 1000}):
                await asyncio.sleep(4)
                during = len(lab.sink.requests)
                lab.sink.answer = echo
                await lab.finished()
            assert await lab.stored("DEADLETTER") == []
            assert len(await lab.ids("EVENTS")) == 1000
            assert during < 60
            assert len(lab.sink.requests) - during < 60

    async def test_that_hangs_is_waited_for(self, server: NatsServer) -> None:
        async def hang(request: Request) -> web.Response:
            await asyncio.sleep(60)
            return echo(request)

        async with (
            open_lab(server, hang) as lab,
            lab.adapter(inFlight=2, batch={"maxEvents": 5}, delivery={"timeout": "PT0.3S", "backoffDelay": "PT0.05S"}),
        ):
            for number in range(20):
                await lab.publish(event(number))
            await asyncio.sleep(2)
            lab.sink.answer = echo
            await lab.finished()
            assert await lab.stored("DEADLETTER") == []
            assert len(await lab.ids("EVENTS")) == 20

    async def test_honours_retry_after(self, server: NatsServer) -> None:
        answers = [web.Response(status=503, headers={"Retry-After": "1"})]

        def answer(request: Request) -> web.Response:
            return answers.pop() if answers else echo(request)

        async with open_lab(server, answer) as lab, lab.adapter():
            await lab.publish(event(1))
            await lab.finished()
            first, second = lab.sink.requests
            assert 1.0 <= second.at - first.at < 2.0

    @pytest.mark.parametrize("alone", [True, False], ids=["of an event", "of the sink"])
    async def test_honours_retry_after_no_longer_than_the_source_says(self, server: NatsServer, alone: bool) -> None:
        status = 500 if alone else 503
        answers = [web.Response(status=status, headers={"Retry-After": "100"})]

        def answer(request: Request) -> web.Response:
            return answers.pop() if answers else echo(request)

        delivery = {"retry": 3, "backoffDelay": "PT0.02S", "retryAfterMax": "PT0.5S"}
        async with open_lab(server, answer) as lab, lab.adapter(delivery=delivery):
            await lab.publish(event(1))
            await lab.finished()
            first, second = lab.sink.requests
            assert 0.5 <= second.at - first.at < 1.5

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            ("garbage", {"Content-Type": BATCH}),
            ("[{]", {"Content-Type": BATCH}),
            ("[1]", {"Content-Type": BATCH}),
            ("<html>welcome</html>", {"Content-Type": "text/html"}),
            ("x", {"ce-specversion": "1.0"}),
        ],
    )
    async def test_an_answer_that_makes_no_sense_is_a_failure(
        self, server: NatsServer, body: str, headers: dict[str, str]
    ) -> None:
        answers = [web.Response(body=body.encode(), headers=headers)] * 1

        def answer(request: Request) -> web.Response:
            return answers.pop() if answers else echo(request)

        async with open_lab(server, answer) as lab, lab.adapter():
            await lab.publish([event(1), event(2)])
            await lab.finished()
            assert await lab.ids("EVENTS") == ["1", "2"]
            assert await lab.stored("DEADLETTER") == []

    async def test_an_answer_cut_off_half_way_is_a_failure(self, server: NatsServer) -> None:
        cut = [True]

        def answer(request: Request) -> web.Response:
            if cut:
                cut.clear()
                asyncio.get_running_loop().call_later(0.1, request.hang_up)
                return web.Response(body=b"[]", headers={"Content-Type": BATCH, "Content-Length": "5000"})
            return echo(request)

        async with open_lab(server, answer) as lab, lab.adapter():
            await lab.publish([event(1), event(2)])
            await lab.finished()
            assert await lab.ids("EVENTS") == ["1", "2"]

    @pytest.mark.parametrize("in_flight", [1, 2])
    async def test_several_events_that_make_it_fail_are_told_from_a_sink_that_is_away(
        self, server: NatsServer, in_flight: int
    ) -> None:
        """Though each of them is the only other thing that was tried."""

        def answer(request: Request) -> web.Response:
            bad = any(item["id"].startswith("bad") for item in request.events)
            return web.Response(status=503, headers={"Retry-After": "1"}) if bad else echo(request)

        delivery = {"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT0.1S", "timeout": "PT5S"}
        async with open_lab(server, answer) as lab, lab.adapter(inFlight=in_flight, delivery=delivery):
            for number in range(3):
                await lab.publish(event(f"bad-{number}"))
                await eventually(lambda number=number: len(lab.sink.requests) > number)
            await asyncio.sleep(1.5)
            for number in range(8):
                await lab.publish(event(f"good-{number}"))
                await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                while await lab.ids("EVENTS") != [f"good-{number}" for number in range(8)]:
                    await asyncio.sleep(0.1)
            # What gets through meanwhile is the evidence against them.
            async with asyncio.timeout(40):
                while await lab.ids("DEADLETTER") != [f"bad-{number}" for number in range(3)]:
                    await lab.publish(event("meanwhile"))
                    await asyncio.sleep(0.2)
            await lab.finished(20)

    async def test_costs_a_fraction_of_a_core_beside_a_busy_source(
        self, server: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with open_lab(server) as lab:
            dead = manifest(f"http://127.0.0.1:{free_port()}/", stream="USAGE", filterSubject="usage.>", inFlight=4)
            dead["metadata"]["name"] = "dead"
            path = tmp_path / "sources.yaml"
            path.write_text(yaml.safe_dump_all([dead, manifest(lab.sink.url)]))
            for number in range(5000):
                await lab.client.publish("usage.acme", json.dumps(event(number)).encode())
            process = adapter_of(path, server)
            try:
                await lab.publish(event("first"))
                await eventually(lambda: len(lab.sink.requests) == 1)
                await asyncio.sleep(1)
                spent, started = cpu_by_part(process.pid)["source adapter"], time.monotonic()
                for number in range(200):
                    await lab.publish(event(number))
                    await lab.publish(event(number), "usage.acme")
                    await asyncio.sleep(0.02)
                await lab.finished()
                percent = 100 * (cpu_by_part(process.pid)["source adapter"] - spent) / (time.monotonic() - started)
                with capsys.disabled():
                    print(f"{percent:.1f} % of a core", end=" ")
                # The other source's work included.
                assert percent < 20
                assert len(await lab.ids("EVENTS")) == 201
            finally:
                process.kill()
                process.wait()

    async def test_does_not_slow_other_sources(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, open_lab(server) as dead:
            await dead.sink.stop()
            sources = [
                manifest(dead.sink.url, consumer="dead", stream="EVENTS", filterSubject="events.>"),
                manifest(lab.sink.url),
            ]
            sources[0]["metadata"]["name"] = "dead"
            stopping = asyncio.Event()
            adapter = Adapter([parse_source(source) for source in sources], server.url)
            running = asyncio.create_task(adapter.run(stopping))
            await lab.publish(event(0))
            await asyncio.sleep(0.5)
            started = time.monotonic()
            for number in range(1, 50):
                await lab.publish(event(number))
            await lab.finished()
            assert time.monotonic() - started < 2
            stopping.set()
            await running


class TestNats:
    async def test_restarts_in_the_middle(self, server: NatsServer) -> None:
        async def slow(request: Request) -> web.Response:
            await asyncio.sleep(0.02)
            return echo(request)

        async with open_lab(server, slow) as lab, lab.adapter(batch={"maxEvents": 5}, inFlight=2):
            for number in range(200):
                await lab.publish(event(number))
            await eventually(lambda: len(lab.sink.requests) > 5)
            await lab.stop_nats()
            await asyncio.sleep(0.5)
            await lab.start_nats()
            started = time.monotonic()
            await lab.finished(30)
            assert set(await lab.ids("EVENTS")) == {str(number) for number in range(200)}
            assert time.monotonic() - started < 15

    async def test_comes_back_empty(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, lab.adapter(make_streams=True):
            await lab.publish(event(1))
            await lab.finished()
            await lab.stop_nats()
            server.wipe()
            await lab.start_nats()
            await eventually(lambda: consumer_exists(lab))
            await lab.publish(event(2))
            await lab.finished()
            assert await lab.ids("EVENTS") == ["2"]

    @pytest.mark.parametrize("gone", ["CONSUMER.DELETE.RAW.stage", "STREAM.DELETE.RAW"])
    async def test_what_was_deleted_is_made_again(self, server: NatsServer, gone: str) -> None:
        async with open_lab(server) as lab, lab.adapter(make_streams=True):
            await lab.publish(event(1))
            await lab.finished()
            await lab.api.request(gone)
            await eventually(lambda: consumer_exists(lab))
            await lab.publish(event(2))
            await lab.finished()
            assert await lab.ids("EVENTS") == ["1", "2"]

    async def test_is_away_when_the_adapter_starts(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await lab.publish(event(1))
            await lab.stop_nats()
            async with lab.adapter():
                await asyncio.sleep(0.5)
                await lab.start_nats()
                await lab.finished()
                assert await lab.ids("EVENTS") == ["1"]

    async def test_a_full_stream_holds_back_and_loses_nothing(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            full = {"name": "EVENTS", "subjects": ["events.>"], "max_msgs": 3, "discard": "new"}
            await lab.api.request("STREAM.DELETE.EVENTS")
            await lab.api.request("STREAM.CREATE.EVENTS", full)
            async with lab.adapter(batch={"maxEvents": 1}):
                for number in range(60):
                    await lab.publish(event(number))
                await asyncio.sleep(1)
                assert len(await lab.stored("EVENTS")) == 3
                # What may wait for the stream is bounded, so the sink is not asked for ever more.
                assert len(lab.sink.requests) < 20
                await lab.api.request("STREAM.UPDATE.EVENTS", full | {"max_msgs": 1000})
                await lab.finished()
                assert len(await lab.ids("EVENTS")) == 60

    async def test_the_client_giving_up_is_not_the_end(self, server: NatsServer) -> None:
        async with open_lab(server) as lab, lab.adapter() as adapter:
            await lab.publish(event(1))
            await lab.finished()
            assert adapter._client is not None
            await adapter._client.close()
            await lab.publish(event(2))
            await eventually(lambda: len(lab.sink.requests) == 2)
            await lab.finished()


class TestTheAdapter:
    async def test_an_error_in_a_delivery_is_logged_and_its_messages_come_again(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("eventrunner.source.courier._CRASH_DELAY", 0.5)
        original, broken = Courier._deliver, [True]

        async def fail_once(self: Courier, parcel: object) -> None:
            if broken:
                broken.clear()
                self.window.release()
                raise RuntimeError("a bug")
            await original(self, parcel)  # type: ignore[arg-type]

        monkeypatch.setattr(Courier, "_deliver", fail_once)
        async with open_lab(server) as lab, lab.adapter():
            await lab.publish(event(1))
            await eventually(lambda: len(lab.sink.requests) == 1)
            await lab.finished()
            assert await lab.ids("EVENTS") == ["1"]
        assert "a bug" in caplog.text

    async def test_a_source_that_fails_is_started_again(
        self, server: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        original, broken = runner.SourceRunner._keep_asking, [True]

        async def fail_once(self: runner.SourceRunner) -> None:
            if broken:
                broken.clear()
                raise RuntimeError("a bug")
            await original(self)

        monkeypatch.setattr(runner.SourceRunner, "_keep_asking", fail_once)
        async with open_lab(server) as lab, lab.adapter():
            await lab.publish(event(1))
            await eventually(lambda: len(lab.sink.requests) == 1)
        assert "a bug" in caplog.text

    async def test_drains_on_sigterm(self, server: NatsServer, tmp_path: Path) -> None:
        async def slow(request: Request) -> web.Response:
            await asyncio.sleep(1)
            return echo(request)

        async with open_lab(server, slow) as lab:
            for number in range(3):
                await lab.publish(event(number))
            port = free_port()
            process = command(lab, tmp_path, port, batch={"maxEvents": 1})
            try:
                await eventually(lambda: len(lab.sink.requests) == 1)
                assert b"eventrunner_source_in_flight_requests" in await scrape(port, "metrics")
                assert await scrape(port, "readyz") == b"ok\n"
                process.send_signal(signal.SIGTERM)
                code = await asyncio.to_thread(process.wait, 20)
            finally:
                process.kill()
            assert code == 0
            assert len(lab.sink.requests) == 1
            assert await lab.ids("EVENTS") == ["0"]
            info = await lab.api.request("CONSUMER.INFO.RAW.stage")
            assert info["ack_floor"]["stream_seq"] == 1
            # What had been pulled was given back, so that another adapter has it at once.
            started = time.monotonic()
            lab.sink.answer = echo
            async with lab.adapter():
                await lab.finished()
            assert time.monotonic() - started < 5
            assert await lab.ids("EVENTS") == ["0", "1", "2"]

    async def test_killed_in_the_middle_loses_nothing(self, server: NatsServer, tmp_path: Path) -> None:
        async def slow(request: Request) -> web.Response:
            await asyncio.sleep(0.05)
            return batch(request.events)

        async with open_lab(server, slow) as lab:
            for number in range(100):
                await lab.publish(event(number))
            process = command(lab, tmp_path, free_port(), batch={"maxEvents": 5})
            await eventually(lambda: len(lab.sink.requests) > 3)
            process.kill()
            process.wait()
            async with lab.adapter(batch={"maxEvents": 5}):
                await lab.finished(40)
            assert set(await lab.ids("EVENTS")) == {str(number) for number in range(100)}

    async def test_killed_leaves_its_messages_to_the_next_one_within_seconds(
        self, server: NatsServer, tmp_path: Path
    ) -> None:
        never = asyncio.Event()

        async def hang(request: Request) -> web.Response:
            await never.wait()
            return echo(request)

        async with open_lab(server, hang) as lab:
            adapter = command(lab, tmp_path, free_port())
            try:
                await eventually(lambda: consumer_exists(lab))
                await lab.publish(event(1))
                await eventually(lambda: len(lab.sink.requests) == 1)
            finally:
                adapter.kill()
                adapter.wait()
            killed = time.monotonic()
            lab.sink.answer = echo
            async with lab.adapter():
                await eventually(lambda: len(lab.sink.requests) == 2)
            assert time.monotonic() - killed < 5


def command(lab: Lab, folder: Path, metrics_port: int, **spec: object) -> subprocess.Popen[bytes]:
    path = folder / "source.yaml"
    document = manifest("", **spec)
    document["spec"]["sink"] = {"ref": {"kind": "Service", "name": "stage"}}
    path.write_text(yaml.safe_dump(document))
    code = "from eventrunner.cli.main import main; main()"
    options = ["--sources", str(path), "--nats", lab.server.url, "--sink", f"stage={lab.sink.url}"]
    return subprocess.Popen([sys.executable, "-c", code, "source", *options, "--metrics-port", str(metrics_port)])


def adapter_of(sources: Path, server: NatsServer) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eventrunner", "source", "--sources", str(sources), "--nats", server.url]
    return subprocess.Popen(command)


def unanswered() -> float:
    """Requests so far to a sink that gave no answer."""
    return REGISTRY.get_sample_value("eventrunner_source_requests_total", {"source": "stage", "status": "0"}) or 0.0


async def scrape(port: int, path: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{path}") as response:
        return await response.read()


async def consumer_exists(lab: Lab) -> bool:
    try:
        await lab.api.request("CONSUMER.INFO.RAW.stage")
    except Exception:
        return False
    return True
