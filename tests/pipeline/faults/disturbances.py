"""Faults of what is around the processes: sinks that answer wrongly, streams that are full, clocks that jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

from eventrunner.errors import EventRunnerError
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect
from eventrunner.tenancy import RAW_STREAM

from tests.pipeline.faults.faults import LIMIT, Kill, NotPossible, World
from tests.pipeline.faults.proxy import MISBEHAVIOURS

__all__ = ["BadSink", "ClockJump", "FullStream", "KillWriter"]

_MEND_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class BadSink:
    how: str
    detail: str
    """The service."""
    seconds: float | None = None
    """None: one to six."""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        return f"sink {self.how}"

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        proxy = world.proxies[self.detail]
        proxy.misbehave(MISBEHAVIOURS[self.how])
        try:
            await asyncio.sleep(random.uniform(1, 6) if self.seconds is None else self.seconds)
        finally:
            proxy.behave()
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class FullStream:
    stream: str
    detail: str = ""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        return f"stream {self.stream} full"

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        async with _full(world, self.stream):
            await asyncio.sleep(random.uniform(2, 6))
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class KillWriter:
    """The moment in which whoever acks before it has stored what came of it loses something."""

    detail: str
    """The stream."""
    kind: str = "kill -9 of what writes to a full stream"
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return ""

    async def strike(self, world: World, random: Random) -> float:
        async with _full(world, self.detail):
            await asyncio.sleep(random.uniform(2, 4))
            await Kill("ingest-http" if self.detail == RAW_STREAM else "source adapter").strike(world, random)
            await asyncio.sleep(random.uniform(0, 1))
        return time.monotonic()


@asynccontextmanager
async def _full(world: World, stream: str) -> AsyncIterator[None]:
    """The stream takes nothing while the body runs. Raises NotPossible."""
    client = await connect(world.target.platform.nats, name="faults")
    api = JetStreamApi(client)
    try:
        try:
            config = (await api.request(f"STREAM.INFO.{stream}"))["config"]
            await api.request(f"STREAM.UPDATE.{stream}", {**config, "max_bytes": 1})
        except EventRunnerError as error:
            raise NotPossible(str(error)) from error
        try:
            yield
        finally:
            await _mend(api, config)
    finally:
        await disconnect(client)


async def _mend(api: JetStreamApi, config: dict[str, Any]) -> None:
    async with asyncio.timeout(_MEND_SECONDS):
        while True:
            try:
                await api.request(f"STREAM.UPDATE.{config['name']}", config)
            except EventRunnerError:
                await asyncio.sleep(0.5)
            else:
                return


@dataclass(frozen=True, slots=True)
class ClockJump:
    kind: str = "clock jumps"
    detail: str = ""
    limit: ClassVar[float] = LIMIT
    single: ClassVar[bool] = False
    starts_anew: ClassVar[bool] = False

    def missing(self, world: World) -> str:
        return "" if world.clock else "there is no C compiler"

    async def strike(self, world: World, random: Random) -> float:
        if world.clock is None:
            raise NotPossible("there is no C compiler")
        world.clock.jump(random)
        return time.monotonic()
