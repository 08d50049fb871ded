from __future__ import annotations

import asyncio
from pathlib import Path

from eventrunner.storage.jetstream import connect, disconnect
from support_nats import eventually, nats_server


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
