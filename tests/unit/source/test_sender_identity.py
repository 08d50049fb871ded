"""What the adapter sends is signed for whom it is sent to, and a sink that does not believe it loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from eventrunner.access.identity import Verifier, make_keys
from eventrunner.access.senders import SOURCE_ISSUER, SourceSigner, audience_of
from eventrunner.source.adapter import Adapter
from eventrunner.source.health import SinkHealth
from eventrunner.source.sink import HttpSink, make_session, sink_audience
from eventrunner.source.spec import parse_source
from eventrunner.source.tenant_consumers import kubernetes_name
from eventrunner.stage import Outcomes, Stage
from eventrunner.storage.refusing_sinks import REFUSING_SINKS_SUBJECT, RefusingSinks
from flask import Flask, request
from nats.aio.subscription import Subscription
from nats.errors import TimeoutError as NatsTimeoutError
from support_nats import NatsServer, eventually, free_port
from support_source import Lab, LocalSink, Request, echo, event, manifest, open_lab
from werkzeug.serving import make_server

KEYS = make_keys("source")
SIGNER = SourceSigner(KEYS)
AUDIENCE = "serving.knative.dev/service/eventrunner/stage"


def _manifest(**spec: Any) -> dict[str, Any]:
    document = manifest("")
    document["spec"] |= spec
    return document


@contextlib.asynccontextmanager
async def adapter(
    lab: Lab, sink: dict[str, Any], signer: SourceSigner | None = SIGNER, **spec: Any
) -> AsyncIterator[None]:
    source = parse_source(_manifest(sink=sink, **spec))
    stopping = asyncio.Event()
    running = Adapter([source], lab.server.url, sink_urls={"stage": lab.sink.url}, signer=signer)
    task = asyncio.create_task(running.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


REF = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "stage"}}


async def headers_of(lab: Lab, sink: dict[str, Any], signer: SourceSigner | None = SIGNER) -> list[str | None]:
    await lab.publish(event(len(lab.sink.requests)))
    async with adapter(lab, sink, signer):
        await lab.finished()
    return [item.headers.get("Authorization") for item in lab.sink.requests]


class TestWhatIsSent:
    async def test_to_an_object_of_the_cluster_is_signed_for_it(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            (header,) = await headers_of(lab, REF)
            believed = Verifier(SIGNER.public_keys, issuer=SOURCE_ISSUER, audience=AUDIENCE)
            assert believed.verify(header).subject == "source"

    async def test_to_a_url_carries_no_token_unless_its_audience_is_stated(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            assert await headers_of(lab, {"uri": lab.sink.url}) == [None]
            assert await headers_of(lab, {**REF, "uri": lab.sink.url}) == [None, None]
            assert await headers_of(lab, REF, None) == [None, None, None]
            header = (await headers_of(lab, {"uri": lab.sink.url, "audience": "theirs"}))[-1]
            Verifier(SIGNER.public_keys, issuer=SOURCE_ISSUER, audience="theirs").verify(header)

    def test_has_the_audience_that_is_stated_before_the_objects_own(self) -> None:
        def audience(**sink: Any) -> str:
            return sink_audience(parse_source(_manifest(sink=sink)).sink)

        assert audience(**REF) == AUDIENCE
        assert audience(**REF, audience="mine") == "mine"
        assert audience(**REF, uri="/path") == AUDIENCE
        assert audience(**REF, uri="http://elsewhere.example/") == ""
        assert audience(uri="http://elsewhere.example/") == ""

    async def test_in_a_reply_to_a_destination_is_signed_for_that(self, server: NatsServer) -> None:
        async with open_lab(server) as lab:
            await lab.publish(event(1))
            reply = {"uri": lab.sink.url, "audience": "results"}
            async with adapter(lab, REF, reply=reply):
                await lab.finished()
            first, second = (item.headers["Authorization"] for item in lab.sink.requests)
            Verifier(SIGNER.public_keys, issuer=SOURCE_ISSUER, audience=AUDIENCE).verify(first)
            Verifier(SIGNER.public_keys, issuer=SOURCE_ISSUER, audience="results").verify(second)


def refused() -> web.Response:
    return web.json_response({"detail": "I do not know you."}, status=401)


class TestASinkThatAnswers401:
    async def test_gets_everything_in_the_end_and_nothing_is_a_dead_letter(self, server: NatsServer) -> None:
        believes = False

        def answer(received: Request) -> web.Response:
            return echo(received) if believes else refused()

        async with open_lab(server, answer) as lab:
            await lab.publish([event(number) for number in range(40)])
            async with adapter(lab, REF, delivery={"retry": 0, "backoffDelay": "PT0.01S"}):
                await eventually(lambda: len(lab.sink.requests) > 8)
                # Never halved either: it is not about the events.
                assert {len(item.ids) for item in lab.sink.requests} == {40}
                believes = True
                await lab.finished()
            assert len(await lab.ids("EVENTS")) == 40
            assert await lab.ids("DEADLETTER") == []

    async def test_while_other_replicas_of_it_take_all_loses_nothing(self, server: NatsServer) -> None:
        """As when one of them has an old key set."""

        def answer(received: Request) -> web.Response:
            return refused() if len(lab.sink.requests) % 3 else echo(received)

        async with open_lab(server, answer) as lab:
            for number in range(60):
                await lab.publish(event(number))
            spec = {"inFlight": 3, "batch": {"maxEvents": 1}, "delivery": {"retry": 0, "backoffDelay": "PT0.01S"}}
            async with adapter(lab, REF, **spec):
                await lab.finished(40)
            assert len(await lab.ids("EVENTS")) == 60
            assert await lab.ids("DEADLETTER") == []

    async def test_is_named_in_the_log_and_to_who_asks(
        self, server: NatsServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        believes = False

        def answer(received: Request) -> web.Response:
            return echo(received) if believes else refused()

        async with open_lab(server, answer) as lab:
            told = await lab.client.subscribe(REFUSING_SINKS_SUBJECT)
            await lab.publish(event(1))
            with caplog.at_level(logging.ERROR):
                async with adapter(lab, REF):
                    message = await told.next_msg(10)
                    assert RefusingSinks.decode(message.data) == RefusingSinks({lab.sink.url: "I do not know you."})
                    await eventually(lambda: "answers 401" in caplog.text)
                    believes = True
                    await lab.finished()
                    await _silence(told)
            assert caplog.text.count("answers 401") == 1
            assert "EVENTRUNNER_SINK_JWKS" in caplog.text

    async def test_of_a_third_party_waits_probes_once_a_second_and_is_named_without_its_password(
        self, server: NatsServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        believes = False

        def answer(received: Request) -> web.Response:
            return echo(received) if believes else refused()

        async with open_lab(server, answer) as lab:
            told = await lab.client.subscribe(REFUSING_SINKS_SUBJECT)
            await lab.publish([event(number) for number in range(40)])
            url = lab.sink.url.replace("http://", "http://us:password@") + "?token=secret"
            spec = {"inFlight": 8, "batch": {"maxEvents": 1}, "delivery": {"retry": 0, "backoffDelay": "PT1S"}}
            with caplog.at_level(logging.INFO):
                async with adapter(lab, {"uri": url}, **spec):
                    refusing = RefusingSinks.decode((await told.next_msg(10)).data)
                    assert refusing == RefusingSinks({lab.sink.url: "I do not know you."}, [lab.sink.url])
                    await eventually(lambda: "It is sent no token" in caplog.text)
                    await eventually(lambda: len(lab.sink.requests) > 10, 30)
                    probes = [item.at for item in lab.sink.requests][8:]
                    pauses = [after - before for before, after in itertools.pairwise(probes)]
                    assert min(pauses) > 0.4, pauses
                    believes = True
                    await lab.finished()
            assert len(await lab.ids("EVENTS")) == 40
            assert await lab.ids("DEADLETTER") == []
            assert {item.path for item in lab.sink.requests} == {"/?token=secret"}
            assert "secret" not in caplog.text
            assert "password" not in caplog.text

    async def test_for_some_events_only_is_named_all_the_same_and_the_others_get_through(
        self, server: NatsServer
    ) -> None:
        believes = False

        def answer(received: Request) -> web.Response:
            return refused() if "7" in received.ids and not believes else echo(received)

        async with open_lab(server, answer) as lab:
            told = await lab.client.subscribe(REFUSING_SINKS_SUBJECT)
            for number in range(30):
                await lab.publish(event(number))
            spec = {"inFlight": 3, "batch": {"maxEvents": 1}, "delivery": {"retry": 0, "backoffDelay": "PT0.05S"}}
            async with adapter(lab, {"uri": lab.sink.url}, **spec):
                await eventually(lambda: len({id for item in lab.sink.requests for id in item.ids}) == 30, 30)
                assert lab.sink.url in RefusingSinks.decode((await told.next_msg(10)).data).sinks
                believes = True
                await lab.finished()
            assert len(await lab.ids("EVENTS")) == 30
            assert await lab.ids("DEADLETTER") == []

    async def test_is_told_of_for_some_seconds_more_when_it_takes_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        local = LocalSink(lambda received: refused() if received.body == b"bad" else web.Response())
        await local.start()
        async with make_session() as session:
            sink = HttpSink(local.url, session, SinkHealth())
            await sink.post({}, b"bad", 10)
            monkeypatch.setattr("eventrunner.source.sink._REFUSAL_SECONDS", 1000.0)
            await sink.post({}, b"good", 10)
            assert sink.refusal == "I do not know you."
            monkeypatch.setattr("eventrunner.source.sink._REFUSAL_SECONDS", 0.0)
            assert sink.refusal == ""
            await sink.post({}, b"bad", 10)
            assert sink.refusal == "I do not know you."
        await local.stop()


async def _silence(told: Subscription) -> None:
    """Returns when nothing is told any more."""
    async with asyncio.timeout(30):
        with contextlib.suppress(NatsTimeoutError):
            while True:
                await told.next_msg(2.5)


@contextlib.contextmanager
def stage(jwks: str) -> Iterator[int]:
    """A real stage behind a port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENTRUNNER_SINK_JWKS", jwks)
        patch.setenv("EVENTRUNNER_SINK_AUDIENCE", AUDIENCE)
        patch.setattr("eventrunner.stage.function.configure_logging", lambda *_: None)
        served = Stage("stage", lambda _: lambda batch: Outcomes(results=list(batch.events)))
        app = Flask(__name__)
        app.add_url_rule("/", "main", lambda: served.main(request), methods=["POST"])
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


