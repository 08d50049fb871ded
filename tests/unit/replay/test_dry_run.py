"""Dry runs over stored history, page by page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.events import Event, encode_event
from eventrunner.events.event import micros
from eventrunner.replay.dry_run import DryRun, Stretch, Tally
from eventrunner.rules import RuleSet, compile_rules
from eventrunner.storage.event_store import EventStore, Row
from eventrunner.storage.stores import open_store

STRETCH = Stretch("acme", 0, micros("2027-01-01T00:00:00Z"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    store.put([_row(number) for number in range(200)])
    yield store
    store.close()


def _row(number: int) -> Row:
    time = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    event = Event(id=f"e{number}", source="/s", type="order", tenantid="acme", time=time, receivedtime=time)
    event.set_payload(b'{"amount":%d}' % number, None)
    if number % 10 == 9:
        event.set_extension("causeid", "another")
    return Row("acme", "/s", event.id, event.type, micros(time), micros(time), encode_event(event))


def rules(above: int, action: str = "Out.n = 1;") -> RuleSet:
    return compile_rules(f'rule Big {{ when Event.data.amount >= {above} then {action} Retract("Big"); }}')


def test_a_long_history_is_done_in_pages_that_end_in_time(store: EventStore) -> None:
    clock = itertools.count(step=10)
    dry_run, cursor = DryRun(rules(100), rules(150), {}, lambda: float(next(clock))), None
    pages: list[Tally] = []
    while not pages or cursor is not None:
        pages.append(dry_run.over(store, STRETCH, cursor))
        cursor = pages[-1].cursor
    assert [page.read for page in pages] == [25] * 8
    assert pages[3].position == micros("2026-01-01T00:01:39Z")
    # Rules never see what rules derived, which every tenth event is.
    assert [
        sum(values) for values in zip(*((page.evaluated, page.matched, page.gained) for page in pages), strict=True)
    ] == [
        180,
        90,
        45,
    ]
    whole = DryRun(rules(100), rules(150), {}).over(store, STRETCH, None)
    assert (whole.read, whole.evaluated, whole.matched, whole.gained, whole.cursor) == (200, 180, 90, 45, None)


def test_what_is_the_same_is_no_difference(store: EventStore) -> None:
    tally = DryRun(rules(100, 'Emit("e");'), rules(100, 'Emit("e"); Log("more");'), {}).over(store, STRETCH, None)
    assert (tally.matched, tally.gained, tally.lost, tally.different) == (90, 0, 0, 0)
    tally = DryRun(rules(150), rules(100), {}).over(store, STRETCH, None)
    assert (tally.gained, tally.lost, tally.different) == (0, 45, 0)
    assert [item["in_force"]["fired"] for item in tally.samples["lost"]] == [["Big"]] * 3


def test_without_rules_in_force_everything_that_matches_is_gained(store: EventStore) -> None:
    tally = DryRun(rules(100, 'Tag("a", 1); Drop("d");'), None, {}).over(store, STRETCH, None)
    assert (tally.gained, tally.draft.changed, tally.draft.dropped) == (90, 90, 90)


def test_nothing_is_stored(store: EventStore) -> None:
    DryRun(rules(0, 'Emit("e");'), None, {}).over(store, STRETCH, None)
    assert store.count("acme") == 200
