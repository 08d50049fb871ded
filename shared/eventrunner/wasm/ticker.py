"""The clock by which running guests are stopped: it moves an engine's epoch on, as long as anybody uses the engine."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final

import wasmtime

__all__ = ["TICK_MS", "Ticker"]

TICK_MS: Final = 5
_TICK: Final = TICK_MS / 1000
_IDLE_TICKS: Final = 200
"""Without a call, after which the thread ends."""


class Ticker:
    """Use as a context manager around each call, from any thread: inside, the epoch moves on every `TICK_MS`."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._inside = 0
        self._entries = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self._entries += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wasm-ticker", daemon=True)
                self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    @staticmethod
    def ticks(milliseconds: int) -> int:
        """How many must pass until the time is over for certain: the first may be about to end, the second be late."""
        return -(-milliseconds // TICK_MS) + 2

    def _run(self) -> None:
        idle, seen, due = 0, 0, time.monotonic()
        while True:
            due = _next(due)
            time.sleep(max(0.0, due - time.monotonic()))
            self._engine.increment_epoch()
            with self._lock:
                idle = 0 if self._inside or seen != self._entries else idle + 1
                seen = self._entries
                if idle >= _IDLE_TICKS:
                    self._thread = None
                    return


def _next(due: float) -> float:
    """So that a wait which took longer does not make all later ones late. A tick that was missed is not made up for."""
    return max(due, time.monotonic() - _TICK) + _TICK
