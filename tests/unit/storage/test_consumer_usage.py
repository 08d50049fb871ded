"""What consumers used, in a real ClickHouse: once, whatever is delivered again, and beside what the stages used."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from eventrunner.events import Event, encode_batch
from eventrunner.handlers.analytics import EventAnalytics
from eventrunner.handlers.consumer_messages import message_of
from eventrunner.handlers.consumer_run import Item
from eventrunner.handlers.consumer_usage import usage_of
from eventrunner.handlers.metering import Metering
from eventrunner.stage import Batch
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.analytics_model import Totals
from support_clickhouse import ChdbProcess, chdb_process

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
RECEIVED = "2026-11-05T00:00:00.000000Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbProcess]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process:
        yield process


@pytest.fixture
def analytics(server: ChdbProcess) -> Iterator[Analytics]:
    with server.analytics() as made:
        yield made


def event(id: str, **extensions: str) -> Event:
    made = Event(id=id, source="/s", type="t", tenantid="acme", receivedtime=RECEIVED, usagein=100, usagecpu=7)
    for name, value in extensions.items():
        made.set_extension(name, value)
    return made


def record(id: str, consumer: str = "alerts", *, failed: bool = False, times: int = 1, **extensions: str) -> Event:
    """Of an event that was handled, or given up, with `times` what a call costs."""
    of = event(id, **extensions)
    item = Item(of, message_of(of, "results"), 1, fuel=1000 * times, cpu_ns=10 * times, memory=5 * times)
    item.bytes_out, item.is_handled = 30 * times, not failed
    item.failure = (422, "no") if failed else None
    made = usage_of(item, consumer)
    assert made is not None
    return made


def write(analytics: Analytics, *records: Event) -> None:
    Metering(analytics)(Batch(encode_batch(records)))


def body_bytes() -> int:
    return len(message_of(event("1"), "results").body)


def of_view(analytics: Analytics) -> list[float]:
    (row,) = analytics._clickhouse.query("SELECT * FROM tenant_usage WHERE tenant_id = 'acme'")
    return list(row[2:])


def test_a_consumers_usage_counts_and_its_events_do_not(analytics: Analytics) -> None:
    EventAnalytics(analytics)(Batch(encode_batch([event("1"), event("2")])))
    write(analytics, record("1"), record("2", failed=True), record("1", "stats"))
    totals = analytics.totals("acme", START, END)
    size = 3 * body_bytes()
    assert totals == Totals(events=2, cpu=14 + 30, memory=15, ingress=200 + size, egress=90)
    assert of_view(analytics) == [44 / 1e9, 15 / 1048576000.0, 200.0 + size, 90.0]
    assert analytics.totals("globex", START, END) == Totals()


def test_an_event_of_which_only_a_consumers_record_is_there_yet_is_no_event(analytics: Analytics) -> None:
    write(analytics, record("1", failed=True))
    assert analytics.totals("acme", START, END).events == 0


def test_usage_is_taken_once_however_often_and_with_whom_it_is_delivered(analytics: Analytics) -> None:
    chance = random.Random(7)
    records = [record(str(number), consumer) for number in range(20) for consumer in ("alerts", "stats")]
    write(analytics, *records)
    before = analytics.totals("acme", START, END), of_view(analytics), analytics.consumer_counts("acme")
    for _ in range(6):
        # Measured anew, in other groups.
        again = [record(str(chance.randrange(20)), chance.choice(("alerts", "stats")), times=3) for _ in range(25)]
        write(analytics, *again)
    assert (analytics.totals("acme", START, END), of_view(analytics), analytics.consumer_counts("acme")) == before


def test_handled_and_failed_events_are_counted_by_consumer(analytics: Analytics) -> None:
    write(analytics, record("1"), record("2"), record("3", failed=True), record("1", "stats", failed=True))
    assert analytics.consumer_counts("acme") == {"alerts": (2, 1), "stats": (0, 1)}
    write(analytics, record("3"))
    assert analytics.consumer_counts("acme") == {"alerts": (3, 0), "stats": (0, 1)}
    assert analytics.consumer_counts("globex") == {}


def test_a_dead_letter_that_is_handled_when_it_is_replayed_is_billed_once(analytics: Analytics) -> None:
    write(analytics, record("1", failed=True))
    once = analytics.totals("acme", START, END)
    write(analytics, record("1", times=5))
    assert analytics.totals("acme", START, END) == once
    assert analytics.consumer_counts("acme") == {"alerts": (1, 0)}


def test_the_trace_names_consumers_and_what_they_published(analytics: Analytics) -> None:
    made = Event(id="d", source="/other", type="alert", tenantid="acme", receivedtime=RECEIVED)
    for name, value in {"causeid": "1", "causesource": "/s", "causeconsumer": "alerts"}.items():
        made.set_extension(name, value)
    by_rule = event("r", causeid="1", causerule="Big")
    EventAnalytics(analytics)(Batch(encode_batch([event("1"), made, by_rule])))
    write(analytics, record("1"), record("1", "stats", failed=True))
    traced = analytics.trace("acme", "/s", "1")
    assert [(item["id"], item["rule"], item["consumer"]) for item in traced.derived] == [
        ("d", "", "alerts"),
        ("r", "Big", ""),
    ]
    assert traced.ended == []
    assert [(item["name"], item["outcome"], item["fuel"]) for item in traced.consumers] == [
        ("alerts", "handled", 1000),
        ("stats", "failed", 1000),
    ]
    assert analytics.trace("acme", "/other", "1").derived == []


def test_what_consumers_publish_is_derived_and_free_of_usage_on_a_replay(analytics: Analytics) -> None:
    published: Sequence[Event] = [event("p", causeid="1", causeconsumer="c"), event("q", causeid="2", replayid="r")]
    for item in published:
        item.usagein = 0
    EventAnalytics(analytics)(Batch(encode_batch(published)))
    assert analytics.totals("acme", START, END) == Totals(derived=1, cpu=7)
