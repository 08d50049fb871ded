"""What a stage made of a batch, each part tied to the event that it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from eventrunner.events import USAGE_TYPE, Event
from eventrunner.events.event import USAGE_ATTRIBUTES
from eventrunner.ids import derived_id

__all__ = ["Cost", "Failure", "Outcomes"]

_DATA_LIMIT = 1024
"""Characters of `knativeerrordata`, as Knative's own delivery cuts it."""

_INT_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What the stage spent on each event of a batch, by equal share."""

    cpu: int = 0
    """Nanoseconds."""
    memory: int = 0
    """KiB·milliseconds."""


@dataclass(frozen=True, slots=True)
class Failure:
    event: Event
    code: int
    """HTTP status that says what went wrong, as in Knative's `knativeerrorcode`."""
    reason: str


@dataclass(slots=True)
class Outcomes:
    results: list[Event] = field(default_factory=list)
    """Events to publish, the event that came in or one made of it."""
    derived: list[Event] = field(default_factory=list)
    """Further events that a result caused; they bear no share of the batch's cost."""
    failures: list[Failure] = field(default_factory=list)
    """Events that can never be handled: dead letters."""
    dropped: list[Event] = field(default_factory=list)
    """Events that end here on purpose; only what they used is passed on."""

    def fail(self, event: Event, code: int, reason: str) -> None:
        self.failures.append(Failure(event, code, reason))

    @property
    def all_go_on(self) -> bool:
        """Whether the reply holds neither failures nor usage records."""
        return not (self.failures or self.dropped)

    def to_events(self, stage: str, cost: Cost) -> list[Event]:
        """The reply: results with their share of the cost, derived events, failures, usage records.

        Usage travels on the event while it goes on. An event that ends here hands its usage over to a record of its
        own, and a dead letter starts again from nothing, so that its replay is not billed twice.
        """
        for event in self.results:
            _add_cost(event, cost)
        reply = self.results + self.derived
        for event in self.dropped:
            _add_cost(event, cost)
            reply.append(_usage_record(stage, "dropped", event))
        for failure in self.failures:
            _add_cost(failure.event, cost)
            reply.append(_usage_record(stage, "failed", failure.event))
            reply.append(_dead_letter(stage, failure))
        return reply


def _add_cost(event: Event, cost: Cost) -> None:
    event.usagecpu = min(_INT_MAX, event.usagecpu + cost.cpu)
    event.usagemem = min(_INT_MAX, event.usagemem + cost.memory)


def _usage_record(stage: str, kind: str, event: Event) -> Event:
    data = {
        "stage": stage,
        "kind": kind,
        "subject_source": event.source,
        "subject_id": event.id,
        **{name: getattr(event, name) for name in USAGE_ATTRIBUTES},
    }
    return Event(
        id=derived_id(stage, kind, *event.identity),
        source=f"/eventrunner/{stage}",
        type=USAGE_TYPE,
        tenantid=event.tenantid,
        time=event.receivedtime,
        receivedtime=event.receivedtime,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def _dead_letter(stage: str, failure: Failure) -> Event:
    event = failure.event
    for name in USAGE_ATTRIBUTES:
        setattr(event, name, 0)
    event.set_extension("knativeerrordest", f"/eventrunner/{stage}")
    event.set_extension("knativeerrorcode", failure.code)
    event.set_extension("knativeerrordata", failure.reason[:_DATA_LIMIT])
    return event
