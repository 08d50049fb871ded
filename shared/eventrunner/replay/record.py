"""A replay as it lies in the bucket `replays`: what was asked for, how far it is, and who works on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from eventrunner.clock import format_time, from_micros
from eventrunner.events import Event
from eventrunner.storage.records import Record, tenant_key

__all__ = ["REPLAY_TYPE", "Counts", "Lease", "Replay", "State", "Target", "task_event"]

REPLAY_TYPE = "eventrunner.replay"
"""Type of the events on the stream REPLAYS: each asks to go on with a replay."""


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """It cannot go on, whatever is tried; `error` says why."""
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (State.DONE, State.FAILED, State.CANCELLED)


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    consumer: str = ""
    rules: str = ""
    """Name of a rule set."""
    version: int = 0
    """Of the rule set; fixed when the replay is created."""


class Lease(msgspec.Struct, frozen=True):
    """Who works on the replay now. One that has run out is nobody's."""

    owner: str
    until: float
    """Seconds since 1970."""


class Counts(msgspec.Struct, omit_defaults=True):
    read: int = 0
    """Events of the time range looked at."""
    matched: int = 0
    """Those that the filters let through."""
    sent: int = 0
    """To the consumer; of a dry run, those that would be."""
    evaluated: int = 0
    """By the rules. Events that rules derived are not: they never are."""
    fired: dict[str, int] = {}
    """Events by rule that fired on them."""
    emitted: dict[str, int] = {}
    """Derived events by type, new or not."""
    derived: int = 0
    """Derived events that were new, and so were stored and sent on."""
    known: int = 0
    """Derived events that were stored before."""
    conflicts: int = 0
    """Derived events of which another version is stored, which stays."""
    changed: int = 0
    """Events whose data, attributes or tags the rules would change. What is stored stays as it is."""
    dropped: int = 0
    """Events that the rules would drop. What is stored stays stored."""
    failed: int = 0
    """Events on which a rule failed."""


class Replay(Record):
    tenant: str
    id: str
    since: int
    """Microseconds since 1970."""
    until: int
    target: Target
    state: State = State.PENDING
    type: str | None = None
    source: str | None = None
    filters: list[Any] = msgspec.field(default_factory=list)
    """CloudEvents filters, all of which must hold."""
    dry_run: bool = False
    rate: float = 1000
    """Events a second."""
    created: str = ""
    updated: str = ""
    first: int = 0
    """Time of the first event, and of the last one: what progress is measured by."""
    last: int = 0
    position: int = 0
    """Time of the last event that was read."""
    cursor: str | None = None
    """Of the event store; None before the first page."""
    counts: Counts = msgspec.field(default_factory=Counts)
    examples: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Of a dry run: what the rules made of the first events on which any fired."""
    errors: list[dict[str, str]] = msgspec.field(default_factory=list)
    """The first events on which a rule failed."""
    error: str = ""
    lease: Lease | None = None

    @classmethod
    def from_json(cls, value: bytes) -> Replay:
        """Raises InvalidInput."""
        replay: Replay = super().from_json(value)
        return replay

    @property
    def key(self) -> str:
        return tenant_key(self.tenant, self.id)

    @property
    def progress(self) -> float:
        """0 to 1, by the time of the events."""
        if self.state is State.DONE:
            return 1.0
        if not self.position or self.last <= self.first:
            return 0.0
        return min(1.0, max(0.0, (self.position - self.first) / (self.last - self.first)))

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        target = {"consumer": self.target.consumer} if self.target.consumer else msgspec.to_builtins(self.target)
        shown = {
            "id": self.id,
            "tenant": self.tenant,
            "state": self.state.value,
            "progress": round(self.progress, 4),
            "from": format_time(from_micros(self.since)),
            "to": format_time(from_micros(self.until)),
            "type": self.type,
            "source": self.source,
            "filters": self.filters,
            "target": target,
            "dry_run": self.dry_run,
            "rate": self.rate,
            "created": self.created,
            "updated": self.updated,
            "counts": {name: getattr(self.counts, name) for name in Counts.__struct_fields__},
            "errors": self.errors,
        }
        if self.dry_run:
            shown["examples"] = self.examples
        if self.error:
            shown["error"] = self.error
        return shown


def task_event(tenant: str, replay_id: str) -> Event:
    """Asks to go on with the replay."""
    return Event(id=replay_id, source="/eventrunner/replays", type=REPLAY_TYPE, tenantid=tenant)
