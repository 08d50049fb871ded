"""What rules make of stored events, counted and shown by example: for replays and for dry runs."""

from __future__ import annotations

from typing import Any

import msgspec

from eventrunner.events import Event
from eventrunner.events.event import AFTER_RULES
from eventrunner.replay.record import Counts
from eventrunner.rules import Verdict, verdict_document

__all__ = ["count_verdict", "example", "is_derived"]

_LARGE_EXAMPLE = 4096


def is_derived(event: Event) -> bool:
    """As in the event engine, rules never see what rules derived, nor what consumers published as results."""
    more = event.extensions or {}
    return "causeid" in more and ("causeconsumer" not in more or AFTER_RULES in more)


def count_verdict(verdict: Verdict, counts: Counts) -> None:
    """What a failed rule would have changed, dropped and emitted is not counted: the event would be a dead letter."""
    for rule in verdict.fired:
        counts.fired[rule] = counts.fired.get(rule, 0) + 1
    if verdict.error is not None:
        counts.failed += 1
        return
    counts.changed += bool(verdict.data is not None or verdict.attributes or verdict.tags or verdict.route)
    counts.dropped += verdict.dropped is not None
    for emitted in verdict.emitted:
        counts.emitted[emitted.type] = counts.emitted.get(emitted.type, 0) + 1


def example(event: Event, verdict: Verdict | None) -> dict[str, Any]:
    """Without what the rules wrote, if that is large."""
    shown = {"source": event.source, **verdict_document(event.id, verdict)}
    if verdict is not None and len(msgspec.json.encode(shown)) > _LARGE_EXAMPLE:
        return {"id": event.id, "source": event.source, "fired": list(verdict.fired)[:100]}
    return shown
