"""What a stream brings is taken together when it comes fast, and soon when it comes slowly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from eventrunner.ingest.inbox import Inbox


async def messages(count: int, every: int, pause: float) -> AsyncIterator[bytes]:
    """So many at once, then a pause."""
    for number in range(count):
        yield b"%d" % number
        if number % every == every - 1:
            await asyncio.sleep(pause)


def test_a_fast_stream_is_taken_in_large_batches() -> None:
    async def body() -> list[int]:
        sizes = []
        async with Inbox(messages(2000, 20, 0.001)) as inbox:
            while batch := await inbox.take():
                sizes.append(len(batch))
        return sizes

    sizes = asyncio.run(body())
    assert sum(sizes) == 2000
    # 20 and those that come in two milliseconds more, were it not waited for more.
    assert sum(sizes[:-1]) / (len(sizes) - 1) > 75


def test_who_has_sent_a_full_batch_or_the_last_one_waits_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> list[int]:
        sizes = []
        async with asyncio.timeout(30), Inbox(messages(1200, 100, 0.005)) as inbox:
            while batch := await inbox.take():
                sizes.append(len(batch))
        return sizes

    monkeypatch.setattr("eventrunner.ingest.inbox._LINGER_MORE", 1000.0)
    assert asyncio.run(body()) == [500, 500, 200]


@pytest.mark.alone
def test_a_slow_stream_is_not_kept_waiting() -> None:
    async def body() -> list[float]:
        waited = []
        async with Inbox(messages(8, 1, 0.05)) as inbox:
            before = time.monotonic()
            while await inbox.take():
                waited.append(time.monotonic() - before)
                before = time.monotonic()
        return waited

    waited = asyncio.run(body())
    assert len(waited) == 8
    # The first comes at once, so what was waited is the linger.
    assert waited[0] < 0.04


def test_a_stream_that_fails_says_so_after_what_it_brought() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"1"
        raise ConnectionError("gone")

    async def body() -> str:
        async with Inbox(failing()) as inbox:
            assert await inbox.take() == [b"1"]
            try:
                await inbox.take()
            except ConnectionError as error:
                return str(error)
        return ""

    assert asyncio.run(body()) == "gone"
