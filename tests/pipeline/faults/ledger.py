"""What was sent and what was acknowledged, and what must follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.pipeline.faults.traffic import Batch, Traffic

__all__ = ["Expected", "Ledger", "Tries"]


class Tries(NamedTuple):
    acknowledged: int
    sent: int
    size: int
    """Bytes each time."""


@dataclass(slots=True)
class Expected:
    """Of one tenant, everything that it has sent."""

    stored: set[str] = field(default_factory=set)
    """Ids of events from outside."""
    causes: set[str] = field(default_factory=set)
    """Ids of events of which there is a derived one."""
    failing: dict[str, Tries] = field(default_factory=dict)
    """By id; so are the conflicts."""
    conflicts: dict[str, Tries] = field(default_factory=dict)
    unfit: dict[str, Tries] = field(default_factory=dict)
    """By mark."""
    events: int = 0
    """Besides the unfit ones."""
    size: int = 0
    """Bytes, besides the unfit ones."""
    _sizes: dict[str, int] = field(default_factory=dict)
    """Of the stored ones, by id."""

    def add(self, batch: Batch, acknowledged: int, sent: int) -> None:
        self.stored.update(batch.stored)
        self.causes |= batch.causes
        for wanted, poison in (
            (self.failing, batch.failing),
            (self.conflicts, batch.conflicts),
            (self.unfit, batch.unfit),
        ):
            wanted.update({name: Tries(acknowledged, sent, size) for name, size in poison.items()})
        self.events += len(batch.stored) + len(batch.dropped) + len(batch.failing)
        for kind in (batch.stored, batch.dropped, batch.failing):
            self.size += sum(kind.values())
        self._sizes.update(batch.stored)
        # An identity is billed the bytes of the larger of the two.
        self.size += sum(max(0, size - self._sizes[id]) for id, size in batch.conflicts.items())


class Ledger:
    """A batch that was handed out is sent until it is acknowledged, so at the end all are."""

    def __init__(self, traffic: Traffic, tenants: tuple[str, ...]) -> None:
        self.traffic = traffic
        self.tenants = tenants
        self._next = dict.fromkeys(tenants, 0)
        self._sent: Counter[tuple[str, int]] = Counter()
        self._acknowledged: Counter[tuple[str, int]] = Counter()
        self.events = 0
        """Acknowledged, each once."""
        self.answers: Counter[str] = Counter()
        """By status, or by the kind of failure where no answer came."""
        self.surprises: list[str] = []
        """Answers that a client cannot be expected to understand as `try again`."""

    def hand_out(self, tenant: str) -> Batch:
        number = self._next[tenant]
        self._next[tenant] += 1
        return self.traffic.batch(tenant, number)

    def note_sent(self, batch: Batch) -> None:
        self._sent[batch.tenant, batch.number] += 1

    def note_acknowledged(self, batch: Batch) -> None:
        key = batch.tenant, batch.number
        if not self._acknowledged[key]:
            self.events += len(batch.lines)
        self._acknowledged[key] += 1

    def unacknowledged(self) -> list[str]:
        return [
            f"{number} of {tenant}"
            for tenant, count in self._next.items()
            for number in range(count)
            if not self._acknowledged[tenant, number]
        ]

    def expected(self, tenant: str) -> Expected:
        expected = Expected()
        for number in range(self._next[tenant]):
            key = tenant, number
            expected.add(self.traffic.batch(tenant, number), self._acknowledged[key], self._sent[key])
        return expected
