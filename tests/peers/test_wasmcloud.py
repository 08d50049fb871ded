"""The same signed file on our own host and on a real wasmCloud that a tenant's stream feeds through a sink of NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from eventrunner.cli.wash import Component, acknowledger, docker_registry, push, wash_dev, wash_host
from eventrunner.storage.jetstream import connect
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Handled, Message, Refused, Trapped
from eventrunner.wasm.signing import verify
from nats.aio.msg import Msg
from support_guests import component_guest
from support_nats import NatsServer, eventually, nats_server
from support_source import Lab, event, open_lab
from support_wasm import signed, signing_key
from support_wasmcloud import require_wasmcloud

pytestmark = pytest.mark.peer

SUBJECTS = "results.acme.>"
DELIVERY = {"retry": 2, "backoffDelay": "PT0.05S", "timeout": "PT2S"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The consumer, signed, and the acknowledger."""
    require_wasmcloud()
    folder = tmp_path_factory.mktemp("files")
    consumer = folder / "consumer.wasm"
    consumer.write_bytes(signed(component_guest()))
    return consumer, acknowledger(folder / "acknowledger")


@contextlib.asynccontextmanager
async def dev(folder: Path, far: NatsServer, consumer: Path, front: Path) -> AsyncIterator[None]:
    async with wash_dev(folder / "dev", far.url, SUBJECTS, consumer, front):
        yield


@contextlib.asynccontextmanager
async def host(folder: Path, far: NatsServer, consumer: Path, front: Path) -> AsyncIterator[None]:
    async with docker_registry(folder / "registry") as registry:
        images = [await push(folder / "push", registry, file) for file in (front, consumer)]
        components = [Component("acknowledger", images[0], SUBJECTS), Component("consumer", images[1])]
        async with wash_host(folder / "host", far.url, components):
            yield


Way = Callable[[Path, NatsServer, Path, Path], contextlib.AbstractAsyncContextManager[None]]


def run(folder: Path, test: Callable[[Lab, NatsServer, list[Msg]], Awaitable[None]]) -> None:
    """With a tenant's streams, a NATS server for wasmCloud, and what is published there as events."""

    async def body() -> None:
        with nats_server(folder / "near") as near, nats_server(folder / "far", jetstream=False) as far:
            async with open_lab(near) as lab:
                client = await connect(far.url, name="test")
                seen: list[Msg] = []

                async def see(message: Msg) -> None:
                    seen.append(message)

                await client.subscribe("events.>", cb=see)
                try:
                    await test(lab, far, seen)
                finally:
                    await client.close()

    asyncio.run(body())


@pytest.mark.parametrize("way", [dev, host], ids=["wash dev", "wash host"])
def test_the_signed_file_does_what_it_does_here_and_what_it_cannot_handle_is_a_dead_letter(
    files: tuple[Path, Path], tmp_path: Path, way: Way
) -> None:
    consumer, front = files
    code = consumer.read_bytes()
    assert verify(code, [signing_key()]) == signing_key()
    engine = shared_engine()
    here = Host(engine, load_guest(engine, ModuleCache(engine), code), Limits())

    async def test(lab: Lab, far: NatsServer, seen: list[Msg]) -> None:
        await lab.publish([event(number, type="forward", data={"n": number}) for number in range(10)])
        # The events wait for a host that is not there yet.
        async with (
            lab.adapter(sink=far.url + "/results.{tenantid}.{type}", inFlight=4, delivery=DELIVERY),
            way(tmp_path, far, consumer, front),
        ):
            await lab.publish([event("err", type="refuse"), event("trap", type="trap")])
            # Whether it is the event or the host is told by others that get through.
            sent = 10
            while not await lab.is_done():
                await lab.publish(event(sent, type="forward", data={"n": sent}))
                sent += 1
                await asyncio.sleep(0.2)
            await eventually(lambda: len({message.data for message in seen}) == sent)
        assert {json.loads(message.data)["data"]["n"] for message in seen} == set(range(sent))
        for message in seen:
            call = here.handle(Message("results.acme.forward", message.data))
            assert (call.outcome, call.published) == (Handled(), (Message(message.subject, message.data),))
        letters = {letter["id"]: letter for letter in await lab.events("DEADLETTER")}
        assert set(letters) == {"err", "trap"}
        # It errs with the event for a text.
        text = letters["err"]["knativeerrordata"]
        assert here.handle(Message("results.acme.refuse", text.encode())).outcome == Refused(text)
        assert json.loads(text)["id"] == "err"
        assert isinstance(here.handle(Message("results.acme.trap", b"")).outcome, Trapped)
        assert letters["trap"]["knativeerrordata"] == f"results.acme.trap at {far.url} gave no reply within 2 s"
        assert {letter["knativeerrorattempts"] for letter in letters.values()} == {3}

    run(tmp_path, test)


def test_a_component_that_replies_itself_needs_no_acknowledger(files: tuple[Path, Path], tmp_path: Path) -> None:
    consumer, _ = files

    async def test(lab: Lab, far: NatsServer, _: list[Msg]) -> None:
        async with (
            lab.adapter(sink=far.url + "/results.{tenantid}.{type}", delivery=DELIVERY),
            wash_dev(tmp_path / "dev", far.url, SUBJECTS, consumer),
        ):
            await lab.publish([event("replies", type="answer"), event("does not", type="forward")])
            await lab.finished(30)
        (letter,) = await lab.events("DEADLETTER")
        assert letter["id"] == "does not"

    run(tmp_path, test)
