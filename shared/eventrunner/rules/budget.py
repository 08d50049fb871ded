"""The time that one event's rules may take. Functions look at the clock before they work on something large, so that
no single expression can stop the events behind it; without an open budget they may take as long as they like."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

__all__ = ["LARGE", "Budget", "OverBudget", "check"]

LARGE = 1_000
"""Characters or elements from which a value is worth a look at the clock."""


class OverBudget(Exception):
    """Raised out of conditions and actions, which otherwise raise nothing that counts."""


class _Open(threading.local):
    deadline = float("inf")
    seconds = 0.0


_open = _Open()


@dataclass(frozen=True, slots=True)
class Budget:
    """Within `with`, the time of an event on this thread. May be used again, by several threads too."""

    seconds: float

    def __enter__(self) -> None:
        _open.seconds = self.seconds
        _open.deadline = time.monotonic() + self.seconds

    def __exit__(self, *error: object) -> None:
        _open.deadline = float("inf")


def check() -> None:
    if time.monotonic() > _open.deadline:
        raise OverBudget(f"over the time limit of {_open.seconds} s")
