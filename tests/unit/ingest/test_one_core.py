"""Threads that hand each other the messages of a fast stream share a core, for as long as it is fast."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.ingest.one_core import OneCore
from support_nats import eventually

ALLOWED = os.sched_getaffinity(0)

pytestmark = pytest.mark.skipif(len(ALLOWED) < 2, reason="needs two cores")


def cores() -> set[frozenset[int]]:
    """Of each thread, those it may run on."""
    return {frozenset(os.sched_getaffinity(int(task.name))) for task in Path("/proc/self/task").iterdir()}


@pytest.fixture
def other_thread() -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()


def test_all_threads_share_a_core_and_are_free_again_afterwards(other_thread: None) -> None:
    async def body() -> None:
        OneCore().keep(0.01)
        (held,) = cores()
        assert len(held) == 1
        assert held < ALLOWED
        await eventually(lambda: cores() == {frozenset(ALLOWED)})

    asyncio.run(body())


def test_while_it_lasts_another_core_may_be_chosen_now_and_then(
    other_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventrunner.ingest.one_core._FREE", 0.1)

    async def body() -> None:
        together = OneCore()
        together.keep(60)
        await eventually(lambda: cores() == {frozenset(ALLOWED)})
        await eventually(lambda: len(min(cores())) == 1)
        together.keep(0)
        await eventually(lambda: cores() == {frozenset(ALLOWED)})

    asyncio.run(body())
