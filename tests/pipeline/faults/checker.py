"""Compares what was acknowledged with what is there; every difference is a sentence. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tests.pipeline.faults.contents import Contents
from tests.pipeline.faults.ledger import Expected, Ledger, Tries
from tests.pipeline.faults.letters import Letters
from tests.pipeline.faults.places import Place, derivation
from tests.pipeline.faults.traffic import Sent

__all__ = ["Findings", "check_answers", "compare"]

_EXAMPLES: Final = 5
_BILLED_DIGITS: Final = Decimal("0.000001")


@dataclass(slots=True)
class Findings:
    differences: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0
    changed: int = 0
    """Events with another content than they were sent with."""
    miscounted: int = 0
    """Numbers that users are told and that are wrong."""
    second_letters: int = 0
    """Dead letters of an event that had one already, because the client sent it again."""
    repeated: dict[str, int] = field(default_factory=dict)
    """Place → events that were there once more, where delivery is at least once."""

    def add(self, prefix: str, texts: Iterator[str]) -> None:
        self.differences += (f"{prefix}: {text}" for text in texts)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What has to be everywhere, by name, given which of two contradicting events came first."""

    events: Mapping[str, bytes]
    """Name → content."""
    derived: Mapping[str, bytes]
    """Name of the derivation → content; likewise those that replays derive, which are on no bill."""
    replayed: Mapping[str, bytes]
    refused: Mapping[str, bytes]
    """Name → content of the contradicting event that is a dead letter."""


def check_answers(ledger: Ledger, findings: Findings) -> None:
    """What the clients were answered."""
    findings.differences += _some("unexpected answer", ledger.surprises)
    findings.differences += _some("batch never acknowledged", ledger.unacknowledged())


def compare(tenant: str, contents: Contents, expected: Expected, findings: Findings) -> None:
    standing = _stand(expected, contents.stored)
    for place in (contents.stored, contents.results, contents.analysed):
        if not place.once:
            findings.repeated[place.name] = findings.repeated.get(place.name, 0) + len(place.repeated)
        findings.add(tenant, _events(place, standing, findings))
        findings.add(tenant, _derived(place, contents.stored, standing, findings))
    findings.add(tenant, _letters(contents.letters, expected, standing, findings))
    findings.add(tenant, _numbers(contents, expected, standing, findings))


def _stand(expected: Expected, stored: Place) -> _Standing:
    """Of two events of one identity the first that reaches the event store stands. Which one that was is seen there
    alone: a batch that was sent later may overtake one that has to be sent again."""
    events, refused, derived = {}, {}, {}
    for name, event in expected.stored.items():
        other = expected.conflicts[name].event if name in expected.conflicts else None
        first, second = event, other
        if other is not None and stored.events.get(name) == other.content:
            first, second = other, event
        events[name] = first.content
        if second is not None:
            refused[name] = second.content
        if first.alert:
            derived[derivation("order.alert", name)] = first.alert
    return _Standing(events, derived, expected.replayed, refused)


def _events(place: Place, standing: _Standing, findings: Findings) -> Iterator[str]:
    if place.once:
        findings.twice += len(place.repeated)
        yield from _some(f"twice in {place.name}", place.repeated)
    yield from _some(f"with two contents in {place.name}", place.contradicting)
    lost = standing.events.keys() - place.events.keys()
    findings.lost += len(lost)
    yield from _some(f"acknowledged and not in {place.name}", lost)
    yield from _some(f"never sent and in {place.name}", place.events.keys() - standing.events.keys())
    changed = [name for name, found in place.events.items() if standing.events.get(name, found) != found]
    findings.changed += len(changed)
    yield from _some(f"with another content in {place.name}", changed)


def _derived(place: Place, stored: Place, standing: _Standing, findings: Findings) -> Iterator[str]:
    found, wanted = place.derived, {**standing.derived, **standing.replayed}
    lost = wanted.keys() - found.keys()
    findings.lost += len(lost)
    yield from _some(f"derived event that is not in {place.name}", lost)
    yield from _some(f"wrong derived event in {place.name}", found.keys() - wanted.keys())
    several = [name for name, events in found.items() if len(events) > 1]
    findings.twice += len(several)
    yield from _some(f"derived several times in {place.name}", several)
    changed = [name for name, events in found.items() if set(events.values()) != {wanted.get(name)} and name in wanted]
    findings.changed += len(changed)
    yield from _some(f"derived event with another content in {place.name}", changed)
    others = [name for name, events in found.items() if events.keys() != stored.derived.get(name, events).keys()]
    yield from _some(f"derived event with another id in {place.name} than in {stored.name}", others)


