"""A sink of core NATS, against a second nats-server and whoever listens there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eventrunner.source import nats_sink
from eventrunner.storage.jetstream import connect
from nats.aio.client import Client
from nats.aio.msg import Msg
from support_nats import NatsServer, eventually, nats_server
from support_source import Lab, event, open_lab

from tests.unit.source.sink_suite import Peer, SinkSuite, Verdict

Answer = Callable[[Msg], bytes | None]
DELIVERY = {"retry": 2, "backoffDelay": "PT0.02S", "timeout": "PT0.5S"}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[NatsServer]:
    """Where the sink is."""
    with nats_server(tmp_path / "far") as running:
        yield running


def id_of(message: Msg) -> str:
    return str(json.loads(message.data)["id"])


class Listener:
    """Answers each request with what `answer` says, and not at all for None."""

    def __init__(self, client: Client, answer: Answer) -> None:
        self.client = client
        self.answer = answer
        self.seen: list[Msg] = []
        self.ids: list[str] = []

    async def listen(self, subject: str) -> None:
        await self.client.subscribe(subject, cb=self._take)
        await self.client.flush()

    async def _take(self, message: Msg) -> None:
        self.seen.append(message)
        self.ids.append(id_of(message))
        answer = self.answer(message)
        if answer is not None:
            await message.respond(answer)


@contextlib.asynccontextmanager
async def listening(far: NatsServer, answer: Answer, subject: str = "results.>") -> AsyncIterator[Listener]:
    client = await connect(far.url, name="listener")
    listener = Listener(client, answer)
    await listener.listen(subject)
    try:
        yield listener
    finally:
        await client.close()


def source(far: NatsServer, **spec: Any) -> dict[str, Any]:
    return {"sink": far.url + "/results.{tenantid}.{type}", "delivery": DELIVERY, "inFlight": 4, **spec}


async def letter(lab: Lab) -> dict[str, Any]:
    (found,) = await lab.events("DEADLETTER")
    return found


class TestNatsSink(SinkSuite):
    @contextlib.asynccontextmanager
    async def peer(self, server: NatsServer, tmp_path: Path, answer: Callable[[str], Verdict]) -> AsyncIterator[Peer]:
        words = {Verdict.TAKE: b"+ACK", Verdict.FAIL: b"-NAK it says why", Verdict.REFUSE: b"+TERM it says why"}
        with nats_server(tmp_path / "far") as far:
            async with listening(far, lambda message: words.get(answer(id_of(message))), "nothing") as listener:
                yield Peer(far.url + "/results.{tenantid}.{type}", lambda: listener.listen("results.>"), listener.ids)


async def test_each_event_is_a_request_of_its_own_and_what_a_consumer_is_handed(
    server: NatsServer, far: NatsServer
) -> None:
    async with open_lab(server) as lab, listening(far, lambda _: b"") as listener:
        sent = event(1, type="order.new", data={"amount": 1.50}, usagein=7)
        await lab.publish([sent, event(2, type="a b.*..c")])
        async with lab.adapter(**source(far)):
            await lab.finished()
        first, second = sorted(listener.seen, key=lambda message: message.subject, reverse=True)
        assert (first.subject, second.subject) == ("results.acme.order.new", "results.acme.a_b._._.c")
        assert json.loads(first.data) == {name: value for name, value in sent.items() if name != "usagein"}
        assert first.headers == {"Content-Type": "application/cloudevents+json"}
        assert first.reply
        assert await lab.stored("DEADLETTER") == []


@pytest.mark.parametrize("answer", [b"", b"+ACK"])
async def test_an_empty_reply_and_an_ack_settle_the_event(server: NatsServer, far: NatsServer, answer: bytes) -> None:
    async with open_lab(server) as lab, listening(far, lambda _: answer) as listener, lab.adapter(**source(far)):
        await lab.publish(event(1))
        await lab.finished()
        assert listener.ids == ["1"]
        assert await lab.stored("EVENTS") == []


async def test_a_cloudevent_or_a_batch_in_the_reply_is_the_result(server: NatsServer, far: NatsServer) -> None:
    def answer(message: Msg) -> bytes:
        made = event("made-of-" + json.loads(message.data)["id"])
        return json.dumps(made if made["id"].endswith("1") else [made]).encode()

    async with open_lab(server) as lab, listening(far, answer), lab.adapter(**source(far)):
        await lab.publish([event(1), event(2)])
        await lab.finished()
        assert await lab.ids("EVENTS") == ["made-of-1", "made-of-2"]


@pytest.mark.parametrize("answer", [b"fine", b'{"ok": true}', b'{"stream": "RESULTS", "seq": 1}'])
async def test_a_reply_that_makes_no_sense_settles_nothing(server: NatsServer, far: NatsServer, answer: bytes) -> None:
    answers = [answer]
    async with (
        open_lab(server) as lab,
        listening(far, lambda _: answers.pop() if answers else b"") as listener,
        lab.adapter(**source(far)),
    ):
        await lab.publish(event(1))
        await lab.finished()
        assert listener.ids == ["1", "1"]
        assert await lab.stored("DEADLETTER") == []


@pytest.mark.parametrize(("code", "requests"), [("400", 1), ("500", 3), ("", 3)])
async def test_a_services_error_is_told_by_its_headers(
    server: NatsServer, far: NatsServer, code: str, requests: int
) -> None:
    """https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md"""
    async with open_lab(server) as lab, listening(far, lambda _: None, "nothing") as listener:
        requested = 0

        async def refuse(message: Msg) -> None:
            nonlocal requested
            requested += 1
            headers = {"Nats-Service-Error": "no", "Nats-Service-Error-Code": code}
            await listener.client.publish(message.reply, headers=headers)

        await listener.client.subscribe("results.>", cb=refuse)
        await listener.client.flush()
        await lab.publish(event(1))
        async with lab.adapter(**source(far)):
            await lab.finished()
        assert ((await letter(lab))["knativeerrordata"], requested) == ("no", requests)


async def test_an_event_to_which_nobody_listens_while_others_get_through_is_a_dead_letter(
    server: NatsServer, far: NatsServer
) -> None:
    async with (
        open_lab(server) as lab,
        listening(far, lambda _: b"", "results.acme.heard") as listener,
        lab.adapter(**source(far)),
    ):
        await lab.publish(event("lost", type="unheard"))
        for number in range(40):
            await lab.publish(event(number, type="heard"))
            await asyncio.sleep(0.02)
        await lab.finished()
        found = await letter(lab)
        assert found["id"] == "lost"
        assert found["knativeerrordata"] == f"nobody listens to results.acme.unheard at {far.url}"
        assert len(set(listener.ids)) == 40


async def test_a_server_that_comes_late_and_goes_meanwhile_costs_no_event(server: NatsServer, far: NatsServer) -> None:
    far.stop()
    async with open_lab(server) as lab, lab.adapter(**source(far)) as adapter:
        await lab.publish([event(number) for number in range(10)])
        await eventually(lambda: any(sink.health.down for sink in adapter._sinks.values()))
        far.start()
        async with listening(far, lambda _: b"") as listener:
            await lab.finished()
            listener.answer = lambda _: None
            await lab.publish([event(number) for number in range(10, 20)])
            await eventually(lambda: "10" in listener.ids)
            far.stop()
            listener.answer = lambda _: b""
            far.start()
            await lab.finished()
            assert set(listener.ids) == {str(number) for number in range(20)}
        assert await lab.stored("DEADLETTER") == []


async def test_a_stream_that_takes_the_subject_is_no_listener(server: NatsServer, far: NatsServer) -> None:
    """JetStream confirms what it stores, and nobody has handled that."""
    async with open_lab(server) as lab, listening(far, lambda _: b"") as listener:
        js = listener.client.jetstream()
        await js.add_stream(name="TAKES", subjects=["results.acme.>"])
        async with lab.adapter(**source(far)) as adapter:
            await lab.publish(event(1))
            await eventually(lambda: any(sink.health.down for sink in adapter._sinks.values()))
            assert listener.ids == []
            assert (await js.stream_info("TAKES")).state.messages == 0
            await js.delete_stream("TAKES")
            await lab.finished()
        assert listener.ids == ["1"]


async def test_a_stream_that_comes_to_take_the_subject_later_is_noticed(
    server: NatsServer, far: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_sink, "_LOOK_SECONDS", 0.0)
    async with (
        open_lab(server) as lab,
        listening(far, lambda _: b"") as listener,
        lab.adapter(**source(far)) as adapter,
    ):
        await lab.publish(event(1))
        await lab.finished()
        js = listener.client.jetstream()
        await js.add_stream(name="TAKES", subjects=["results.>"])
        await lab.publish(event(2))
        await eventually(lambda: any(sink.health.down for sink in adapter._sinks.values()))
        assert (await js.stream_info("TAKES")).state.messages == 0
        assert listener.ids == ["1"]


async def test_what_the_server_would_not_take_is_a_dead_letter(server: NatsServer, tmp_path: Path) -> None:
    with nats_server(tmp_path / "small", max_payload=2000) as far:
        async with open_lab(server) as lab, listening(far, lambda _: b"") as listener, lab.adapter(**source(far)):
            await lab.publish(event("large", data="x" * 3000))
            await lab.publish(event("small"))
            await lab.finished()
            found = await letter(lab)
            assert (found["id"], found["knativeerrorcode"], listener.ids) == ("large", 413, ["small"])


async def test_the_password_in_the_url_is_used_and_told_to_nobody(
    server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    users = {"users": [{"user": "sink", "password": "pa55word"}]}
    with nats_server(tmp_path / "locked", authorization=users) as far:
        address = far.url.removeprefix("nats://")
        client = await connect(f"nats://sink:pa55word@{address}", name="listener")
        listener = Listener(client, lambda _: b"-NAK no")
        await listener.listen("results.>")
        async with open_lab(server) as lab:
            uri = f"nats://sink:pa55word@{address}/results.{{tenantid}}.{{type}}"
            await lab.publish(event(1))
            async with lab.adapter(**source(far) | {"sink": uri}):
                await lab.finished()
            assert (await letter(lab))["knativeerrordest"] == f"nats://{address}/results.{{tenantid}}.{{type}}"
            wrong = uri.replace("pa55word", "wr0ng")
            async with lab.adapter(**source(far) | {"sink": wrong}) as adapter:
                await lab.publish(event(2))
                await eventually(lambda: any(sink.health.down for sink in adapter._sinks.values()))
            assert listener.ids.count("2") == 0
        await client.close()
    assert "pa55word" not in caplog.text
    assert "wr0ng" not in caplog.text


async def test_it_closes_even_if_the_client_has_lost_that_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, server: NatsServer
) -> None:
    """As asyncio's `wait_for` may, when what it waits for comes in that moment."""
    monkeypatch.setattr(nats_sink, "_CANCEL_SECONDS", 0.05)

    async def deaf(url: str, **_: Any) -> Client:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)
        raise AssertionError("nobody cancels it")

    monkeypatch.setattr(nats_sink, "connect", deaf)
    async with open_lab(server) as lab:
        await lab.publish(event(1))
        async with lab.adapter(**source(server)) as adapter:
            await eventually(lambda: any(sink._connecting for sink in adapter._sinks.values()))
