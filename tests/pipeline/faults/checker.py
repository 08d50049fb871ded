"""Compares what was acknowledged with what is there; every difference is a sentence. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tests.pipeline.faults.contents import Contents, Event, Letters, Usage
from tests.pipeline.faults.ledger import Expected, Ledger, Tries

__all__ = ["Findings", "check", "compare"]

_EXAMPLES: Final = 5
_BILLED_DIGITS: Final = Decimal("0.000001")


@dataclass(slots=True)
class Findings:
    differences: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0
    second_letters: int = 0
    """Dead letters of an event that had one already, because the client sent it again."""

    def add(self, prefix: str, texts: Iterator[str]) -> None:
        self.differences += (f"{prefix}: {text}" for text in texts)


def check(ledger: Ledger, contents: Mapping[str, Contents]) -> Findings:
    """`contents` by tenant."""
    findings = Findings()
    findings.differences += _some("unexpected answer", ledger.surprises)
    findings.differences += _some("batch never acknowledged", ledger.unacknowledged())
    for tenant in ledger.tenants:
        compare(tenant, contents[tenant], ledger.expected(tenant), findings)
    return findings


def compare(tenant: str, contents: Contents, expected: Expected, findings: Findings) -> None:
    for place, events in (
        ("the event store", contents.stored),
        ("RESULTS", contents.results),
        ("ClickHouse", contents.analysed),
    ):
        findings.add(tenant, _events(place, events, expected, findings))
    findings.add(tenant, _letters(contents.letters, expected, findings))
    findings.add(tenant, _usage(contents.usage, contents.letters, expected))


def _events(place: str, events: Collection[Event], expected: Expected, findings: Findings) -> Iterator[str]:
    doubled = [id for id, count in Counter(event.id for event in events).items() if count > 1]
    findings.twice += len(doubled)
    yield from _some(f"twice in {place}", doubled)
    outside = {event.id for event in events if not event.causeid}
    causes = Counter(event.causeid for event in events if event.causeid)
    lost = expected.stored - outside
    findings.lost += len(lost)
    yield from _some(f"acknowledged and not in {place}", lost)
    yield from _some(f"never sent and in {place}", outside - expected.stored)
    yield from _some(f"without its derived event in {place}", expected.causes - causes.keys())
    yield from _some(f"cause of a wrong derived event in {place}", causes.keys() - expected.causes)
    yield from _some(f"cause of several derived events in {place}", [id for id, count in causes.items() if count > 1])


def _letters(letters: Letters, expected: Expected, findings: Findings) -> Iterator[str]:
    yield from _some("dead letter of a sound event", letters.others)
    for kind, found, wanted in (
        ("failing event", letters.failing, expected.failing),
        ("conflict", letters.conflicts, expected.conflicts),
        ("unfit payload", Counter({mark: len(ids) for mark, ids in letters.unfit.items()}), expected.unfit),
    ):
        # Each delivery of an unfit payload is an event of its own; any other event counts once.
        least = {name: tries.acknowledged if kind == "unfit payload" else 1 for name, tries in wanted.items()}
        lost = [name for name in wanted if found[name] < least[name]]
        findings.lost += len(lost)
        yield from _some(f"{kind} without a dead letter", lost)
        yield from _some(f"dead letter of a {kind} that was not sent", found.keys() - wanted.keys())
        more = [name for name, tries in wanted.items() if found[name] > tries.sent]
        findings.twice += len(more)
        yield from _some(f"{kind} with more dead letters than it was sent times", more)
        if kind != "unfit payload":
            findings.second_letters += found.total() - len(found)


def _usage(used: Usage, letters: Letters, expected: Expected) -> Iterator[str]:
    unfit = [(len(ids), expected.unfit.get(mark, Tries(0, 0, 0)).size) for mark, ids in letters.unfit.items()]
    events = expected.events + sum(count for count, _ in unfit)
    size = expected.size + sum(count * size for count, size in unfit)
    gib = (Decimal(size) / 2**30).quantize(_BILLED_DIGITS, ROUND_HALF_UP)
    for what, found, wanted in (
        ("events in usage", used.events, events),
        ("derived events in usage", used.derived, len(expected.causes)),
        ("bytes in usage", used.ingress, size),
        ("events on the invoice", used.billed_events, events),
        ("derived events on the invoice", used.billed_derived, len(expected.causes)),
        ("GiB on the invoice", used.billed_gib, gib),
    ):
        if found != wanted:
            yield f"{found} {what}, {wanted} were sent"


def _some(what: str, names: Collection[str]) -> Iterator[str]:
    """One sentence for all of them, with examples."""
    if names:
        examples = ", ".join(sorted(names)[:_EXAMPLES])
        yield f"{len(names)} × {what}: {examples}{', …' if len(names) > _EXAMPLES else ''}"