async def test_a_stage_takes_what_the_adapter_signs_and_waits_for_the_right_keys(
    server: NatsServer, tmp_path: Path
) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text(SourceSigner(make_keys("wrong")).public_keys)
    with stage(str(keys)) as port:
        async with open_lab(server) as lab:
            lab.sink.port = port
            await lab.publish([event(number) for number in range(10)])
            async with adapter(lab, REF, delivery={"retry": 0, "backoffDelay": "PT0.05S"}):
                await asyncio.sleep(1)
                assert await lab.ids("EVENTS") == []
                keys.write_text(SIGNER.public_keys)
                await lab.finished()
            assert len(await lab.ids("EVENTS")) == 10
            assert await lab.ids("DEADLETTER") == []


@contextlib.contextmanager
def command(arguments: list[str], environ: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "eventrunner", "source", *arguments], env=environ) as process:
        try:
            yield
        finally:
            process.terminate()


async def test_the_command_signs_with_its_keys_and_serves_the_public_ones(server: NatsServer, tmp_path: Path) -> None:
    port = free_port()
    async with open_lab(server) as lab:
        (tmp_path / "source.yaml").write_text(json.dumps(_manifest(sink=REF)))
        (tmp_path / "keys").write_text(KEYS)
        arguments = [str(tmp_path / "source.yaml"), f"--sink=stage={lab.sink.url}", f"--metrics-port={port}"]
        environ = {"EVENTRUNNER_NATS_URL": server.url, "EVENTRUNNER_SOURCE_KEYS": str(tmp_path / "keys")}
        with command(arguments, environ):
            await lab.publish(event(1))
            await eventually(lambda: bool(lab.sink.requests), 20)
            url = f"http://127.0.0.1:{port}/.well-known/jwks.json"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                public = await answer.text()
            assert public == SIGNER.public_keys
            believed = Verifier(public, issuer=SOURCE_ISSUER, audience=AUDIENCE)
            believed.verify(lab.sink.requests[0].headers["Authorization"])
            # The desk of tenants' consumers is beside it, and believes what it has signed for one of them.
            service = audience_of("serving.knative.dev/v1", "Service", "eventrunner", kubernetes_name("acme", "none"))
            desk = f"http://127.0.0.1:{port}/consumers/acme/none"
            async with aiohttp.ClientSession() as session:
                for token, status in ((SIGNER.header(service), 200), (SIGNER.header(AUDIENCE), 401)):
                    async with session.get(desk, headers={"Authorization": token}) as answer:
                        assert answer.status == status
