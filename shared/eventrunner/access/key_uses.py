"""When API keys were used last, written at most once a minute for each, wherever keys are checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from eventrunner.clock import Clock, format_time, utc_now

__all__ = ["KeyUses"]

_SECONDS: Final = 60.0


class KeyUses:
    """Called with the id of each key that is used."""

    def __init__(self, write: Callable[[str, bytes], None], clock: Clock = utc_now) -> None:
        """`write` stores the time of a key's use; it must return at once."""
        self._write = write
        self._clock = clock
        self._next: dict[str, float] = {}

    def __call__(self, key_id: str) -> None:
        now = time.monotonic()
        if now >= self._next.get(key_id, 0.0):
            self._next[key_id] = now + _SECONDS
            self._write(key_id, format_time(self._clock()).encode())
