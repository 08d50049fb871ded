"""One fault after the other, in an order that follows from the seed, and how long events took to flow again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from tests.pipeline.faults.faults import Fault, NotPossible, World, catalogue
from tests.pipeline.faults.probe import Probe, Stuck

__all__ = ["Scheduler", "Struck"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Struck:
    fault: str
    at: float
    """Seconds since the start."""
    recovery: float
    """Seconds from the end of the fault until an event sent after it had gone all the way."""


@dataclass(slots=True)
class Scheduler:
    world: World
    probe: Probe
    random: Random
    seconds: float
    on_struck: Callable[[Struck], None]
    struck: list[Struck] = field(default_factory=list)

    async def run(self) -> None:
        """Raises Stuck, which names the fault after which nothing came through."""
        started = time.monotonic()
        for fault in self._deal():
            if time.monotonic() - started >= self.seconds:
                return
            await asyncio.sleep(self.random.uniform(0.0, 1.0))
            await self._strike(fault, started)

    def _deal(self) -> Iterator[Fault]:
        while True:
            yield from catalogue(self.random, cassandra=self.world.node is not None)

    async def _strike(self, fault: Fault, started: float) -> None:
        at = time.monotonic() - started
        try:
            over = await fault.strike(self.world, Random(self.random.random()))
        except NotPossible as error:
            _log.info("%s is not possible now: %s", fault.name, error)
            return
        try:
            await self.probe.pass_through()
        except Stuck as error:
            raise Stuck(f"after {fault.name}, {at:.1f} s from the start: {error}") from error
        struck = Struck(fault.name, at, time.monotonic() - over)
        self.struck.append(struck)
        self.on_struck(struck)
