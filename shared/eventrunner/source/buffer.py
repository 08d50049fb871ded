"""What has been pulled and waits for a request: a queue for each tenant, served in turn.

Who had nothing waiting comes first, with a few events and in half of a request, and then like everybody. So a tenant
with little to do waits for one request and not for one of each that has a backlog, as in FQ-CoDel (RFC 8290), and as
there who was served more than a few events keeps its place in the line for one round, whether something waits or not.
When a request had no room for those that were served before, one of them comes first in the next.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from eventrunner.source.message import Part
from eventrunner.source.spec import BatchLimits, Ordering

__all__ = ["Buffer"]

_place = attrgetter("place")

_QUANTUM = 16
"""A newcomer gets this part of a request's events at once, and at least one part."""


@dataclass(slots=True)
class _Request:
    limits: BatchLimits
    parts: list[Part] = field(default_factory=list)
    events: int = 0
    bytes: int = 0

    def has_room_for(self, part: Part) -> bool:
        """Always when it is empty: a part that is over the limits by itself is a request."""
        if not self.parts:
            return True
        return (
            self.events + part.count <= self.limits.max_events and self.bytes + part.size + 1 <= self.limits.max_bytes
        )

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.events += part.count
        self.bytes += part.size + 1


class Buffer:
    """`mixed`: requests are filled up with several tenants' events. Else one tenant's half of a request is enough,
    because a reply for one tenant need not be taken apart.

    ByTenant, a tenant's parts wait in the order of the stream, whenever they come, and a tenant whose parts were taken
    has to wait until they are `done`.
    """

    def __init__(self, limits: BatchLimits, ordering: Ordering, *, mixed: bool) -> None:
        self._limits = limits
        self._ordered = ordering is Ordering.BY_TENANT
        self._mixed = mixed
        self._few = max(1, limits.max_events // _QUANTUM)
        self._enough = limits.max_events if mixed else max(1, limits.max_events // 2)
        self._queues: dict[str, deque[Part]] = {}
        self._newcomers: deque[str] = deque()
        self._turns: deque[str] = deque()
        """Tenants that were served before and may send what they have, which may be nothing."""
        self._is_owed = False
        """Whether the last request had nothing of them."""
        self._busy: set[str] = set()
        self._events = 0
        self._bytes = 0

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give."""
        self._pass_over_empty()
        return bool(self._turns or self._newcomers)

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
                self._newcomers.append(tenant)
        if self._ordered and queue and part.place < queue[-1].place:
            bisect.insort(queue, part, key=_place)
        else:
            queue.append(part)
        self._events += part.count
        self._bytes += part.size

    def take_few(self) -> list[Part]:
        """The parts of a small request, for a sink of which it is not known whether it is there."""
        request = _Request(self._limits)
        self._pass_over_empty()
        self._serve(self._newcomers or self._turns, request, self._few)
        return request.parts

    def take(self) -> list[Part]:
        """The parts of the next request."""
        request = _Request(self._limits)
        most = self._limits.max_events
        # Who cannot be served twice in one request, or should have it alone, gets all it waits with.
        few = self._few if self._mixed and not self._ordered else most
        self._pass_over_empty()
        waiting = bool(self._turns)
        if self._is_owed and waiting:
            self._serve(self._turns, request, few)
        served = len(request.parts)
        is_open = self._fill(request, self._newcomers, few, max(1, self._enough // 2), self._limits.max_bytes // 2)
        before = len(request.parts)
        is_open = is_open and self._fill(request, self._turns, most, self._enough, self._limits.max_bytes)
        self._is_owed = waiting and not served and len(request.parts) == before
        if is_open:
            self._fill(request, self._newcomers, few, self._enough, self._limits.max_bytes)
        return request.parts

    def _fill(self, request: _Request, line: deque[str], quantum: int, events: int, size: int) -> bool:
        """From one tenant of the line after the other, until there is so much. False when something did not fit."""
        while line and request.events < events and request.bytes < size:
            if not self._serve(line, request, quantum):
                return False
        return True

    def _serve(self, line: deque[str], request: _Request, quantum: int) -> bool:
        """Takes of the tenant that is first in the line. False when its next part does not fit."""
        tenant = line[0]
        queue, start, before = self._queues[tenant], request.events, len(request.parts)
        until = start + quantum
        fits = True
        while queue and request.events < until and (fits := request.has_room_for(queue[0])):
            part = queue.popleft()
            request.add(part)
            self._events -= part.count
            self._bytes -= part.size
        if len(request.parts) > before:
            self._end_turn(line.popleft(), queue, request.events - start)
        elif not queue:
            self._leave(line)
        return fits

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
        for line in (self._turns, self._newcomers):
            if tenant in line:
                line.remove(tenant)
        self._events -= sum(part.count for part in parts)
        self._bytes -= sum(part.size for part in parts)
        return list(parts)

    def clear(self) -> list[Part]:
        """Everything that was waiting."""
        parts = [part for queue in self._queues.values() for part in queue]
        self._queues.clear()
        self._turns.clear()
        self._newcomers.clear()
        self._events = self._bytes = 0
        return parts

    def _pass_over_empty(self) -> None:
        """Their round is over: what comes of them now is a newcomer's."""
        while self._turns and not self._queues[self._turns[0]]:
            self._leave(self._turns)

    def _leave(self, line: deque[str]) -> None:
        del self._queues[line.popleft()]

    def _end_turn(self, tenant: str, queue: deque[Part], events: int) -> None:
        if self._ordered:
            if not queue:
                del self._queues[tenant]
            self._busy.add(tenant)
        elif queue or events > self._few:
            # Whoever sends much keeps its place though nothing waits, and so is no newcomer with what comes next.
            self._turns.append(tenant)
        else:
            del self._queues[tenant]
