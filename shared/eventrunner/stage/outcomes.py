"""What a stage made of a batch, each part tied to the event that it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from eventrunner.events import USAGE_TYPE, Event, decode_batch
from eventrunner.events.costs import Cost, add_cost
from eventrunner.events.event import USAGE_ATTRIBUTES
from eventrunner.events.sections import Section
from eventrunner.ids import derived_id
from eventrunner.stage.batch import unpacked_events

__all__ = ["Failure", "Outcomes"]

_DATA_LIMIT = 1024
"""Characters of `knativeerrordata`, as Knative's own delivery cuts it."""


@dataclass(frozen=True, slots=True)
class Failure:
    event: Event
    code: int
    """HTTP status that says what went wrong, as in Knative's `knativeerrorcode`."""
    reason: str
    attempts: int = 1
    """Within the request."""


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
    passed: list[Section] = field(default_factory=list)
    """Further results: packed ones that go on as they came, some of the batch's own sections."""
    written: list[Section] = field(default_factory=list)
    """Further results as JSON, of a stage that has to encode them anyway. Sections of some hundred events are best, of
    which a tenant may have several."""
    written_derived: list[Section] = field(default_factory=list)
    """Further derived events as JSON."""
    usage: list[Event] = field(default_factory=list)
    """Records of type `eventrunner.usage`, of a stage that meters by itself."""
    handled: int | None = None
    """When the outcomes are of the first so many events of the batch only; the others are to be sent again."""

    def fail(self, event: Event, code: int, reason: str, attempts: int = 1) -> None:
        self.failures.append(Failure(event, code, reason, attempts))

    def counts(self) -> dict[str, int]:
        """Events by what became of them."""
        return {
            "published": len(self.results) + _events(self.passed) + _events(self.written),
            "derived": len(self.derived) + _events(self.written_derived),
            "dropped": len(self.dropped),
            "failed": len(self.failures),
        }

    @property
    def all_go_on(self) -> bool:
        """Whether the reply holds neither failures nor usage records."""
        return not (self.failures or self.dropped or self.usage)

    def to_events(self, stage: str, cost: Cost) -> list[Event]:
        """The reply: results with their share of the cost, derived events, failures, usage records.

        Usage travels on the event while it goes on. An event that ends here hands its usage over to a record of its
        own, and a dead letter starts again from nothing, so that its replay is not billed twice.
        """
        reply = list(self.results)
        for section in self.passed:
            reply += unpacked_events(section.members)
        for section in self.written:
            reply += decode_batch(b"[" + section.members + b"]")
        add_cost(reply, cost)
        add_cost(self.dropped, cost)
        add_cost((failure.event for failure in self.failures), cost)
        reply += self.derived
        for section in self.written_derived:
            reply += decode_batch(b"[" + section.members + b"]")
        reply += self.usage
        reply += [_usage_record(stage, _kind_of_drop(event), event) for event in self.dropped]
        for failure in self.failures:
            if failure.event.usagein:
                # Else it is a replayed dead letter that fails again, whose record is there: another of the same id,
                # without its bytes, must not take that one's place.
                reply.append(_usage_record(stage, "failed", failure.event))
            reply.append(_dead_letter(stage, failure))
        return reply


def _events(sections: list[Section]) -> int:
    return sum(section.events for section in sections)


def _kind_of_drop(event: Event) -> str:
    """What a consumer has published was never accepted at ingest, so that it must not count as such."""
    return "discarded" if event.extensions and "causeconsumer" in event.extensions else "dropped"


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
    if failure.attempts > 1:
        event.set_extension("knativeerrorattempts", failure.attempts)
    return event
