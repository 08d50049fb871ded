"""Lets tenants with little to do overtake one with a long backlog.

A durable consumer delivers in the order of the stream: behind one tenant's backlog all others wait until it is worked
off. While a few tenants have taken nearly all of what an adapter holds, or what it is given has waited for long, the
other tenants' messages are read past that line, straight from the stream, each tenant as many as its share of what an
adapter holds; the requests serve tenants in turn anyway. Where many tenants share a backlog only the shortest queues
overtake, and none where it is short: that costs more than the line.

Such a message is settled by removing it from the stream; until then its consumer will deliver it, so that nothing is
lost with an adapter. Two adapters may work on the same message, whose effects are the same and happen once.

Only in a work queue, where removing is all that an ack does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping

from eventrunner.errors import EventRunnerError
from eventrunner.source.intake import Held
from eventrunner.source.message import Message, read_stored
from eventrunner.source.spec import Ordering, SourceSpec
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError
from eventrunner.tenancy import tenant_of_subject

__all__ = ["Overtaking"]

_log = logging.getLogger(__name__)

_INTERVAL = 0.1
"""Seconds between two looks at who waits; what overtaking adds to a tenant's latency."""
_AWAY_INTERVAL = 0.3
"""The same while the sink is away, so that who comes meanwhile is among the first when it is back."""
_NEVER = 3600.0
_NEARLY_ALL = 0.75
_FEW = 5
"""One tenant in so many is few."""
_BRIEFLY, _LONG = 5 * 10**8, 2 * 10**9
"""Nanoseconds."""
_SHORT = 4
"""A queue is short when another is so many times as long."""
_MESSAGES = 256
"""Read at one look, so that many small messages do not keep the loop from its requests."""


class Overtaking:
    """Gives `take` what it reads. `is_paused` tells when nothing may be read, `is_away` when the sink takes nothing,
    `is_stopped` which tenants have to wait."""

    def __init__(
        self,
        api: JetStreamApi,
        spec: SourceSpec,
        held: Held,
        take: Callable[[Message], None],
        is_paused: Callable[[], bool],
        is_away: Callable[[], bool],
        is_stopped: Callable[[str], bool],
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._api = api
        self._spec = spec
        self._held = held
        self._take = take
        self._is_paused = is_paused
        self._is_away = is_away
        self._is_stopped = is_stopped
        self._time_ns = time_ns
        self._possible = True
        self._next: dict[str, int] = {}
        """Subject → sequence to go on reading from."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if not self._is_line():
                self._next.clear()
                continue
            if self._is_paused():
                continue
            try:
                await self._look()
            except EventRunnerError as error:
                _log.debug("%s: cannot look past the backlog: %s", self._spec.name, error)

    def _is_line(self) -> bool:
        """A short one is soon worked off, unless those who are at its head cannot be served."""
        if self._held.pending > len(self._held):
            return True
        return self._held.pending > 0 and self._has_waited(_BRIEFLY)

    @property
    def _interval(self) -> float:
        if not self._possible:
            return _NEVER
        return _AWAY_INTERVAL if self._is_away() else _INTERVAL

    async def _look(self) -> None:
        wanted = {"subjects_filter": self._spec.filter_subject}
        info = await self._api.request(f"STREAM.INFO.{self._spec.stream}", wanted)
        if info["config"]["retention"] != "workqueue":
            self._possible = False
            return
        subjects: Mapping[str, int] = info["state"].get("subjects") or {}
        if self._spec.ordering is Ordering.BY_TENANT and len(set(map(tenant_of_subject, subjects))) < len(subjects):
            # A tenant's messages are read one subject after the other, so the order of several would be lost.
            return
        share = max(1, self._held.max_events // max(1, len(subjects)))
        room = _MESSAGES
        # The shortest queues first: they are emptied soonest.
        for subject in sorted(self._overtakers(subjects), key=subjects.__getitem__):
            if self._is_stopped(tenant_of_subject(subject)):
                continue
            room -= await self._read(subject, share, room, info["state"]["last_seq"])

    def _overtakers(self, subjects: Mapping[str, int]) -> Collection[str]:
        if len(subjects) > 1 and self._is_taken_by_few(len(subjects)):
            return subjects
        if self._has_waited(_LONG):
            longest = max(subjects.values(), default=0)
            return [subject for subject, messages in subjects.items() if messages * _SHORT < longest]
        return ()

    def _is_taken_by_few(self, tenants: int) -> bool:
        few = max(1, min(tenants, len(self._held)) // _FEW)
        return self._held.events_of_largest(few) > _NEARLY_ALL * self._held.events

    def _has_waited(self, nanoseconds: int) -> bool:
        return self._time_ns() - self._held.last_stored > nanoseconds

    async def _read(self, subject: str, share: int, room: int, last: int) -> int:
        """Reads a tenant's next messages, up to a sequence, until it has its share. Returns how many."""
        tenant, count = tenant_of_subject(subject), 0
        while count < room and self._held.events_of(tenant) < share:
            start = self._next.get(subject, 1)
            try:
                name = f"STREAM.MSG.GET.{self._spec.stream}"
                answer = await self._api.request(name, {"seq": start, "next_by_subj": subject})
            except JetStreamError as error:
                if error.http_code != NOT_FOUND:
                    raise
                # From the start again, for what has been given back meanwhile.
                self._next.pop(subject, None)
                return count
            message = read_stored(answer["message"])
            if int(message.sequence) > last:
                return count
            self._next[subject] = int(message.sequence) + 1
            self._take(message)
            count += 1
        return count
