"""What was sent and what was acknowledged, and what must follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.pipeline.faults.places import derivation
from tests.pipeline.faults.traffic import HISTORY, Batch, Sent, Traffic, derived

__all__ = ["Expected", "Ledger", "Tries"]

_REPLAYED: Final = range(1, HISTORY, 2)
"""Numbers of the batches of the history whose events say their time."""


class Tries(NamedTuple):
    acknowledged: int
    sent: int
    event: Sent


@dataclass(slots=True)
class Expected:
    """Of one tenant, everything that it has sent."""

    stored: dict[str, Sent] = field(default_factory=dict)
    """Events from outside, by name; so are the failing ones and the conflicts."""
    failing: dict[str, Tries] = field(default_factory=dict)
    conflicts: dict[str, Tries] = field(default_factory=dict)
    """Each contradicts the stored one of that name, if that was not later itself."""
    unfit: dict[str, Tries] = field(default_factory=dict)
    """By mark."""
    replayed: dict[str, bytes] = field(default_factory=dict)
    """Events that replays derive: name of the derivation → content."""
    events: int = 0
    """Besides the unfit ones."""
    size: int = 0
    """Bytes, besides the unfit ones."""

    def add(self, batch: Batch, acknowledged: int, sent: int) -> None:
        self.stored.update(batch.stored)
        for wanted, poison in (
            (self.failing, batch.failing),
            (self.conflicts, batch.conflicts),
            (self.unfit, batch.unfit),
        ):
            wanted.update({name: Tries(acknowledged, sent, event) for name, event in poison.items()})
        for kind in (batch.stored, batch.dropped, batch.failing):
            self.events += len(kind)
            self.size += sum(event.size for event in kind.values())
        # An identity is billed the bytes of the larger of the two.
        self.size += sum(max(0, event.size - self.stored[name].size) for name, event in batch.conflicts.items())


class Ledger:
    """A batch that was handed out is sent until it is acknowledged, so at the end all are."""

    def __init__(self, traffic: Traffic, tenants: tuple[str, ...]) -> None:
        self.traffic = traffic
        self.tenants = tenants
        self._next = dict.fromkeys(tenants, 0)
        self._sent: Counter[tuple[str, int]] = Counter()
        self._acknowledged: Counter[tuple[str, int]] = Counter()
        self._replays: list[tuple[str, str]] = []
        """Tenant, and the type of the derived events."""
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

    def note_replay(self, tenant: str, type: str) -> None:
        """Of all that the tenant's history holds, through rules that derive events of this type."""
        self._replays.append((tenant, type))

    @property
    def sent_again(self) -> int:
        """Events that were acknowledged more than once, once for each time after the first."""
        traffic = self.traffic
        return sum(
            (count - 1) * len(traffic.batch(*key).lines) for key, count in self._acknowledged.items() if count > 1
        )

    @property
    def replays(self) -> int:
        return len(self._replays)

    def history(self, tenant: str) -> int:
        """Events that a replay has to look at."""
        return sum(len(self.traffic.batch(tenant, number).stored) for number in _REPLAYED)

    def expected(self, tenant: str) -> Expected:
        expected = Expected()
        for number in range(self._next[tenant]):
            key = tenant, number
            expected.add(self.traffic.batch(tenant, number), self._acknowledged[key], self._sent[key])
        for number in _REPLAYED:
            small = self.traffic.batch(tenant, number).small
            for type in (type for owner, type in self._replays if owner == tenant):
                expected.replayed |= {
                    derivation(type, name, replayed=True): derived(type, event) for name, event in small.items()
                }
        return expected
