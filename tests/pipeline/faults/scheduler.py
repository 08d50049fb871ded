"""One fault after the other, in an order that follows from the seed, and how long events took to flow again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.pipeline.faults.faults import Fault, NotPossible, World
from tests.pipeline.faults.probe import Stuck
from tests.pipeline.faults.recovery import Struck, Yardstick

__all__ = ["Scheduler"]

_log = logging.getLogger(__name__)
_TRIES: Final = 5
"""How often in a round a fault is tried whose part does not run just then."""


@dataclass(slots=True)
class Scheduler:
    world: World
    rounds: Iterator[list[Fault]]
    pass_through: Callable[[], Awaitable[None]]
    """Returns when an event that it sends has gone all the way; raises Stuck."""
    yardstick: Yardstick
    random: Random
    seconds: float
    whole_round: bool = False
    """Go on over `seconds` until each kind that this run can have has come once."""
    on_struck: Callable[[Struck], None] = lambda _: None
    struck: list[Struck] = field(default_factory=list)
    _reasons: dict[str, str] = field(default_factory=dict)
    """Kind → why it did not come when its turn was last."""
    _finished: int = 0
    """Rounds."""

    @property
    def skipped(self) -> dict[str, str]:
        """Kind that has never come → why."""
        come = {struck.kind for struck in self.struck}
        return {kind: reason for kind, reason in sorted(self._reasons.items()) if kind not in come}

    async def run(self) -> None:
        """Raises Stuck, which names the fault after which nothing came through."""
        started = time.monotonic()
        while not self._is_over(started):
            await self._round(next(self.rounds), started)

    def _is_over(self, started: float) -> bool:
        return time.monotonic() - started >= self.seconds and (bool(self._finished) or not self.whole_round)

    async def _round(self, faults: list[Fault], started: float) -> None:
        waiting = deque[tuple[Fault, int]]()
        for fault in faults:
            reason = fault.missing(self.world)
            self._reasons[fault.kind] = reason or "the run was over before its turn came"
            if not reason:
                waiting.append((fault, 1))
        while waiting:
            if self._is_over(started):
                return
            fault, tries = waiting.popleft()
            await asyncio.sleep(self.random.uniform(0.0, 1.0))
            try:
                await self._strike(fault, started)
            except NotPossible as error:
                _log.info("%s is not possible now: %s", fault.kind, error)
                self._reasons[fault.kind] = f"tried {tries} times: {error}"
                if tries < _TRIES:
                    waiting.append((fault, tries + 1))
        self._finished += 1

    async def _strike(self, fault: Fault, started: float) -> None:
        at = time.monotonic() - started
        over = await fault.strike(self.world, Random(self.random.random()))
        try:
            await self.pass_through()
        except Stuck as error:
            raise Stuck(f"after {fault.kind} {fault.detail}, {at:.1f} s from the start: {error}") from error
        recovery = time.monotonic() - over
        allowed = await self.yardstick.allowed(recovery, fault.limit, starts_anew=fault.starts_anew)
        struck = Struck(fault.kind, fault.detail, at, recovery, allowed, fault.single)
        self.struck.append(struck)
        self.on_struck(struck)
