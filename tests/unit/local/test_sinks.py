from __future__ import annotations

import io
import os
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from eventrunner.local.sinks import Sinks

from tests.unit.local.support import make_project, run, running_activator

FUNCTION = """
import os
def main(request):
    if request.path == "/boom":
        os._exit(9)
    return request.get_data(), 200, {"Content-Encoding": "deflate", "Content-Type": "x/y", "Retry-After": "7"}
"""


@asynccontextmanager
async def running_sink(folder: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    project = make_project(folder, {"echo": FUNCTION})
    async with running_activator(project) as activator:
        sinks = Sinks(activator)
        urls = await sinks.start(["echo"])
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as client:
                yield urls["echo"], client
        finally:
            await sinks.close()


def test_bodies_of_any_size_pass_untouched_in_both_directions(tmp_path: Path) -> None:
    large = os.urandom(20_000_000)

    async def scenario() -> None:
        async with running_sink(tmp_path) as (url, client):
            for sent in (large, b"", b"1"):
                async with client.post(url, data=io.BytesIO(sent)) as answer:
                    assert answer.status == 200
                    assert await answer.read() == sent
                    assert answer.headers["Retry-After"] == "7"
                    assert answer.headers["Content-Type"] == "x/y"

    run(scenario())


def test_a_function_that_dies_with_the_request_is_a_503_that_may_be_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_sink(tmp_path) as (url, client):
            async with client.post(url + "/boom", data=b"x") as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "1"
                assert answer.content_type == "application/problem+json"
            async with client.post(url, data=zlib.compress(b"x")) as answer:
                assert answer.status == 200

    run(scenario())
