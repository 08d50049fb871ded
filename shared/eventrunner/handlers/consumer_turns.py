"""One request at a time while a guest's calls are short.

A call gives up the interpreter's lock. Where that is for some microseconds, two threads that hand events to guests pass
the lock to one another several times an event, which takes twice the CPU of one thread and is slower. Where calls are
long, the threads use several cores, and go on side by side.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final

__all__ = ["Turn", "Turns"]

_SHORT: Final = 200_000
"""Nanoseconds of CPU of a call: about where two threads begin to get more done than one."""
_PATIENCE: Final = 5_000_000
"""Nanoseconds of CPU by which calls may be longer, taken together, before others go on beside them."""
_WAITED: Final = 20_000_000
"""Nanoseconds of a call without CPU: it sleeps, or what it waits for is not this guest's."""


class Turns:
    """Of one guest. Safe to share between threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.are_needed = True
        """Whether calls were short in the request that has ended last."""

    def turn(self) -> Turn:
        return Turn(self)


class Turn:
    """Of one request. Inside, no other request of the guest is, until this one turns out to be slow or leaves."""

    __slots__ = ("_holds", "_over", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._holds = False
        self._over = 0

    def __enter__(self) -> Turn:
        self._holds = self._turns.are_needed and self._turns.lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._turns.are_needed = self._over < _PATIENCE
        self.leave()

    def called(self, cpu: int, took: int) -> None:
        """To be told of each call, in nanoseconds. Once calls are not short, others may go on. It goes by CPU: beside
        another one, calls take longer."""
        if self._over < _PATIENCE:
            self._over = max(self._over + cpu - _SHORT, 0)
        if self._over >= _PATIENCE or took - cpu > _WAITED:
            self.leave()

    def leave(self) -> None:
        """Others may go on, such as while this one waits."""
        if self._holds:
            self._holds = False
            self._turns.lock.release()
