from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from eventrunner.cli.sender import Batch, Sender, SendFailed, cut
from eventrunner.errors import Unavailable

_Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def _server(answer: _Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/api/v1/events", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def _accepted(count: int) -> web.Response:
    return web.json_response({"accepted": count, "rejected": []}, status=202)


def test_lines_are_cut_into_batches() -> None:
    batches = list(cut([b"1", b"2", b"3"], "k", 2, "type=t"))
    assert batches == [Batch("k", b"1\n2", 2, "type=t"), Batch("k", b"3", 1, "type=t")]


def test_all_batches_arrive_with_their_key() -> None:
    seen: list[tuple[str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.headers["Authorization"], body))
        return _accepted(body.count(b"\n") + 1)

    async def run() -> int:
        async with _server(answer) as url:
            return (await Sender(url).send(cut([b"1", b"2", b"3"], "k", 2))).accepted

    assert asyncio.run(run()) == 3
    assert sorted(seen) == [("Bearer k", b"1\n2"), ("Bearer k", b"3")]


def test_what_may_succeed_later_is_sent_again_after_the_time_asked() -> None:
    moments: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        moments.append(time.monotonic())
        if len(moments) == 1:
            return web.json_response({"detail": "later"}, status=429, headers={"Retry-After": "1"})
        return _accepted(1)

    async def run() -> int:
        async with _server(answer) as url:
            return (await Sender(url).send([Batch("k", b"1", 1)])).accepted

    assert asyncio.run(run()) == 1
    assert moments[1] - moments[0] >= 1


def test_a_final_refusal_names_the_reason() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"detail": "no such key"}, status=401)

    async def run() -> None:
        async with _server(answer) as url:
            await Sender(url).send([Batch("k", b"1", 1)])

    with pytest.raises(SendFailed, match="no such key"):
        asyncio.run(run())


def test_a_platform_that_stays_away_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventrunner.cli.sender._LONGEST_WAIT", 0.0)

    async def run() -> None:
        await Sender("http://127.0.0.1:1").send([Batch("k", b"1", 1)])

    with pytest.raises(Unavailable, match="8 tries"):
        asyncio.run(run())


def test_a_rate_is_kept() -> None:
    async def answer(request: web.Request) -> web.Response:
        return _accepted(10)

    async def run() -> float:
        async with _server(answer) as url:
            return (await Sender(url).send([Batch("k", b"1", 10)] * 6, rate=100)).seconds

    assert asyncio.run(run()) >= 0.5
