"""Is the sink away, or is it the event? A circuit breaker, and the evidence on which an event is given up.

A failed request counts against its events only if the sink has delivered something else meanwhile, or if nothing else
has been tried and the sink did see the request. So an outage of whatever length sends nothing to the dead letters, and
an event that makes the sink fail is found in the end. While the sink is away there is one probe at a time, in turn, and
now and then with something that has not failed yet: if all that was tried is to blame, only that can tell.

A batch that fails alone is halved to find the event that is to blame, as long as some part of it may still get through.
When many parts have failed in a row, it is the sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from http import HTTPStatus

from eventrunner.source.message import Parcel
from eventrunner.source.outcomes import (
    DeadLetter,
    Decision,
    Delivered,
    Failed,
    Halve,
    Outcome,
    Publish,
    Refused,
    RetryAfter,
)
from eventrunner.source.spec import Delivery

__all__ = ["SinkHealth"]

_PROBE_MAX = 1.0
"""Longest pause between two probes: what an outage costs on top of its length."""
_FRESH_AFTER = 3
"""Probes that have failed with what had failed before: then one is made with something new."""
_FAULTS_BEFORE_HALVING = 2
_FAILURES_IN_A_ROW = 30
"""Of the parts of one parcel: two for the whole and for each half, quarter and eighth. Some part of a batch with a few
poison events has got through by then."""

_NEVER_THE_EVENT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNAUTHORIZED})
"""What these answers are about is who sends, whatever else gets through."""


class SinkHealth:
    """Of one sink, for all sources that send to it."""

    def __init__(self, jitter: random.Random | None = None) -> None:
        self._jitter = jitter or random.Random()
        self._last_success = 0.0
        self._last_failure = 0.0
        self._failed_root = -1
        """The parcel that failed last, with all that was cut from it."""
        self._other_failure = 0.0
        """When another one than that failed last."""
        self._down = False
        self._failures = 0
        self._in_a_row = 0
        """Failed requests since the sink last took or refused one."""
        self._retry_at = 0.0
        self._probing = False
        self._line: deque[object] = deque()
        """Who waits for a turn."""
        self._failed_again = 0
        """Probes that failed since something new was tried."""
        self._changed = asyncio.Event()

    @property
    def down(self) -> bool:
        return self._down

    @property
    def wants_fresh(self) -> bool:
        """Whether the sink is away and should be tried with something new."""
        return self._down and not self._probing and self._failed_again >= _FRESH_AFTER

    @property
    def probing(self) -> bool:
        return self._probing

    async def change(self) -> None:
        """Returns when something has become known about the sink, at the latest after the pause between probes."""
        changed = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROBE_MAX):
                await changed.wait()

    async def turn(self, *, fresh: bool = False) -> bool:
        """Returns when a request may be sent, while the sink is away one at a time: then true, and the caller has to
        come to a decision or `give_back`. `fresh`: something new, which comes first."""
        if not self._down:
            return False
        ticket = object()
        if fresh:
            self._failed_again = 0
            self._line.appendleft(ticket)
        else:
            self._line.append(ticket)
        try:
            return await self._in_line(ticket)
        finally:
            self._line.remove(ticket)
            # For who is first now.
            self._wake()

    async def _in_line(self, ticket: object) -> bool:
        loop = asyncio.get_running_loop()
        while self._down:
            wait = self._retry_at - loop.time()
            is_next = self._line[0] is ticket and not self._probing
            if wait <= 0 and is_next:
                self._probing = True
                return True
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait if is_next else None):
                    await changed.wait()
        return False

    def give_back(self) -> None:
        """The probe came to no outcome."""
        self._probing = False
        self._wake()

    def decide(self, parcel: Parcel, outcome: Outcome, delivery: Delivery, now: float) -> Decision:
        """Notes the outcome and says what follows."""
        if isinstance(outcome, Delivered):
            self._last_success = now
            self._in_a_row = 0
            self._answered()
            return Publish(outcome.reply)
        if isinstance(outcome, Refused):
            self._in_a_row = 0
            self._answered()
            return Halve() if parcel.count > 1 else DeadLetter(outcome.status, outcome.reason)
        self._in_a_row += 1
        at_fault = self._at_fault(parcel, outcome)
        self._note_failure(parcel, now)
        if not at_fault:
            self._close(outcome, delivery, now)
            return RetryAfter(0.0)
        self._answered()
        parcel.faults += 1
        if parcel.count > 1 and parcel.faults >= min(_FAULTS_BEFORE_HALVING, delivery.retry + 1):
            return Halve()
        if parcel.count == 1 and parcel.faults > delivery.retry:
            return DeadLetter(outcome.status, outcome.reason)
        wait = delivery.backoff(parcel.faults, self._jitter)
        return RetryAfter(max(wait, min(outcome.retry_after or 0.0, delivery.retry_after_max)))

    def _at_fault(self, parcel: Parcel, outcome: Failed) -> bool:
        if self._last_success > parcel.evidence_from:
            return outcome.status not in _NEVER_THE_EVENT
        if parcel.inherited and self._in_a_row > _FAILURES_IN_A_ROW:
            return False
        other = self._other_failure if parcel.root == self._failed_root else self._last_failure
        return other < parcel.first_tried and outcome.reached and not outcome.overloaded

    def _note_failure(self, parcel: Parcel, now: float) -> None:
        if parcel.root != self._failed_root:
            self._other_failure, self._failed_root = self._last_failure, parcel.root
        self._last_failure = now

    def _answered(self) -> None:
        self._failures = self._failed_again = 0
        if self._down or self._probing:
            self._down = self._probing = False
            self._wake()

    def _close(self, outcome: Failed, delivery: Delivery, now: float) -> None:
        self._failures += 1
        self._failed_again += self._probing
        pause = min(delivery.backoff(self._failures, self._jitter), _PROBE_MAX)
        retry_at = now + max(pause, min(outcome.retry_after or 0.0, delivery.retry_after_max))
        # Requests that were under way when the first one failed must not push the probe further away.
        self._retry_at = retry_at if self._probing or not self._down else self._retry_at
        self._down, self._probing = True, False
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
