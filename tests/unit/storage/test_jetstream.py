from __future__ import annotations

import asyncio
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
