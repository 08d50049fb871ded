"""The first verdict on an event stands: what rules make of it when it is delivered again, after they were changed, must
not count beside it.

An event that is stored goes on as it was stored, and so do the events that were derived from it, which it names in its
attribute `derivedids`. Of an event that was dropped nothing is stored: if rules let it pass later, it has a row and a
record of usage, of which queries take the earlier. Nor is it known then what was derived from it: if the answer that
held that was lost in a crash too, those events are in the store and reach the analytics with the next rebuild only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from eventrunner.events import Event
from eventrunner.events.event import Identity
from eventrunner.events.sections import Section
from eventrunner.stage import Outcomes
from eventrunner.storage.event_store import EventStore

__all__ = ["name_derived", "restored", "settle"]

_ATTRIBUTE = "derivedids"
_MARK = f'"{_ATTRIBUTE}":"'.encode()
"""As the encoder of events writes it."""


class _Stored(msgspec.Struct):
    tenantid: str = ""
    source: str = ""
    derivedids: str = ""


_decoder = msgspec.json.Decoder(_Stored)


def name_derived(event: Event, derived: Sequence[Event]) -> None:
    """Writes into the event which ones were derived from it."""
    event.set_extension(_ATTRIBUTE, ",".join(other.id for other in derived))


def settle(store: EventStore, outcomes: Outcomes, derived: list[Event]) -> list[Event]:
    """Takes from the outcomes what rules would end now although it is stored, and returns it; takes from `derived` what
    was not derived when its cause was stored. A replay is meant to derive anew."""
    asked = {event.identity for event in outcomes.dropped}
    asked.update(failure.event.identity for failure in outcomes.failures)
    asked.update(_cause(event) for event in derived)
    stored = store.stored(asked) if asked else {}
    if not stored:
        return []
    again = [event for event in outcomes.dropped if event.identity in stored]
    again += [failure.event for failure in outcomes.failures if failure.event.identity in stored]
    outcomes.dropped = [event for event in outcomes.dropped if event.identity not in stored]
    outcomes.failures = [failure for failure in outcomes.failures if failure.event.identity not in stored]
    first = {identity: _derived_ids(body) for identity, body in stored.items()}
    derived[:] = [
        event
        for event in derived
        if _cause(event) not in first or event.id in first[_cause(event)] or "replayid" in (event.extensions or ())
    ]
    return again


def restored(store: EventStore, kept: Iterable[bytes], derived: Iterable[Event]) -> list[Section]:
    """The stored events that were derived from these stored ones and are not among those derived now."""
    wanted: set[Identity] = set()
    for body in kept:
        if _MARK in body:
            cause = _decoder.decode(body)
            wanted.update((cause.tenantid, cause.source, id) for id in _derived_ids(body))
    wanted.difference_update(event.identity for event in derived)
    groups: dict[str, list[bytes]] = {}
    for (tenant, _, _), body in store.stored(wanted).items() if wanted else ():
        groups.setdefault(tenant, []).append(body)
    return [Section(tenant, len(bodies), b",".join(bodies)) for tenant, bodies in groups.items()]


def _cause(event: Event) -> Identity:
    assert event.extensions is not None
    return event.tenantid, event.source, str(event.extensions["causeid"])


def _derived_ids(body: bytes) -> frozenset[str]:
    return frozenset(_decoder.decode(body).derivedids.split(",")) - {""} if _MARK in body else frozenset()
