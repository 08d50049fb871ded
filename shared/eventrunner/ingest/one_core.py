"""Keeps the threads of a process on one core while they hand each message of a fast stream to one another.

In grpc.aio a message goes from a thread of the library to the one of the event loop and back. On two cores each of
these steps wakes a core that has nothing else to do, which costs more than the message: 40 instead of 25 µs (measured
on two virtual cores; docs/benchmarks.md). As one waits for the other, they have little to do at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

__all__ = ["OneCore"]

_TASKS: Final = Path("/proc/self/task")
_HELD: Final = 0.25
"""Seconds on a core, after which the scheduler may choose another one, as somebody else may have come there."""
_FREE: Final = 0.005
_PROCESSOR: Final = 36
"""Place of the core in `stat`, counted from the field after the name: https://docs.kernel.org/filesystems/proc.html"""


class OneCore:
    """Use from the thread of the event loop. Does nothing where there is one core, or no Linux."""

    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") and _TASKS.is_dir() else set()
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, seconds: float = _HELD) -> None:
        """For so long at least, from now on."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + seconds
        if self._timer is None and len(self._allowed) > 1:
            self._gather()

    def _gather(self) -> None:
        _move({_current_core()})
        self._timer = asyncio.get_running_loop().call_later(_HELD, self._let_go)

    def _let_go(self) -> None:
        _move(self._allowed)
        self._timer = asyncio.get_running_loop().call_later(_FREE, self._again)

    def _again(self) -> None:
        self._timer = None
        if asyncio.get_running_loop().time() < self._until:
            self._gather()


def _current_core() -> int:
    fields = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
    return int(fields[_PROCESSOR])


def _move(cores: set[int]) -> None:
    for task in _TASKS.iterdir():
        # A thread may have ended meanwhile, and a container may forbid it: then it stays where it is.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), cores)
