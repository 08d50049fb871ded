"""What the tenants send: batch `number` of a tenant is always the same, so that nobody has to remember its events.

All tenants use the same ids and the same source, so every event has a twin in each other tenant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

__all__ = ["RULES", "SOURCE", "Batch", "Traffic"]

SOURCE: Final = "/faults"
RULES: Final = """
rule Big { when Event.type == "order" && Event.data.amount >= 900 then
  Out.amount = Event.data.amount; Emit("order.alert"); Retract("Big"); }
rule Ping { when Event.type == "ping" then Drop("noise"); Retract("Ping"); }
rule Loop { when Event.type == "loop" then Event.data.n = 1; }
"""
"""The last one never ends, so the engine gives its event up: poison."""

_CONFLICT_DISTANCE: Final = 20
"""Batches between an event and one that contradicts it."""
_FILLING: Final = "abcdefghijklmnopqrstuvwxyz " * 4


@dataclass(slots=True)
class Batch:
    tenant: str
    number: int
    stored: dict[str, int] = field(default_factory=dict)
    """Id → bytes sent; likewise the others."""
    dropped: dict[str, int] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    """Poison: events whose rule fails."""
    conflicts: dict[str, int] = field(default_factory=dict)
    """Poison: they contradict an event of an earlier batch."""
    unfit: dict[str, int] = field(default_factory=dict)
    """Poison: raw payloads that no adapter fits, by the mark in them, because each delivery gets an id of its own."""
    causes: set[str] = field(default_factory=set)
    """Ids of events of which a rule derives another."""
    lines: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"\n".join(self.lines)

    def add(self, kind: dict[str, int], name: str, document: object) -> None:
        line = json.dumps(document).encode()
        self.lines.append(line)
        kind[name] = len(line)


@dataclass(frozen=True, slots=True)
class Traffic:
    seed: int
    size: int
    """Ordinary events in a batch; poison comes on top."""

    def batch(self, tenant: str, number: int) -> Batch:
        random = Random(f"{self.seed}/{tenant}/{number}")
        batch = Batch(tenant, number)
        for index, id in enumerate(self._ids(number)):
            amount = 950 if index % 50 == 7 else random.randrange(900)
            batch.add(
                batch.stored, id, _order(number, id, {"amount": amount, "text": _FILLING[: random.randrange(100)]})
            )
            if amount >= 900:
                batch.causes.add(id)
        self._add_poison(batch, random)
        return batch

    def _ids(self, number: int) -> Iterator[str]:
        return (f"{number}-{index}" for index in range(self.size))

    def _add_poison(self, batch: Batch, random: Random) -> None:
        number = batch.number
        if random.random() < 0.2:
            batch.add(batch.dropped, f"ping-{number}", _event(f"ping-{number}", "ping", {}))
        if random.random() < 0.2:
            batch.add(batch.failing, f"loop-{number}", _event(f"loop-{number}", "loop", {"n": 0}))
        if random.random() < 0.2:
            mark = f"{batch.tenant}-unfit-{number}"
            batch.add(batch.unfit, mark, {"mark": mark})
        if number >= _CONFLICT_DISTANCE and random.random() < 0.2:
            earlier = number - _CONFLICT_DISTANCE
            id = f"{earlier}-{random.randrange(self.size)}"
            batch.add(batch.conflicts, id, _order(earlier, id, {"contradicts": True, "amount": -1}))


def _order(number: int, id: str, data: dict[str, object]) -> dict[str, object]:
    event = _event(id, "order", data)
    if number % 2:
        event["time"] = "2026-01-15T12:00:00Z"
    return event


def _event(id: str, type: str, data: dict[str, object]) -> dict[str, object]:
    return {"specversion": "1.0", "id": id, "source": SOURCE, "type": type, "data": data}
