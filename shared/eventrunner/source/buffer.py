"""What has been pulled and waits for a request: a queue for each tenant, served in turn."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from eventrunner.source.message import Part
from eventrunner.source.spec import BatchLimits, Ordering

__all__ = ["Buffer"]

_place = attrgetter("place")


class Buffer:
    """`mixed`: requests are filled up with several tenants' events. Else one tenant's half of a request is enough,
    because a reply for one tenant need not be taken apart.

    ByTenant, a tenant's parts wait in the order of the stream, whenever they come, and a tenant whose parts were taken
    has to wait until they are `done`.
    """

    def __init__(self, limits: BatchLimits, ordering: Ordering, *, mixed: bool) -> None:
        self._limits = limits
        self._ordered = ordering is Ordering.BY_TENANT
        self._enough = limits.max_events if mixed else max(1, limits.max_events // 2)
        self._queues: dict[str, deque[Part]] = {}
        self._turns: deque[str] = deque()
        """Tenants that have parts and may send them."""
        self._busy: set[str] = set()
        self._events = 0
        self._bytes = 0

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._turns)

    @property
    def full(self) -> bool:
        """Whether a request can be filled."""
        return self._events >= self._limits.max_events or self._bytes >= self._limits.max_bytes

    def add(self, part: Part) -> None:
        tenant = part.message.tenant
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            if tenant not in self._busy:
                self._turns.append(tenant)
        if self._ordered and queue and part.place < queue[-1].place:
            bisect.insort(queue, part, key=_place)
        else:
            queue.append(part)
        self._events += part.count
        self._bytes += part.size

    def take(self) -> list[Part]:
        """The parts of the next request; a part that is over the limits by itself is a request."""
        taken: list[Part] = []
        events = size = 0
        while self._turns and events < self._enough:
            tenant = self._turns[0]
            queue = self._queues[tenant]
            before = len(taken)
            while queue:
                part = queue[0]
                count, length = events + part.count, size + part.size + 1
                if taken and (count > self._limits.max_events or length > self._limits.max_bytes):
                    break
                taken.append(queue.popleft())
                events, size = count, length
            self._end_turn(tenant, queue, took=len(taken) > before)
            if queue:
                break
        self._events -= events
        self._bytes -= size - len(taken)
        return taken

    def done(self, tenants: Iterable[str]) -> None:
        """The tenants' parts that were taken are settled."""
        if not self._ordered:
            return
        for tenant in tenants:
            self._busy.discard(tenant)
            if tenant in self._queues:
                self._turns.append(tenant)

    def remove(self, tenant: str) -> list[Part]:
        """What of the tenant was waiting."""
        parts = self._queues.pop(tenant, ())
        if parts and tenant in self._turns:
            self._turns.remove(tenant)
        self._events -= sum(part.count for part in parts)
        self._bytes -= sum(part.size for part in parts)
        return list(parts)

    def clear(self) -> list[Part]:
        """Everything that was waiting."""
        parts = [part for queue in self._queues.values() for part in queue]
        self._queues.clear()
        self._turns.clear()
        self._events = self._bytes = 0
        return parts

    def _end_turn(self, tenant: str, queue: deque[Part], *, took: bool) -> None:
        self._turns.popleft()
        if not queue:
            del self._queues[tenant]
        if took and self._ordered:
            self._busy.add(tenant)
        elif queue:
            self._turns.append(tenant)
