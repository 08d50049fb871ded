"""Two events of one identity that differ: where the first is, where the second is, and what of the two is billed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eventrunner.billing.invoices import make_invoice
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import shipped_plan
from eventrunner.events import USAGE_TYPE, Event, decode_event, encode_batch
from eventrunner.events.costs import Cost
from eventrunner.handlers.analytics import EventAnalytics
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.handlers.metering import Metering
from eventrunner.stage import Batch
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.records import Tenant
from eventrunner.storage.stores import open_store
from prometheus_client import REGISTRY
from support_clickhouse import ChdbProcess, chdb_process

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
PERIOD = Period.of(SINCE)
GIB = 2**30
SIZES = [(3, 5), (5, 3), (4, 4)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbProcess]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process:
        yield process


class World:
    def __init__(self, store: EventStore, analytics: Analytics) -> None:
        self.store, self.analytics = store, analytics
        tenant = Tenant("acme").to_json()
        self._engine = EventEngine(store, lambda _: tenant, lambda: {})

    def deliver(self, *events: Event) -> list[Event]:
        """All the way to ClickHouse, the records after the events or before them; returns the dead letters."""
        reply = self._engine(Batch(encode_batch(events))).to_events("event-engine", Cost(cpu=2, memory=1))
        usage = [item for item in reply if item.type == USAGE_TYPE]
        letters = [item for item in reply if "knativeerrorcode" in (item.extensions or {})]
        results = [item for item in reply if item not in usage and item not in letters]
        steps = [
            lambda: EventAnalytics(self.analytics)(_batch(results)),
            lambda: Metering(self.analytics)(_batch(usage)),
        ]
        for step in steps if len(events) == 1 else steps[::-1]:
            step()
        return letters

    def query(self, sql: str) -> list[Any]:
        return list(self.analytics._clickhouse.query(sql))


def _batch(events: Sequence[Event]) -> Batch:
    return Batch(encode_batch(events))


@pytest.fixture
def world(tmp_path: Path, server: ChdbProcess) -> Iterator[World]:
    store = open_store(f"sqlite:///{tmp_path}/events.db")
    store.migrate()
    with server.analytics() as analytics:
        yield World(store, analytics)
    store.close()


def event(amount: int, gib: int, received: str = "2026-11-05T00:00:00.000000Z") -> Event:
    made = Event(id="1", source="/s", type="order", tenantid="acme", receivedtime=received, usagein=gib * GIB)
    made.set_payload(b'{"amount":%d}' % amount, None)
    return made


def conflicts() -> float:
    labels = {"stage": "event-engine", "outcome": "conflict"}
    return REGISTRY.get_sample_value("eventrunner_events_total", labels) or 0.0


@pytest.mark.parametrize("together", [False, True], ids=["apart", "in-one-batch"])
@pytest.mark.parametrize(("first", "second"), SIZES)
def test_the_first_is_stored_the_second_is_a_dead_letter_and_the_larger_is_billed(
    world: World, first: int, second: int, together: bool
) -> None:
    events = [event(7, first), event(8, second)]
    before = conflicts()
    letters = world.deliver(*events) if together else [letter for one in events for letter in world.deliver(one)]

    assert conflicts() == before + 1
    (letter,) = letters
    assert letter.extensions is not None
    assert (letter.id, letter.source, letter.extensions["knativeerrorcode"]) == ("1", "/s", 409)
    assert letter.decoded_data() == {"amount": 8}

    (stored,) = world.store.list("acme").bodies
    kept = decode_event(stored)
    assert (kept.decoded_data(), kept.usagein) == ({"amount": 7}, first * GIB)
    assert set(world.query("SELECT data, usagein FROM events")) == {('{"amount":7}', first * GIB)}

    larger = max(first, second) * GIB
    totals = world.analytics.totals("acme", PERIOD.since, PERIOD.until)
    assert (totals.events, totals.ingress) == (1, larger)
    (day,) = world.analytics.usage("acme", PERIOD.since, PERIOD.until, window="day")
    assert day.totals == totals
    assert world.query("SELECT sum(network_ingress), sum(network_egress) FROM tenant_usage") == [
        (larger, totals.egress)
    ]
    plan = shipped_plan("standard")
    assert plan is not None
    invoice = make_invoice("acme", PERIOD, plan, totals, status="final", issued=SINCE).to_document()
    assert Decimal(invoice["usage"]["network_ingress"]) == larger
    lines = [Decimal(line["amount"]) for line in invoice["lines"] if line["meter"] == "ingress_gib"]
    assert sum(lines) == (max(first, second) - 1) * Decimal("0.02")


@pytest.mark.parametrize(("first", "second"), SIZES)
def test_delivering_either_again_bills_nothing_more(world: World, first: int, second: int) -> None:
    events = [event(7, first), event(8, second)]
    for one in events:
        world.deliver(one)
    billed = world.analytics.totals("acme", PERIOD.since, PERIOD.until)
    for again in ([events[1]], events, [events[1], events[0]], [events[0]]):
        letters = world.deliver(*again)
        assert [letter.decoded_data() for letter in letters] == [{"amount": 8}] * (events[1] in again)
        assert world.analytics.totals("acme", PERIOD.since, PERIOD.until) == billed
    assert len(world.store.list("acme").bodies) == 1


def test_a_contradiction_received_in_the_next_month_is_billed_in_neither_twice(world: World) -> None:
    world.deliver(event(7, 3))
    world.deliver(event(8, 5, "2026-12-02T00:00:00.000000Z"))
    november = world.analytics.totals("acme", PERIOD.since, PERIOD.until)
    december = world.analytics.totals("acme", PERIOD.until, datetime(2027, 1, 1, tzinfo=UTC))
    assert (november.events, november.ingress) == (1, 3 * GIB)
    # What the second one had more than the first.
    assert (december.events, december.ingress) == (0, 2 * GIB)
    assert world.query("SELECT sum(network_ingress) FROM tenant_usage") == [(5 * GIB,)]
