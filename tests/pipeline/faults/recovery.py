"""How long events may take to flow again after a fault, on this machine as it is now.

The figure is five seconds after the end of any one process, and fifteen after anything else. On a machine that others
use too, more goes by until a process has started than the platform can help; so when events come later than five
seconds, the cold start of a process is measured at once, and with it what this machine allows.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from eventrunner.source.consumer import ACK_WAIT

__all__ = ["ASKED", "Struck", "Yardstick", "cold_start"]

ASKED: Final = 5.0
_STARTS: Final = 3
"""Cold starts that may go by after the end of a process: a supervisor's pause and the start itself, a worker that the
process forks, and as the platform's processes start while the load goes on, once more."""
_WAYS: Final = 2
_SOUND: Final = 1.0
"""Seconds of a cold start on a machine that is not overloaded; it is less than half of that on an idle one."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that has come."""

    kind: str
    detail: str
    at: float
    """Seconds since the start."""
    recovery: float
    """Seconds from the end of the fault until an event sent after it had gone all the way."""
    allowed: float
    """Seconds that it may have been."""
    single: bool
    """Whether it was the end of one process."""

    @property
    def is_late(self) -> bool:
        return self.recovery > self.allowed

    def __str__(self) -> str:
        what = f"{self.kind} ({self.detail})" if self.detail else self.kind
        return f"{what} at {self.at:.1f} s: events flowed after {self.recovery:.2f} s, {self.allowed:.2f} s are allowed"


@dataclass(frozen=True, slots=True)
class Yardstick:
    way: float
    """Seconds that an event takes all the way under the load of the run, without a fault."""
    cold: float
    """Seconds that a cold start of a process took at the beginning."""
    measure: Callable[[], Awaitable[float]]
    """Seconds that it takes now."""

    async def allowed(self, recovery: float, limit: float, *, starts_anew: bool) -> float:
        """Seconds that a recovery of so many may have been. `limit`: on a machine that is not overloaded;
        `starts_anew`: one process starts cold, and no more has to happen."""
        if recovery <= ASKED:
            return limit
        cold = max(self.cold, await self.measure())
        limit *= max(1.0, cold / _SOUND)
        return min(limit, max(ASKED, ACK_WAIT + _STARTS * cold + _WAYS * self.way)) if starts_anew else limit


async def cold_start() -> float:
    """Of the source adapter, as far as its modules: most of what a start is."""
    started = time.monotonic()
    command = (sys.executable, "-m", "eventrunner", "source", "--help")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    await process.wait()
    return time.monotonic() - started
