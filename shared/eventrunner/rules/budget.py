"""The time that one event's rules may take. Functions look at the clock before they work on something large, so that
no single expression can stop the events behind it; without an open budget they may take as long as they like."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LARGE", "OverBudget", "budget", "check"]

LARGE = 1_000
"""Characters or elements from which a value is worth a look at the clock."""


class OverBudget(Exception):
    """Raised out of conditions and actions, which otherwise raise nothing that counts."""


class _Budget(threading.local):
    deadline = float("inf")
    seconds = 0.0


_budget = _Budget()


@contextmanager
def budget(seconds: float) -> Iterator[None]:
    """The time of an event on this thread."""
    _budget.seconds = seconds
    _budget.deadline = time.monotonic() + seconds
    try:
        yield
    finally:
        _budget.deadline = float("inf")


def check() -> None:
    if time.monotonic() > _budget.deadline:
        raise OverBudget(f"over the time limit of {_budget.seconds} s")
