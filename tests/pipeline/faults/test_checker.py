"""The checker of the fault harness sees what it is there to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal

import pytest

from tests.pipeline.faults.checker import Findings, compare
from tests.pipeline.faults.contents import Contents, Event, Letters, Usage
from tests.pipeline.faults.ledger import Expected, Ledger
from tests.pipeline.faults.traffic import Traffic

_BATCHES = 40


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(Traffic(seed=1, size=100), ("acme",))
    for _ in range(_BATCHES):
        batch = ledger.hand_out("acme")
        ledger.note_sent(batch)
        ledger.note_acknowledged(batch)
    return ledger


def _as_it_should_be(expected: Expected) -> Contents:
    events = [Event(id, "order", "", "acme") for id in sorted(expected.stored)]
    events += [Event(f"alert-{id}", "order.alert", id, "acme") for id in sorted(expected.causes)]
    letters = Letters(Counter(expected.failing.keys()), Counter(expected.conflicts.keys()))
    letters.unfit = {mark: {f"raw-{mark}"} for mark in expected.unfit}
    count = Decimal(expected.events + len(expected.unfit))
    size = Decimal(expected.size + sum(tries.size for tries in expected.unfit.values()))
    derived = Decimal(len(expected.causes))
    usage = Usage(count, derived, size, count, derived, round(size / 2**30, 6))
    return Contents(events, list(events), list(events), letters, usage)


def _findings(contents: Contents, expected: Expected) -> Findings:
    findings = Findings()
    compare("acme", contents, expected, findings)
    return findings


def test_traffic_is_the_same_each_time_and_holds_every_kind_of_poison(ledger: Ledger) -> None:
    assert Traffic(1, 100).batch("acme", 33).body == Traffic(1, 100).batch("acme", 33).body
    expected = ledger.expected("acme")
    assert len(expected.stored) == 100 * _BATCHES
    assert all((expected.causes, expected.failing, expected.conflicts, expected.unfit))


def test_what_is_as_it_should_be_has_no_difference(ledger: Ledger) -> None:
    expected = ledger.expected("acme")
    assert _findings(_as_it_should_be(expected), expected) == Findings()


def _lose(contents: Contents) -> None:
    contents.stored.pop(0)


def _double(contents: Contents) -> None:
    contents.stored.append(contents.stored[0])


def _lose_from_clickhouse(contents: Contents) -> None:
    contents.analysed.pop(0)


def _lose_result(contents: Contents) -> None:
    contents.results.pop(0)


def _lose_derived(contents: Contents) -> None:
    contents.stored.pop()


def _derive_twice(contents: Contents) -> None:
    contents.stored.append(Event("another", "order.alert", contents.stored[-1].causeid, "acme"))


def _bury_a_sound_event(contents: Contents) -> None:
    contents.letters.others.append("order 1-1: 500 out of order")


def _lose_a_letter(contents: Contents) -> None:
    contents.letters.failing.popitem()


def _write_letters_twice(contents: Contents) -> None:
    contents.letters.conflicts.update(list(contents.letters.conflicts))


def _lose_an_unfit_payload(contents: Contents) -> None:
    contents.letters.unfit[next(iter(contents.letters.unfit))].clear()


def _use_a_byte_more(contents: Contents) -> None:
    object.__setattr__(contents.usage, "ingress", contents.usage.ingress + 1)


def _bill_an_event_twice(contents: Contents) -> None:
    object.__setattr__(contents.usage, "billed_events", contents.usage.billed_events + 1)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_lose, "acknowledged and not in the event store: 0-0"),
        (_double, "twice in the event store: 0-0"),
        (_lose_from_clickhouse, "acknowledged and not in ClickHouse"),
        (_lose_result, "acknowledged and not in RESULTS"),
        (_lose_derived, "without its derived event in the event store"),
        (_derive_twice, "cause of several derived events in the event store"),
        (_bury_a_sound_event, "dead letter of a sound event: order 1-1"),
        (_lose_a_letter, "failing event without a dead letter: loop-"),
        (_write_letters_twice, "conflict with more dead letters than it was sent times"),
        (_lose_an_unfit_payload, "unfit payload without a dead letter"),
        (_use_a_byte_more, "bytes in usage"),
        (_bill_an_event_twice, "events on the invoice"),
    ],
)
def test_each_difference_is_named(ledger: Ledger, spoil: Callable[[Contents], None], text: str) -> None:
    expected = ledger.expected("acme")
    contents = deepcopy(_as_it_should_be(expected))
    spoil(contents)
    assert any(text in difference for difference in _findings(contents, expected).differences)


def test_what_was_never_acknowledged_is_named() -> None:
    ledger = Ledger(Traffic(seed=1, size=10), ("acme",))
    ledger.note_sent(ledger.hand_out("acme"))
    assert ledger.unacknowledged() == ["0 of acme"]
