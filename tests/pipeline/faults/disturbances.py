"""Faults of what is around the processes: sinks that answer wrongly, streams that are full, clocks that jump."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

from eventrunner.errors import EventRunnerError
from eventrunner.storage.jetstream import JetStreamApi, connect, disconnect

from tests.pipeline.faults.faults import LIMIT, NotPossible, World
from tests.pipeline.faults.proxy import MISBEHAVIOURS

__all__ = ["BadSink", "ClockJump", "FullStream"]

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
        client = await connect(world.target.platform.nats, name="faults")
        try:
            await self._fill(JetStreamApi(client), random.uniform(2, 6))
        finally:
            await disconnect(client)
        return time.monotonic()

    async def _fill(self, api: JetStreamApi, seconds: float) -> None:
        try:
            config = (await api.request(f"STREAM.INFO.{self.stream}"))["config"]
            await api.request(f"STREAM.UPDATE.{self.stream}", {**config, "max_bytes": 1})
        except EventRunnerError as error:
            raise NotPossible(str(error)) from error
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._mend(api, config)

    async def _mend(self, api: JetStreamApi, config: dict[str, Any]) -> None:
        async with asyncio.timeout(_MEND_SECONDS):
            while True:
                try:
                    await api.request(f"STREAM.UPDATE.{self.stream}", config)
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