def _letters(letters: Letters, expected: Expected, standing: _Standing, findings: Findings) -> Iterator[str]:
    yield from _some("dead letter of a sound event", letters.others)
    for kind, found, tries in (
        ("failing event", letters.failing, expected.failing),
        ("conflict", letters.conflicts, expected.conflicts),
    ):
        yield from _missing(kind, {name: counts.total() for name, counts in found.items()}, tries, findings)
        findings.second_letters += sum(counts.total() - 1 for counts in found.values())
        events = {name: item.event.content for name, item in tries.items()}
        yield from _altered(kind, found, standing.refused if kind == "conflict" else events, findings)
    unfit = {mark: len(ids) for mark, ids in letters.unfit.items()}
    yield from _missing("unfit payload", unfit, expected.unfit, findings, each=True)
    payloads = {mark: item.event.content for mark, item in expected.unfit.items()}
    yield from _altered("unfit payload", {m: i.values() for m, i in letters.unfit.items()}, payloads, findings)


def _missing(
    kind: str, found: Mapping[str, int], tries: Mapping[str, Tries], findings: Findings, *, each: bool = False
) -> Iterator[str]:
    """`each`: there is a dead letter of each delivery, as it is an event of its own; any other event has one."""
    lost = [name for name, item in tries.items() if found.get(name, 0) < (item.acknowledged if each else 1)]
    findings.lost += len(lost)
    yield from _some(f"{kind} without a dead letter", lost)
    yield from _some(f"dead letter of a {kind} that was not sent", found.keys() - tries.keys())
    more = [name for name, count in found.items() if name in tries and count > tries[name].sent]
    findings.twice += len(more)
    yield from _some(f"{kind} with more dead letters than it was sent times", more)


def _altered(
    kind: str, found: Mapping[str, Collection[bytes]], wanted: Mapping[str, bytes], findings: Findings
) -> Iterator[str]:
    altered = [name for name, contents in found.items() if name in wanted and set(contents) - {wanted[name]}]
    findings.changed += len(altered)
    yield from _some(f"dead letter of a {kind} with another content", altered)


def _numbers(contents: Contents, expected: Expected, standing: _Standing, findings: Findings) -> Iterator[str]:
    for what, number in _wanted(contents.letters, expected, standing):
        found = contents.answers.get(what)
        if found is None:
            yield f"no answer says how many {what}"
        elif found != number:
            findings.miscounted += 1
            yield f"{found} {what}, {number} were sent"


def _wanted(letters: Letters, expected: Expected, standing: _Standing) -> Iterator[tuple[str, Decimal]]:
    nothing = Tries(0, 0, Sent(0, b""))
    unfit = [(len(ids), expected.unfit.get(mark, nothing).event.size) for mark, ids in letters.unfit.items()]
    events = Decimal(expected.events + sum(count for count, _ in unfit))
    size = Decimal(expected.size + sum(count * size for count, size in unfit))
    derived = Decimal(len(standing.derived))
    for way in ("usage", "usage by minute", "usage by type"):
        yield f"events in {way}", events
        yield f"derived events in {way}", derived
        yield f"bytes in {way}", size
    yield "orders in usage by type", Decimal(len(standing.events))
    yield "events on the invoice", events
    yield "derived events on the invoice", derived
    yield "GiB on the invoice", (size / 2**30).quantize(_BILLED_DIGITS, ROUND_HALF_UP)
    yield "events of Analytics.counts()", Decimal(len(standing.events))
    yield "derived events of Analytics.counts()", derived + len(standing.replayed)
    yield "bytes in the view tenant_usage", size


def _some(what: str, names: Collection[str]) -> Iterator[str]:
    """One sentence for all of them, with examples."""
    if names:
        examples = ", ".join(sorted(names)[:_EXAMPLES])
        yield f"{len(names)} × {what}: {examples}{', …' if len(names) > _EXAMPLES else ''}"
