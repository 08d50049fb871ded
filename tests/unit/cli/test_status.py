"""`eventrunner status` over a real API and real streams."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from eventrunner.access.identity import Identity
from eventrunner.cli.main import cli
from eventrunner.source.adapter import Adapter
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.publication import Publication
from eventrunner.source.spec import API_VERSION, KIND, parse_source
from eventrunner.storage.jetstream import JetStreamApi, connect
from support_api import served_api
from support_identity import sign

ADMIN = Identity("root", "", ("admin",))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of the API and of NATS."""
    with served_api(tmp_path) as (url, registry):
        yield url, registry._nats_url


@pytest.fixture
def run(served: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("EVENTRUNNER_URL", served[0])
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(ADMIN))
    return lambda *arguments: CliRunner().invoke(cli, ["status", *arguments])


async def fill(nats: str, stream: str, consumer: str) -> None:
    client = await connect(nats, name="test")
    api = JetStreamApi(client)
    config = (await api.request(f"STREAM.INFO.{stream}"))["config"]
    await api.request(f"STREAM.UPDATE.{stream}", {**config, "max_bytes": 10_000})
    durable = {"durable_name": consumer, "ack_policy": "explicit"}
    await api.request(f"CONSUMER.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": durable})
    for _ in range(9):
        await client.jetstream().publish(f"{stream.lower()}.acme", bytes(1024))
    await client.close()


def test_what_holds_events_up_is_named(run: Callable[..., Result], served: tuple[str, str]) -> None:
    before = run()
    assert before.exit_code == 0
    assert before.output.endswith("Nothing holds events up.\n")
    asyncio.run(fill(served[1], "RESULTS", "analytics"))
    lines = run().output.splitlines()
    (results,) = (line for line in lines if line.startswith("RESULTS"))
    assert results.endswith("9 messages  not acked: analytics 9")
    assert lines[-1].startswith("The stream RESULTS is full to 9")
    assert "analytics has not acked 9 messages, the oldest of 2" in lines[-1]
    status = json.loads(run("--json").output)
    (stream,) = (item for item in status["streams"] if item["name"] == "RESULTS")
    assert (stream["messages"], stream["max_bytes"]) == (9, 10_000)
    assert [(reader["name"], reader["unread"]) for reader in stream["readers"]] == [("analytics", 9)]
    assert len(status["problems"]) == 1


async def fill_letters(nats: str, told: threading.Event, done: threading.Event) -> None:
    """As an adapter does whose stage gives up an event after the other of one tenant."""
    client = await connect(nats, name="test")
    api = JetStreamApi(client)
    config = (await api.request("STREAM.INFO.DEADLETTER"))["config"]
    await api.request("STREAM.UPDATE.DEADLETTER", {**config, "max_bytes": 60_000})
    room = LetterRoom(client)
    working = asyncio.create_task(room.run())
    for number in range(60):
        letter = Publication("deadletter.stage.acme", bytes(1000), "application/cloudevents+json", f"{number}")
        if not await room.refused([letter]):
            await client.jetstream().publish(letter.subject, letter.body, headers=letter.headers)
    told.set()
    await asyncio.to_thread(done.wait)
    working.cancel()
    await client.close()


def test_a_tenant_whose_dead_letters_are_full_is_named(run: Callable[..., Result], served: tuple[str, str]) -> None:
    told, done = threading.Event(), threading.Event()
    adapter = threading.Thread(target=asyncio.run, args=(fill_letters(served[1], told, done),))
    adapter.start()
    try:
        assert told.wait(20)
        output = run().output
    finally:
        done.set()
        adapter.join()
    assert "Tenant acme has 0.0 MiB of dead letters, as many as it may." in output
    assert "`eventrunner dead-letters list acme`" in output


async def feed_a_sink_that_refuses(nats: str, waiting: threading.Event, done: threading.Event) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"detail": "I do not know you."}, status=401)

    app = web.Application()
    app.router.add_post("/", refuse)
    server = web.AppRunner(app, access_log=None)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    sink = {"uri": f"http://127.0.0.1:{server.addresses[0][1]}/"}
    spec = {"stream": "RAW", "filterSubject": "raw.>", "sink": sink}
    metadata = {"name": "stage"}
    source = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
    stopping = asyncio.Event()
    adapter = asyncio.create_task(Adapter([parse_source(source)], nats).run(stopping))
    client = await connect(nats, name="test")
    await client.jetstream().publish("raw.acme", b"{}")
    await asyncio.sleep(4)
    waiting.set()
    await asyncio.to_thread(done.wait)
    stopping.set()
    await adapter
    await client.close()
    await server.cleanup()


def test_a_sink_that_does_not_believe_the_adapter_is_named(run: Callable[..., Result], served: tuple[str, str]) -> None:
    waiting, done = threading.Event(), threading.Event()
    adapter = threading.Thread(target=asyncio.run, args=(feed_a_sink_that_refuses(served[1], waiting, done),))
    adapter.start()
    try:
        assert waiting.wait(20)
        output = run().output
    finally:
        done.set()
        adapter.join()
    assert "answers 401, so its events wait and none is lost: I do not know you." in output
    assert "It is sent no token" in output


def test_only_an_operator_sees_it(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTRUNNER_KEY", sign(Identity("bob", "acme", ("user",))))
    assert "403" in str(run().exception)
