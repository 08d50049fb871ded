from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest
from eventrunner.storage.jetstream import connect, disconnect
from support_nats import NatsServer, eventually, nats_server


def test_disconnects_though_the_server_is_gone_and_something_waits_to_be_sent(tmp_path: Path) -> None:
    async def lose_the_server() -> None:
        with nats_server(tmp_path) as server:
            client = await connect(server.url, name="test")
            server.stop()
            await eventually(lambda: client.is_reconnecting)
            await client.publish("anything", b"never sent")
            await disconnect(client)
            assert client.is_closed

    asyncio.run(lose_the_server())


def test_leaves_no_connection_to_a_server_that_does_not_greet(tmp_path: Path) -> None:
    async def fail_over(server: NatsServer) -> None:
        left: list[bool] = []

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            left.append(True)
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        host, port = silent.sockets[0].getsockname()
        client = await connect(f"{server.url}, nats://{host}:{port}", name="test")
        left.clear()
        server.stop()
        await eventually(lambda: bool(left))
        server.start()
        await eventually(lambda: client.is_connected)
        await disconnect(client)
        silent.close()
        await silent.wait_closed()
        gc.collect()

    with nats_server(tmp_path) as server:
        asyncio.run(fail_over(server))


def test_leaves_no_connection_when_it_is_not_waited_for_any_more(tmp_path: Path) -> None:
    async def give_up() -> None:
        left = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            left.set()
            writer.close()

        silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        host, port = silent.sockets[0].getsockname()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await connect(f"nats://{host}:{port}", name="test")
        async with asyncio.timeout(5):
            await left.wait()
        silent.close()
        await silent.wait_closed()
        gc.collect()

    asyncio.run(give_up())


def test_says_once_that_it_waits_for_a_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = NatsServer(tmp_path)

    async def wait_for_the_server() -> None:
        connecting = asyncio.create_task(connect(server.url.replace("//", "//secret@"), name="test"))
        await asyncio.sleep(1)
        server.start()
        await disconnect(await connecting)

    with caplog.at_level(logging.WARNING, "eventrunner"):
        asyncio.run(wait_for_the_server())
    server.stop()
    assert [record.message for record in caplog.records] == [f"test: waiting for a NATS server at {server.url}"]
