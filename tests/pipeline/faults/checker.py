"""Compares what was acknowledged with what is there; every difference is a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tests.pipeline.faults import contents
from tests.pipeline.faults.contents import Event, Letters, Usage
from tests.pipeline.faults.ledger import Expected, Ledger
from tests.pipeline.faults.target import Target

__all__ = ["Findings", "check"]

_EXAMPLES: Final = 5
_BILLED_DIGITS: Final = Decimal("0.000001")


@dataclass(slots=True)
class Findings:
    differences: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0
    second_letters: int = 0
    """Dead letters of an event that had one already. A client that sends again what was not acknowledged makes them."""


async def check(target: Target, ledger: Ledger) -> Findings:
    """Waits until nothing is on its way any more."""
    findings = Findings([f"unexpected answer: {text}" for text in ledger.surprises[:_EXAMPLES]])
    findings.differences += [f"never acknowledged: batch {batch}" for batch in ledger.unacknowledged()[:_EXAMPLES]]
    await contents.drained(target)
    letters = await contents.dead_letters(target)
    results = _by_tenant(await contents.results(target))
    analysed = _by_tenant(await contents.in_clickhouse(target))
    for tenant in ledger.tenants:
        expected = ledger.expected(tenant)
        places = {
            "event store": await contents.stored(target, tenant),
            "RESULTS": list(set(results.get(tenant, ()))),
            "ClickHouse": analysed.get(tenant, []),
        }
        for place, events in places.items():
            findings.differences += (f"{tenant}: {text}" for text in _events(place, events, expected, findings))
        mail = letters.get(tenant, Letters())
        findings.differences += (f"{tenant}: {text}" for text in _letters(mail, expected, findings))
        used = await contents.usage(target, tenant)
        findings.differences += (f"{tenant}: {text}" for text in _usage(used, mail, expected))
    return findings


def _by_tenant(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.tenantid, []).append(event)
    return found


def _events(place: str, events: Collection[Event], expected: Expected, findings: Findings) -> Iterator[str]:
    seen = Counter(event.id for event in events)
    doubled = [id for id, count in seen.items() if count > 1]
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
    ):
        lost = wanted - found.keys()
        findings.lost += len(lost)
        yield from _some(f"{kind} without a dead letter", lost)
        yield from _some(f"dead letter of a {kind} that was not sent", found.keys() - wanted)
        findings.second_letters += found.total() - len(found)
    for mark, (acknowledged, sent, _) in expected.unfit.items():
        count = len(letters.unfit.get(mark, ()))
        findings.lost += max(0, acknowledged - count)
        if not acknowledged <= count <= sent:
            yield f"{count} dead letters of {mark}, acknowledged {acknowledged} times and sent {sent} times"
    yield from _some("dead letter of a payload that was not sent", letters.unfit.keys() - expected.unfit.keys())


def _usage(used: Usage, letters: Letters, expected: Expected) -> Iterator[str]:
    unfit = {mark: len(ids) for mark, ids in letters.unfit.items() if mark in expected.unfit}
    events = expected.events + sum(unfit.values())
    size = expected.size + sum(count * expected.unfit[mark][2] for mark, count in unfit.items())
    gib = (Decimal(size) / 2**30).quantize(_BILLED_DIGITS, ROUND_HALF_UP)
    derived = len(expected.causes)
    for what, found, wanted in (
        ("events in usage", used.events, Decimal(events)),
        ("derived events in usage", used.derived, Decimal(derived)),
        ("bytes in usage", used.ingress, Decimal(size)),
        ("events on the invoice", used.billed_events, Decimal(events)),
        ("derived events on the invoice", used.billed_derived, Decimal(derived)),
        ("GiB on the invoice", used.billed_gib, gib),
    ):
        if found != wanted:
            yield f"{found} {what}, {wanted} were sent"


def _some(what: str, names: Collection[str]) -> Iterator[str]:
    """One sentence for all of them, with examples."""
    if names:
        examples = ", ".join(sorted(names)[:_EXAMPLES])
        yield f"{len(names)} × {what}: {examples}{', …' if len(names) > _EXAMPLES else ''}"
