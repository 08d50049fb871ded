"""The tools of the fault harness do to a program what they say."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest
import yaml
from aiohttp import web
from eventrunner.events.headers import COUNT_HEADER
from support_source import LocalSink, Request

from tests.pipeline.faults.clock import MachineClock
from tests.pipeline.faults.project import make_project, project_parts
from tests.pipeline.faults.proxy import MISBEHAVIOURS, Proxy
from tests.support import require

_ANSWER = b"x" * 10_000


@asynccontextmanager
async def _proxied() -> AsyncIterator[tuple[Proxy, str, LocalSink]]:
    sink = LocalSink(lambda request: web.Response(body=_ANSWER))
    await sink.start()
    proxy = Proxy("stage", lambda: sink.url)
    try:
        yield proxy, await proxy.start(), sink
    finally:
        await proxy.stop()
        await sink.stop()


async def _ask(url: str, count: int = 100) -> tuple[int, bytes]:
    headers = {COUNT_HEADER: str(count)}
    async with aiohttp.ClientSession() as session, session.post(url, data=b"[]", headers=headers) as response:
        return response.status, await response.read()


def test_a_proxy_that_behaves_passes_on_what_comes() -> None:
    async def run() -> None:
        async with _proxied() as (_, url, sink):
            assert await _ask(url) == (200, _ANSWER)
            request: Request = sink.requests[0]
            assert (request.body, request.headers[COUNT_HEADER]) == (b"[]", "100")

    asyncio.run(run())


def test_a_proxy_passes_on_a_backlog_too(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with _proxied() as (_, url, sink):
            body = io.BytesIO(bytes(5_000_000))
            async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
                assert await response.read() == _ANSWER
            assert len(sink.requests[0].body) == 5_000_000

    asyncio.run(run())
    assert not caplog.records


@pytest.mark.parametrize(
    ("how", "status", "works"),
    [
        ("answers 500", 500, False),
        ("answers 429", 429, False),
        ("answers 503", 503, False),
        ("answers 413 to large batches", 413, False),
        ("does its work and answers 502", 502, True),
        ("answers garbage", 200, True),
    ],
)
def test_a_proxy_misbehaves_as_it_is_told(how: str, status: int, works: bool) -> None:
    async def run() -> None:
        async with _proxied() as (proxy, url, sink):
            proxy.misbehave(MISBEHAVIOURS[how])
            answered, body = await _ask(url)
            assert (answered, bool(sink.requests)) == (status, works)
            assert body != _ANSWER
            proxy.behave()
            assert await _ask(url) == (200, _ANSWER)

    asyncio.run(run())


def test_a_proxy_closes_half_way() -> None:
    async def run() -> None:
        async with _proxied() as (proxy, url, sink):
            proxy.misbehave(MISBEHAVIOURS["closes half way"])
            with pytest.raises(aiohttp.ClientError):
                await _ask(url)
            assert sink.requests

    asyncio.run(run())


def test_a_proxy_hangs_until_it_behaves_and_then_breaks_off() -> None:
    async def run() -> None:
        async with _proxied() as (proxy, url, _):
            proxy.misbehave(MISBEHAVIOURS["hangs"])
            asking = asyncio.create_task(_ask(url))
            await asyncio.sleep(0.3)
            assert not asking.done()
            proxy.behave()
            with pytest.raises(aiohttp.ClientError):
                await asking

    asyncio.run(run())


def test_a_clock_jumps_for_a_running_program_and_durations_do_not(tmp_path: Path) -> None:
    require("cc")
    clock = MachineClock.make(tmp_path)
    assert clock is not None
    code = (
        "import datetime, time\n"
        "while input(): print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    )
    with subprocess.Popen(
        [sys.executable, "-uc", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **clock.environ},
    ) as program:

        def ask() -> tuple[float, ...]:
            assert program.stdin is not None
            assert program.stdout is not None
            print("now", file=program.stdin, flush=True)
            return tuple(map(float, program.stdout.readline().split()))

        try:
            before = ask()
            clock.jump(Random(1))
            after = ask()
        finally:
            program.kill()
    assert abs(before[0] - time.time()) < 60
    assert abs(after[0] - before[0]) > 60
    assert after[1] == pytest.approx(after[0], abs=1)
    assert after[2] - before[2] < 30


def test_all_sources_post_to_their_proxies(tmp_path: Path) -> None:
    urls = {service: f"http://127.0.0.1:{port}" for port, service in enumerate(project_parts().sinks, 1)}
    manifests = make_project(tmp_path / "project", urls, "PT1S")
    documents = {
        path.stem: yaml.safe_load(path.read_text())["spec"] for path in sorted((manifests / "sources").glob("*.yaml"))
    }
    assert {name: spec["sink"]["uri"] for name, spec in documents.items()} == urls
    short = [name for name, spec in documents.items() if spec["delivery"]["timeout"] == "PT1S"]
    assert short == sorted(urls.keys() - {"replayer"})
