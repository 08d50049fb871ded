"""The events of one request through a guest: tried again where that may help, and no longer than a request may last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol, TypeAlias

from eventrunner.events import Event
from eventrunner.handlers.consumer_messages import message_of
from eventrunner.handlers.consumer_publishing import LoopDetected, Publishing, Unpublishable
from eventrunner.handlers.consumer_turns import Turn
from eventrunner.wasm.host import Host
from eventrunner.wasm.outcomes import Call, Handled, Limit, Message, Outcome, OverLimit, Refused, Trapped

__all__ = ["MOST_ATTEMPTS", "Attempted", "Item", "Run", "Waiting"]

MOST_ATTEMPTS: Final = 3
_SECONDS: Final = 10.0
_REPLY_BYTES: Final = 4 * 1024 * 1024
_BACKOFF: Final = 0.05
_BACKOFF_FACTOR: Final = 4
_STATUS: Final = {
    Limit.FUEL: HTTPStatus.GATEWAY_TIMEOUT,
    Limit.TIME: HTTPStatus.GATEWAY_TIMEOUT,
    Limit.MEMORY: HTTPStatus.INSUFFICIENT_STORAGE,
    Limit.OUTPUT: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Limit.PUBLISHES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


@dataclass(slots=True, eq=False)
class Item:
    """An event, and what has become of it. Sums are over all attempts."""

    event: Event
    message: Message
    attempts: int = 0
    fuel: int = 0
    cpu_ns: int = 0
    memory: int = 0
    """Of the guest: KiB·milliseconds."""
    bytes_out: int = 0
    """Of the messages of the attempt that counts."""
    published: list[Event] = field(default_factory=list)
    failure: tuple[int, str] | None = None
    """Status and reason; it is given up."""
    is_handled: bool = False

    @property
    def is_settled(self) -> bool:
        return self.is_handled or self.failure is not None


Attempted: TypeAlias = Callable[[Item, Call, str], None]
"""Told of each attempt, and why it failed; empty if it did not."""


class Waiting(Protocol):
    """The clock by which a run waits and ends."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Run:
    """After `_SECONDS` or `_REPLY_BYTES` it ends with those events, from the first one on, that are settled by then.
    The first one is always settled, however long that takes."""

    def __init__(
        self,
        host: Host,
        publishing: Publishing,
        attempted: Attempted,
        turn: Turn,
        stream: str,
        clock: Waiting = time,
    ) -> None:
        """`turn`: this request's, which has begun."""
        self._host = host
        self._publishing = publishing
        self._attempted = attempted
        self._turn = turn
        self._stream = stream
        self._clock = clock
        self._until = clock.monotonic() + _SECONDS
        self._reply_bytes = 0

    def handle(self, events: Sequence[Event], *, ordered: bool) -> list[Item]:
        """The first ones of the events, settled: all of them, or as many as there was time or room for."""
        items = [Item(event, message_of(event, self._stream)) for event in events]
        return items[: self._in_order(items) if ordered else self._in_rounds(items)]

    def _in_order(self, items: Sequence[Item]) -> int:
        for number, item in enumerate(items, 1):
            self._try(item)
            while not item.is_settled:
                self._back_off(item)
                self._try(item)
            if self._is_full:
                return number
        return len(items)

    def _in_rounds(self, items: Sequence[Item]) -> int:
        """What failed waits for the others before it is tried again."""
        begun = 0
        while begun < len(items) and not (begun and self._is_full):
            self._try(items[begun])
            begun += 1
        while waiting := [number for number in range(begun) if not items[number].is_settled]:
            first, *others = waiting
            if first and self._is_full:
                return first
            self._back_off(items[first])
            self._try(items[first])
            for number in others:
                if self._is_full:
                    break
                self._try(items[number])
        return begun

    @property
    def _is_full(self) -> bool:
        return self._reply_bytes >= _REPLY_BYTES or self._clock.monotonic() >= self._until

    def _back_off(self, item: Item) -> None:
        self._turn.leave()
        self._clock.sleep(_BACKOFF * _BACKOFF_FACTOR ** (item.attempts - 1))

    def _try(self, item: Item) -> None:
        began = time.perf_counter_ns()
        call = self._host.handle(item.message)
        took = time.perf_counter_ns() - began
        spent = call.spent
        self._turn.called(spent.cpu_ns, took)
        item.attempts += 1
        item.fuel += spent.fuel
        item.cpu_ns += spent.cpu_ns
        item.memory += spent.memory_bytes * took // (1024 * 1_000_000)
        problem, is_final = self._take(item, call)
        if problem is not None and (is_final or item.attempts >= MOST_ATTEMPTS):
            item.failure = problem
        self._attempted(item, call, "" if problem is None else problem[1])

    def _take(self, item: Item, call: Call) -> tuple[tuple[int, str] | None, bool]:
        """What is wrong, and whether trying again is no use."""
        if not isinstance(call.outcome, Handled):
            return _problem(call.outcome), False
        try:
            item.published = self._publishing.events(item.event, call.published)
        except (LoopDetected, Unpublishable) as error:
            return (int(error.status), error.detail), isinstance(error, LoopDetected)
        item.bytes_out = sum(len(message.body) for message in call.published)
        self._reply_bytes += item.bytes_out
        item.is_handled = True
        return None, False


def _problem(outcome: Outcome) -> tuple[int, str]:
    match outcome:
        case OverLimit(limit, _):
            return int(_STATUS[limit]), str(outcome)
        case Refused():
            return int(HTTPStatus.UNPROCESSABLE_ENTITY), str(outcome)
        case Trapped() | Handled():
            return int(HTTPStatus.INTERNAL_SERVER_ERROR), str(outcome)
