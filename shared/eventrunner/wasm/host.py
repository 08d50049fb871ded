"""Hands a consumer's guest one message after the other, within its limits."""

from __future__ import annotations

import threading
import time
from typing import Final, Literal

import wasmtime

from eventrunner.storage.records import Limits
from eventrunner.wasm.budgets import fuel_left, set_budget
from eventrunner.wasm.engine import Engine
from eventrunner.wasm.guest import Guest, Handler
from eventrunner.wasm.images import Images
from eventrunner.wasm.memory import MemoryAccount
from eventrunner.wasm.outcomes import Call, Handled, Message, Outcome, Refused, Spent
from eventrunner.wasm.running import Running, charged, size_of

__all__ = ["MOST_CALLS", "Host"]

MOST_CALLS: Final = 10_000
"""Of one instance that is used again."""
_MOST_TABLES: Final = 50
_MOST_TABLE_ENTRIES: Final = 100_000
"""Of each table, eight bytes an entry, which no account counts."""
_MOST_PARTS: Final = 100
"""Core instances, and memories, of one component."""


class _Instance:
    """A store with what lives in it; made before its guest, which starts within the first call's limits."""

    __slots__ = ("calls", "handler", "memory", "store")

    def __init__(self, engine: Engine, limits: Limits, images: Images) -> None:
        self.store = wasmtime.Store(engine.raw)
        self.store.set_limits(
            table_elements=_MOST_TABLE_ENTRIES,
            instances=_MOST_PARTS,
            tables=_MOST_TABLES,
            memories=_MOST_PARTS,
        )
        self.memory = MemoryAccount(limits.memory_bytes, images=images)
        self.handler: Handler | None = None
        self.calls = 0


class Host:
    """Of one consumer; its instances are never anybody else's. Safe to share between threads."""

    def __init__(
        self,
        engine: Engine,
        guest: Guest,
        limits: Limits,
        instances: Literal["fresh", "reuse"] = "fresh",
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._engine = engine
        self._guest = guest
        self._limits = limits
        self._ticks = engine.ticker.ticks(limits.milliseconds)
        self._most_calls = most_calls if instances == "reuse" else 1
        self._idle: list[_Instance] = []
        self._lock = threading.Lock()

    def handle(self, message: Message) -> Call:
        """Never raises because of the guest."""
        began = time.thread_time_ns()
        instance = self._take()
        call = Running(self._limits, instance.memory)
        try:
            outcome = self._run(instance, call, message)
            spent = self._spent(instance, began)
        except BaseException:
            instance.store.close()
            raise
        self._put_back(instance, outcome)
        published = tuple(call.published) if isinstance(outcome, Handled) else ()
        return Call(outcome, spent, published, tuple(call.logs), call.logs_dropped)

    def close(self) -> None:
        """Frees the idle instances."""
        with self._lock:
            idle, self._idle = self._idle, []
        for instance in idle:
            instance.store.close()

    def _run(self, instance: _Instance, call: Running, message: Message) -> Outcome:
        store = instance.store
        with self._engine.ticker, charged(call):
            set_budget(store, self._limits.fuel, self._ticks)
            try:
                if instance.handler is None:
                    instance.handler = self._guest.instantiate(store)
                text = instance.handler(message)
                if text is None:
                    return Handled()
                call.put_out(size_of(text))
                return Refused(text)
            except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
                if call.interruption is not None:
                    raise call.interruption from None
                return call.failure(error, fuel_left(store))

    def _spent(self, instance: _Instance, began: int) -> Spent:
        fuel = self._limits.fuel - fuel_left(instance.store)
        return Spent(fuel, time.thread_time_ns() - began, instance.memory.used)

    def _take(self) -> _Instance:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Instance(self._engine, self._limits, self._guest.images)

    def _put_back(self, instance: _Instance, outcome: Outcome) -> None:
        instance.calls += 1
        if isinstance(outcome, Handled | Refused) and instance.calls < self._most_calls:
            with self._lock:
                self._idle.append(instance)
        else:
            instance.store.close()
