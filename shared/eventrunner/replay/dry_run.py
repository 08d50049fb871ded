"""A dry run over stored history: what a draft would make of the events, against what the rules in force make of them.

It goes page by page and ends after some seconds; who wants more asks again with the cursor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eventrunner.events import Event, decode_event
from eventrunner.replay.counting import count_verdict, example, is_derived
from eventrunner.replay.record import Counts
from eventrunner.replay.worker import event_time
from eventrunner.rules import Verdict
from eventrunner.storage.event_store import EventStore

__all__ = ["DryRun", "Stretch", "Tally"]

_SECONDS = 2.0
_SMALL, _PAGE = 25, 500
"""Events of the first page and of a full one: rules may take a quarter of a second for an event, and a page is done
as a whole."""
_MOST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of [since, until) in microseconds since 1970."""

    tenant: str
    since: int
    until: int
    type: str | None = None
    source: str | None = None


@dataclass(slots=True)
class Tally:
    read: int = 0
    evaluated: int = 0
    """All but those that rules derived."""
    draft: Counts = field(default_factory=Counts)
    in_force: Counts = field(default_factory=Counts)
    matched: int = 0
    """Events on which a rule of the draft fires or fails."""
    gained: int = 0
    """Matched now, not by the rules in force."""
    lost: int = 0
    """No longer matched."""
    different: int = 0
    """Matched by both, with another result."""
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What the draft would do (`changed`, `derived`, `dropped`, `failed`), and both results where they differ."""
    position: int = 0
    """Time of the last event read."""
    cursor: str | None = None
    """Where to go on; None at the end."""

    def add(self, event: Event, draft: Verdict | None, current: Verdict | None) -> None:
        self.evaluated += 1
        if current is not None:
            count_verdict(current, self.in_force)
        if draft is not None:
            self.matched += 1
            count_verdict(draft, self.draft)
            for kind in filter(self._takes, _kinds(draft)):
                self.samples[kind].append(example(event, draft))
        difference = _difference(draft, current)
        if difference:
            setattr(self, difference, getattr(self, difference) + 1)
            if self._takes(difference):
                both = {"draft": example(event, draft), "in_force": example(event, current)}
                self.samples[difference].append(both)

    def _takes(self, kind: str) -> bool:
        return len(self.samples.setdefault(kind, [])) < _MOST_SAMPLES


class Rules(Protocol):
    def evaluate(self, event: Any, tenant: Mapping[str, Any]) -> Verdict | None: ...


class DryRun:
    def __init__(
        self,
        draft: Rules,
        current: Rules | None,
        facts: Mapping[str, Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`current`: None when no version is in force."""
        self._draft, self._current, self._facts, self._clock = draft, current, facts, clock

    def over(self, store: EventStore, stretch: Stretch, cursor: str | None) -> Tally:
        """Raises InvalidInput for a cursor of another stretch, Unavailable."""
        tally, size, until = Tally(cursor=cursor), _SMALL, self._clock() + _SECONDS
        while True:
            page = store.list(
                stretch.tenant,
                type=stretch.type,
                source=stretch.source,
                since=stretch.since,
                until=stretch.until,
                limit=size,
                cursor=tally.cursor,
            )
            self._take(page.bodies, tally)
            tally.cursor = page.next_cursor
            if tally.cursor is None or self._clock() > until:
                return tally
            size = min(2 * size, _PAGE)

    def _take(self, bodies: Sequence[bytes], tally: Tally) -> None:
        tally.read += len(bodies)
        if bodies:
            tally.position = event_time(bodies[-1])
        for event in map(decode_event, bodies):
            if not is_derived(event):
                current = self._current.evaluate(event, self._facts) if self._current else None
                tally.add(event, self._draft.evaluate(event, self._facts), current)


def _kinds(verdict: Verdict) -> list[str]:
    if verdict.error is not None:
        return ["failed"]
    changed = verdict.data is not None or verdict.attributes or verdict.tags or verdict.route
    kinds = (("changed", changed), ("derived", verdict.emitted), ("dropped", verdict.dropped is not None))
    return [kind for kind, holds in kinds if holds]


def _difference(draft: Verdict | None, current: Verdict | None) -> str:
    if draft is None or current is None:
        return "gained" if draft is not None else "lost" if current is not None else ""
    return "" if _outcome(draft) == _outcome(current) else "different"


def _outcome(verdict: Verdict) -> tuple[Any, ...]:
    """All but the number of conditions evaluated and what was logged."""
    lists = (list(verdict.emitted), dict(verdict.attributes), dict(verdict.tags))
    return (verdict.fired, verdict.data, *lists, verdict.dropped, verdict.route, verdict.error)
