from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from eventrunner.cli.sender import Batch, Sender, SendFailed, SendReport, cut
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
    assert batches == [Batch("k", b"1\n2", 2, "type=t"), Batch("k", b"3", 1, "type=t", first=2)]


def test_a_batch_stays_below_what_a_body_may_have() -> None:
    lines = [b"x" * 1_000_000] * 10
    batches = list(cut(lines, "k", 500))
    assert max(len(batch.body) for batch in batches) <= 4 * 1024 * 1024
    assert [batch.first for batch in batches] == [0, 4, 8]
    assert b"\n".join(batch.body for batch in batches) == b"\n".join(lines)
    assert [batch.count for batch in cut([b"x" * 5_000_000, b"1"], "k", 500)] == [1, 1]


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


def test_refused_events_are_named_by_their_place_and_the_others_are_sent() -> None:
    async def answer(request: web.Request) -> web.Response:
        match await request.read():
            case b"a\nb":
                return web.json_response(
                    {"accepted": 1, "rejected": [{"index": 1, "id": "b", "error": "no"}]}, status=202
                )
            case b"c\nd":
                errors = [{"field": "[0]", "message": "no c"}, {"field": "[1]", "message": "no d"}]
                return web.json_response({"detail": "none", "errors": errors}, status=422)
            case b"e":
                return web.json_response({"detail": "no e"}, status=400)
        return _accepted(1)

    async def run() -> SendReport:
        async with _server(answer) as url:
            sender = Sender(url, connections=1, passes_over_refused=True)
            return await sender.send([*cut([b"a", b"b", b"c", b"d", b"e"], "k", 2), Batch("k", b"f", 1, first=5)])

    report = asyncio.run(run())
    assert report.accepted == 2
    assert [(item["index"], item["error"]) for item in report.rejected] == [
        (1, "no"),
        (2, "no c"),
        (3, "no d"),
        (4, "no e"),
    ]


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
