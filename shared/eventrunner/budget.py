"""How many bytes of requests a process works on at once: what is over it is refused, not queued."""

from __future__ import annotations

from collections import Counter
from types import TracebackType

from eventrunner.errors import Unavailable

__all__ = ["ByteBudget", "Hold"]


class ByteBudget:
    """One caller may hold half of it at most, so that there is room for others however much it sends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: Counter[str] = Counter()
        self._total = 0

    def hold(self, caller: str) -> Hold:
        """For one request; gives everything back at the end of its `with` block."""
        return Hold(self, caller)

    @property
    def held(self) -> int:
        return self._total

    def take(self, caller: str, size: int) -> None:
        """Raises Unavailable when that is more than there is room for."""
        if self._total + size > self._limit or self._held[caller] + size > self._limit // 2:
            raise Unavailable("Too much is being worked on at the moment; nothing was taken. Try again.")
        self._total += size
        self._held[caller] += size

    def give_back(self, caller: str, size: int) -> None:
        self._total -= size
        self._held[caller] -= size
        if not self._held[caller]:
            del self._held[caller]


class Hold:
    """What one request holds."""

    def __init__(self, budget: ByteBudget, caller: str) -> None:
        self._budget = budget
        self._caller = caller
        self._size = 0

    def add(self, size: int) -> None:
        """Raises Unavailable; what was added before stays held."""
        self._budget.take(self._caller, size)
        self._size += size

    def give_back(self) -> None:
        """All of it; more may be added again."""
        self._budget.give_back(self._caller, self._size)
        self._size = 0

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
