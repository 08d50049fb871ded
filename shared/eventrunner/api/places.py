"""Places for requests that last: each holds a thread of the process, so there are few, and no tenant has them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Lock

from eventrunner.errors import QuotaExceeded, Unavailable

__all__ = ["Places"]

_PATIENCE = 5.0
"""Seconds, in which one of those who have left is noticed."""


class Places:
    """A tenant gets one while it has fewer than are free: one alone half of them, two that take what they can a third
    each, and there is one left for a tenant that comes new."""

    def __init__(self, most: int, what: str) -> None:
        """`what` they are for, such as `live streams`."""
        self._most = most
        self._what = what
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, tenant: str) -> Callable[[], None]:
        """Returns what gives it back. Raises QuotaExceeded when the tenant has its share, Unavailable when none is
        free."""
        with self._lock:
            free, own = self._most - self._taken.total(), self._taken[tenant]
            if not free:
                raise Unavailable(f"Too many {self._what} are open here; try again.", _PATIENCE)
            if own >= free:
                raise QuotaExceeded(
                    f"{tenant} has {own} of the {self._most} {self._what} of this process, as many as are left for the "
                    "other tenants: close one, or try again.",
                    _PATIENCE,
                )
            self._taken[tenant] += 1
        return lambda: self._give_back(tenant)

    def _give_back(self, tenant: str) -> None:
        with self._lock:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]
