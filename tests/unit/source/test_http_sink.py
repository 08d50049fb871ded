"""A sink of HTTP, held to what every sink does; the rest of it is in test_delivery.py and test_faults.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web
from support_nats import NatsServer
from support_source import LocalSink, Request

from tests.unit.source.sink_suite import Peer, SinkSuite, Verdict


class TestHttpSink(SinkSuite):
    @contextlib.asynccontextmanager
    async def peer(self, server: NatsServer, tmp_path: Path, answer: Callable[[str], Verdict]) -> AsyncIterator[Peer]:
        ids: list[str] = []

        async def respond(request: Request) -> web.Response:
            (id,) = request.ids
            ids.append(id)
            match answer(id):
                case Verdict.TAKE:
                    return web.Response(status=204)
                case Verdict.NOTHING:
                    await asyncio.sleep(60)
            return web.Response(status=500 if answer(id) is Verdict.FAIL else 400, text="it says why")

        sink = LocalSink(respond)
        try:
            yield Peer(sink.url, sink.start, ids)
        finally:
            await sink.stop()
