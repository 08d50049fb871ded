"""The checker of the fault harness sees what it is there to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from decimal import Decimal

import msgspec
import pytest

from tests.pipeline.faults.checker import Findings, check_answers, compare
from tests.pipeline.faults.contents import Contents
from tests.pipeline.faults.ledger import Expected, Ledger
from tests.pipeline.faults.letters import Letter
from tests.pipeline.faults.places import Found, Place, content, derivation
from tests.pipeline.faults.traffic import Traffic

_BATCHES = 40
_TENANTS = ("acme", "globex")
_FIRST = "0-0 of /faults/shop"


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(Traffic(seed=1, size=100), _TENANTS)
    for tenant in _TENANTS * _BATCHES:
        batch = ledger.hand_out(tenant)
        ledger.note_sent(batch)
        ledger.note_acknowledged(batch)
    for type in ("order.seen.1", "order.seen.2"):
        ledger.note_replay("acme", type)
    return ledger


@pytest.fixture
def expected(ledger: Ledger) -> Expected:
    return ledger.expected("acme")


def _as_it_should_be(expected: Expected) -> Contents:
    contents = Contents()
    for place in _places(contents):
        place.events = {name: event.content for name, event in expected.stored.items()}
        place.derived = {
            derivation("order.alert", name): {f"alert of {name}": event.alert}
            for name, event in expected.stored.items()
            if event.alert
        }
        place.derived |= {name: {f"event of {name}": written} for name, written in expected.replayed.items()}
    letters = contents.letters
    letters.failing = {name: Counter([item.event.content]) for name, item in expected.failing.items()}
    letters.conflicts = {name: Counter([item.event.content]) for name, item in expected.conflicts.items()}
    letters.unfit = {mark: {f"raw-{mark}": item.event.content} for mark, item in expected.unfit.items()}
    contents.answers = _answers(expected, sum(bool(event.alert) for event in expected.stored.values()))
    return contents


def _answers(expected: Expected, alerts: int) -> dict[str, Decimal]:
    events, derived = Decimal(expected.events + len(expected.unfit)), Decimal(alerts)
    size = Decimal(expected.size + sum(item.event.size for item in expected.unfit.values()))
    answers = {
        "orders in usage by type": Decimal(len(expected.stored)),
        "events on the invoice": events,
        "derived events on the invoice": derived,
        "GiB on the invoice": round(size / 2**30, 6),
        "events of Analytics.counts()": Decimal(len(expected.stored)),
        "derived events of Analytics.counts()": derived + len(expected.replayed),
        "bytes in the view tenant_usage": size,
    }
    for way in ("usage", "usage by minute", "usage by type"):
        answers |= {f"events in {way}": events, f"derived events in {way}": derived, f"bytes in {way}": size}
    return answers


def _places(contents: Contents) -> tuple[Place, Place, Place]:
    return contents.stored, contents.results, contents.analysed


def _findings(contents: Contents, expected: Expected) -> Findings:
    findings = Findings()
    compare("acme", contents, expected, findings)
    return findings


def _event(name: str, type: str, data: bytes, cause: str = "") -> Found:
    id, _, source = name.partition(" of ")
    return Found(id, source, type, data=msgspec.Raw(data), causeid=cause)


def test_traffic_is_the_same_each_time_and_holds_every_kind_of_poison(expected: Expected) -> None:
    assert Traffic(1, 100).batch("acme", 33).body == Traffic(1, 100).batch("acme", 33).body
    assert len(expected.stored) == 100 * _BATCHES
    assert all((expected.failing, expected.conflicts, expected.unfit))
    assert sum(bool(event.alert) for event in expected.stored.values()) == 4 * _BATCHES
    assert len(expected.replayed) > 100


def test_tenants_share_ids_and_sources_share_ids_and_no_two_events_have_the_same_content(ledger: Ledger) -> None:
    one, other = (ledger.expected(tenant).stored for tenant in _TENANTS)
    assert one.keys() == other.keys()
    assert len({name.partition(" of ")[0] for name in one}) == len(one) / 2
    contents = [event.content for events in (one, other) for event in events.values()]
    assert len(set(contents)) == len(contents)


def test_what_is_as_it_should_be_has_no_difference(expected: Expected) -> None:
    findings = _findings(_as_it_should_be(expected), expected)
    assert findings == Findings(repeated={"RESULTS": 0, "ClickHouse": 0})


def test_a_place_counts_what_comes_again_and_what_contradicts() -> None:
    place = Place("RESULTS", once=False)
    for data in (b"1", b"1", b"2"):
        place.add(_event(_FIRST, "order", data))
        place.add(_event("other of /faults/shop", "order.alert", data, cause="0-0"))
    assert place.events == {_FIRST: content("order", None, b"1")}
    assert list(place.derived) == [derivation("order.alert", _FIRST)]
    assert (len(place.repeated), len(place.contradicting)) == (4, 2)


def test_repetitions_of_a_stream_are_no_difference_and_are_counted(expected: Expected) -> None:
    contents = _as_it_should_be(expected)
    contents.results.repeated += [_FIRST] * 3
    findings = _findings(contents, expected)
    assert not findings.differences
    assert findings.repeated["RESULTS"] == 3


@pytest.mark.parametrize("share", ["the id", "the id and the source"])
def test_a_platform_that_takes_less_than_tenant_source_and_id_for_the_identity_is_found_out(
    ledger: Ledger, share: str
) -> None:
    known: set[str] = set()
    findings = Findings()
    for tenant in _TENANTS:
        expected = ledger.expected(tenant)
        contents = _as_it_should_be(expected)
        kept: dict[str, bytes] = {}
        for name, written in contents.stored.events.items():
            key = name.partition(" of ")[0] if share == "the id" else name
            if key not in known:
                kept[name] = written
                known.add(key)
        contents.stored.events = kept
        compare(tenant, contents, expected, findings)
    assert findings.lost == 100 * _BATCHES * (1.5 if share == "the id" else 1)


def test_of_two_contradicting_events_either_may_come_first_and_then_it_stands_everywhere(expected: Expected) -> None:
    name, other = next(item for item in expected.conflicts.items() if not expected.stored[item[0]].alert)
    contents = _as_it_should_be(expected)
    original = expected.stored[name]
    for place in _places(contents):
        place.events[name] = other.event.content
    contents.letters.conflicts[name] = Counter([original.content])
    assert not _findings(contents, expected).differences
    contents.analysed.events[name] = original.content
    assert _findings(contents, expected).differences == [f"acme: 1 × with another content in ClickHouse: {name}"]


def _lose(contents: Contents) -> None:
    contents.stored.events.pop(_FIRST)


def _double(contents: Contents) -> None:
    contents.stored.repeated.append(_FIRST)


def _exchange(contents: Contents) -> None:
    events = contents.stored.events
    events[_FIRST], events["0-0 of /faults/web"] = events["0-0 of /faults/web"], events[_FIRST]


def _invent(contents: Contents) -> None:
    contents.stored.events["x of /faults/shop"] = b""


def _lose_from_clickhouse(contents: Contents) -> None:
    contents.analysed.events.pop(_FIRST)


def _change_in_clickhouse(contents: Contents) -> None:
    contents.analysed.events[_FIRST] = b"changed"


def _contradict_in_clickhouse(contents: Contents) -> None:
    contents.analysed.contradicting.append(_FIRST)


def _lose_result(contents: Contents) -> None:
    contents.results.events.pop(_FIRST)


def _change_result(contents: Contents) -> None:
    contents.results.events[_FIRST] = b"changed"


def _lose_derived(contents: Contents) -> None:
    contents.stored.derived.popitem()


def _derive_twice(contents: Contents) -> None:
    next(iter(contents.stored.derived.values()))["another"] = b""


def _derive_something_else(contents: Contents) -> None:
    events = next(iter(contents.results.derived.values()))
    events.update(dict.fromkeys(events, b"changed"))


def _derive_under_another_id(contents: Contents) -> None:
    name, events = contents.analysed.derived.popitem()
    (written,) = events.values()
    contents.analysed.derived[name] = {"another": written}


def _derive_from_nothing(contents: Contents) -> None:
    contents.results.derived["order.alert from nothing"] = {"alert": b""}


def _bury_a_sound_event(contents: Contents) -> None:
    contents.letters.add(Letter(_event(_FIRST, "order", b"1"), 500, "out of order", "event-engine"))


def _lose_a_letter(contents: Contents) -> None:
    contents.letters.failing.popitem()


def _change_a_letter(contents: Contents) -> None:
    name, _ = contents.letters.conflicts.popitem()
    contents.letters.conflicts[name] = Counter([b"changed"])


def _write_letters_twice(contents: Contents) -> None:
    for letters in contents.letters.conflicts.values():
        letters.update(list(letters))


def _lose_an_unfit_payload(contents: Contents) -> None:
    next(iter(contents.letters.unfit.values())).clear()


def _use_a_byte_more(contents: Contents) -> None:
    contents.answers["bytes in usage"] += 1


def _count_twice_in_the_view(contents: Contents) -> None:
    contents.answers["bytes in the view tenant_usage"] *= 2


def _lose_what_a_replay_derived(contents: Contents) -> None:
    del contents.analysed.derived[next(name for name in contents.analysed.derived if "order.seen.2" in name)]


def _derive_twice_in_a_replay(contents: Contents) -> None:
    next(events for name, events in contents.results.derived.items() if "order.seen.1" in name)["another"] = b""


def _bill_a_replay(contents: Contents) -> None:
    contents.answers["derived events on the invoice"] += 1


def _bill_an_event_twice(contents: Contents) -> None:
    contents.answers["events on the invoice"] += 1


def _count_an_event_twice(contents: Contents) -> None:
    contents.answers["events of Analytics.counts()"] += 1


def _answer_nothing(contents: Contents) -> None:
    del contents.answers["events in usage by minute"]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_lose, f"acknowledged and not in the event store: {_FIRST}"),
        (_double, f"twice in the event store: {_FIRST}"),
        (_exchange, "2 × with another content in the event store: 0-0 of /faults/shop, 0-0 of /faults/web"),
        (_invent, "never sent and in the event store: x of /faults/shop"),
        (_lose_from_clickhouse, "acknowledged and not in ClickHouse"),
        (_change_in_clickhouse, "with another content in ClickHouse"),
        (_contradict_in_clickhouse, "with two contents in ClickHouse"),
        (_lose_result, "acknowledged and not in RESULTS"),
        (_change_result, "with another content in RESULTS"),
        (_lose_derived, "derived event that is not in the event store"),
        (_derive_twice, "derived several times in the event store"),
        (_derive_something_else, "derived event with another content in RESULTS"),
        (_derive_under_another_id, "derived event with another id in ClickHouse than in the event store"),
        (_derive_from_nothing, "wrong derived event in RESULTS"),
        (_bury_a_sound_event, f"dead letter of a sound event: order {_FIRST} at event-engine: 500 out of order"),
        (_lose_a_letter, "failing event without a dead letter: loop-"),
        (_change_a_letter, "dead letter of a conflict with another content"),
        (_write_letters_twice, "conflict with more dead letters than it was sent times"),
        (_lose_an_unfit_payload, "unfit payload without a dead letter"),
        (_use_a_byte_more, "bytes in usage"),
        (_count_twice_in_the_view, "bytes in the view tenant_usage"),
        (_lose_what_a_replay_derived, "derived event that is not in ClickHouse: order.seen.2 replayed from"),
        (_derive_twice_in_a_replay, "derived several times in RESULTS: order.seen.1 replayed from"),
        (_bill_a_replay, "derived events on the invoice"),
        (_bill_an_event_twice, "events on the invoice"),
        (_count_an_event_twice, "events of Analytics.counts()"),
        (_answer_nothing, "no answer says how many events in usage by minute"),
    ],
)
def test_each_difference_is_named(expected: Expected, spoil: Callable[[Contents], None], text: str) -> None:
    contents = deepcopy(_as_it_should_be(expected))
    spoil(contents)
    findings = _findings(contents, expected)
    assert any(text in difference for difference in findings.differences), findings.differences


def test_what_was_never_acknowledged_is_named() -> None:
    ledger = Ledger(Traffic(seed=1, size=10), ("acme",))
    ledger.note_sent(ledger.hand_out("acme"))
    findings = Findings()
    check_answers(ledger, findings)
    assert findings.differences == ["1 × batch never acknowledged: 0 of acme"]


def test_what_a_client_sends_again_although_it_is_acknowledged_is_counted(ledger: Ledger) -> None:
    assert ledger.sent_again == 0
    batch = ledger.traffic.batch("acme", 3)
    ledger.note_sent(batch)
    ledger.note_acknowledged(batch)
    assert ledger.sent_again == len(batch.lines)
