"""What the tenants send: batch `number` of a tenant is always the same, so that nobody has to remember its events.

All tenants use the same ids, and each id twice, with two sources: a platform that takes the id alone, or the id and the
source, for the identity of an event loses some. What an event holds is its own, so one in the place of another shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from tests.pipeline.faults.places import content, name_of

__all__ = ["BEGINNING", "HISTORY", "RULES", "SMALL", "SOURCES", "Batch", "Sent", "Traffic", "derived"]

SOURCES: Final = ("/faults/shop", "/faults/web")
RULES: Final = """
rule Big { when Event.type == "order" && Event.data.amount >= 900 then
  Out.order = Event.data.order; Out.text = Event.data.text; Emit("order.alert"); Retract("Big"); }
rule Ping { when Event.type == "ping" then Drop("noise"); Retract("Ping"); }
rule Loop { when Event.type == "loop" then Event.data.n = 1; }
"""
"""The last one never ends, so the engine gives its event up: poison."""

HISTORY: Final = 16
"""The first batches of a tenant, which may be replayed: no event of theirs is contradicted by another one of them."""
BEGINNING: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""Time of the events of the first batch that says the time; that of a later one is as many seconds later."""
SMALL: Final = 100
"""Amount below which replays derive an event."""

_CONFLICT_DISTANCE: Final = 20
"""Batches between an event and one that contradicts it."""
_FILLING: Final = 'naïve "quoted" \\ and/or 日本 ' * 4
_BIG: Final = 900
"""Amount from which on rules derive an event."""


class Sent(NamedTuple):
    size: int
    """Bytes."""
    content: bytes
    """As `places.content` says."""
    alert: bytes = b""
    """Content of the event that rules derive from it; empty when they derive none."""


@dataclass(slots=True)
class Batch:
    tenant: str
    number: int
    stored: dict[str, Sent] = field(default_factory=dict)
    """By name; likewise the others."""
    dropped: dict[str, Sent] = field(default_factory=dict)
    failing: dict[str, Sent] = field(default_factory=dict)
    """Poison: events whose rule fails."""
    conflicts: dict[str, Sent] = field(default_factory=dict)
    """Poison: they contradict an event of an earlier batch."""
    unfit: dict[str, Sent] = field(default_factory=dict)
    """Poison: raw payloads that no adapter fits, by the mark in them, because each delivery gets an id of its own."""
    small: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The stored events of which replays derive others, and which say their time."""
    lines: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"\n".join(self.lines)

    def add(self, kind: dict[str, Sent], event: Mapping[str, Any]) -> None:
        line = _json(event)
        data = event["data"]
        alert = derived("order.alert", event) if event["type"] == "order" and data["amount"] >= _BIG else b""
        written = content(event["type"], event.get("subject"), _json(data))
        name = name_of(event["source"], event["id"])
        kind[name] = Sent(self._append(line), written, alert)
        if kind is self.stored and "time" in event and data["amount"] < SMALL:
            self.small[name] = event

    def add_unfit(self, mark: str) -> None:
        payload = _json({"mark": mark})
        self.unfit[mark] = Sent(self._append(payload), content("eventrunner.raw", None, payload))

    def _append(self, line: bytes) -> int:
        self.lines.append(line)
        return len(line)


@dataclass(frozen=True, slots=True)
class Traffic:
    seed: int
    size: int
    """Ordinary events in a batch; poison comes on top."""

    def batch(self, tenant: str, number: int) -> Batch:
        random = Random(f"{self.seed}/{tenant}/{number}")
        batch = Batch(tenant, number)
        for index in range(self.size):
            amount = 950 if _is_big(index) else random.randrange(_BIG)
            text = _FILLING[: random.randrange(100)]
            batch.add(batch.stored, _order(tenant, number, index, {"amount": amount, "text": text}))
        self._add_poison(batch, random)
        return batch

    def _add_poison(self, batch: Batch, random: Random) -> None:
        number = batch.number
        if random.random() < 0.2:
            batch.add(batch.dropped, _event(f"ping-{number}", SOURCES[0], "ping", {"of": batch.tenant}))
        if random.random() < 0.2:
            batch.add(batch.failing, _event(f"loop-{number}", SOURCES[0], "loop", {"n": 0, "of": batch.tenant}))
        if random.random() < 0.2:
            batch.add_unfit(f"{batch.tenant}-unfit-{number}")
        if number >= _CONFLICT_DISTANCE and random.random() < 0.2:
            earlier, index = number - _CONFLICT_DISTANCE, random.randrange(self.size)
            data = {"contradicts": True, "amount": -1, "text": _FILLING[: random.randrange(100)]}
            batch.add(batch.conflicts, _order(batch.tenant, earlier, index, data))


def _is_big(index: int) -> bool:
    return index % 50 in (7, 32)


def _order(tenant: str, number: int, index: int, data: Mapping[str, Any]) -> dict[str, Any]:
    id, source = f"{number}-{index // 2}", SOURCES[index % 2]
    event = _event(id, source, "order", {"order": f"{tenant}/{number}/{index}", **data})
    if number % 2:
        event["time"] = f"{BEGINNING + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}"
    if index % 3:
        event["subject"] = f"{tenant} {index % 7}"
    return event


def _event(id: str, source: str, type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": source, "type": type, "data": data}


def derived(type: str, cause: Mapping[str, Any]) -> bytes:
    """Content of the event that a rule derives, in JSON as rules write it."""
    data = {name: cause["data"][name] for name in ("order", "text")}
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return content(type, cause.get("subject"), written)


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
