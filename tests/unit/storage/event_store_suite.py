"""The behaviour of every event store. A store's test module inherits `EventStoreSuite` and gives it a `store` fixture.

A store may live longer than a test, so each test uses tenants of its own (`tenant`, `other_tenant`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from eventrunner.clock import format_time
from eventrunner.errors import InvalidInput
from eventrunner.ids import new_id
from eventrunner.storage.cursors import encode_cursor
from eventrunner.storage.event_store import EventStore, Page, PutReport, Row

DAY = 86_400_000_000
NOON = 15_751 * DAY + DAY // 2
"""2013-02-15T12:00Z."""


def make_row(tenant: str, id: str, *, source: str = "/s", type: str = "t", time: int = NOON, **more: Any) -> Row:
    """`timed=False` makes an event without a time of its own; `data`, `received` and attributes may be given."""
    received = more.pop("received", NOON + 7)
    body = {"specversion": "1.0", "id": id, "source": source, "type": type, "tenantid": tenant}
    if more.pop("timed", True):
        body["time"] = f"2013-02-15T12:00:00.{time % 1_000_000:06}Z"
    days = more.pop("days", 0)
    body |= {"data": {"n": 1}} | more
    return Row(tenant, source, id, type, time, received, json.dumps(body, separators=(",", ":")).encode(), days)


def rfc3339(micros: int) -> str:
    return format_time(datetime.fromtimestamp(micros / 1e6, UTC))


def ids(bodies: Iterable[bytes]) -> list[str]:
    return [json.loads(body)["id"] for body in bodies]


class EventStoreSuite:
    @pytest.fixture
    def store(self) -> Iterator[EventStore]:
        raise NotImplementedError

    @pytest.fixture
    def tenant(self) -> str:
        return f"T{new_id()}"

    @pytest.fixture
    def other_tenant(self) -> str:
        return f"O{new_id()}"

    # --- put

    def test_an_event_comes_back_byte_for_byte(self, store: EventStore, tenant: str) -> None:
        row = make_row(tenant, "é-1", source="/quelle/ü", data={"text": "größer\u0000'\""})
        assert store.put([row]) == PutReport(1)
        assert store.get(tenant, "/quelle/ü", "é-1") == row.body

    def test_putting_nothing_is_fine(self, store: EventStore) -> None:
        assert store.put([]) == PutReport(0)

    def test_a_redelivered_batch_changes_nothing(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n}", time=NOON + n) for n in range(120)]
        assert store.put(rows) == PutReport(120)
        assert store.put(rows) == PutReport(0, duplicates=tuple(range(120)))
        assert store.count(tenant) == 120
        assert len(store.list(tenant, limit=1000).bodies) == 120

    def test_a_regrouped_redelivery_adds_only_what_is_new(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n}", time=NOON + n) for n in range(30)]
        store.put(rows[:20])
        report = store.put(rows[10:])
        assert report == PutReport(10, duplicates=tuple(range(10)))
        assert ids(store.list(tenant, limit=100).bodies) == [row.id for row in rows]

    def test_the_first_of_two_equal_rows_in_one_batch_is_stored(self, store: EventStore, tenant: str) -> None:
        first, second = make_row(tenant, "a", usagecpu=1), make_row(tenant, "a", usagecpu=2)
        assert store.put([first, second, make_row(tenant, "b")]) == PutReport(2, duplicates=(1,))
        assert store.get(tenant, "/s", "a") == first.body

    def test_usage_and_receipt_may_differ_in_a_duplicate(self, store: EventStore, tenant: str) -> None:
        first = make_row(tenant, "a", usagecpu=1)
        store.put([first])
        again = make_row(tenant, "a", usagecpu=99, received=NOON + DAY, receivedtime="2013-02-16T12:00:00.000007Z")
        assert store.put([again]) == PutReport(0, duplicates=(0,))
        assert store.get(tenant, "/s", "a") == first.body

    def test_whitespace_and_member_order_of_data_are_not_content(self, store: EventStore, tenant: str) -> None:
        row = make_row(tenant, "a", data={"x": 1, "y": 2})
        spaced = row._replace(body=row.body.replace(b'{"x":1,"y":2}', b'{ "y": 2, "x": 1 }'))
        assert spaced.body != row.body
        store.put([row])
        assert store.put([spaced]) == PutReport(0, duplicates=(0,))

    @pytest.mark.parametrize(
        "change",
        [{"data": {"n": 2}}, {"type": "u"}, {"time": NOON + 1}, {"time": NOON + 40 * DAY}, {"data": None}],
        ids=["data", "type", "time", "day", "null"],
    )
    def test_other_content_of_a_known_identity_is_a_conflict(
        self, store: EventStore, tenant: str, change: dict[str, Any]
    ) -> None:
        first = make_row(tenant, "a")
        store.put([first])
        report = store.put([make_row(tenant, "b"), make_row(tenant, "a", **change)])
        assert report == PutReport(1, conflicts=(1,))
        assert store.get(tenant, "/s", "a") == first.body
        assert store.count(tenant) == 2
        assert sorted(ids(store.list(tenant).bodies)) == ["a", "b"]

    def test_a_conflict_inside_one_batch_is_reported(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, "a"), make_row(tenant, "a", data=5), make_row(tenant, "a")]
        assert store.put(rows) == PutReport(1, duplicates=(2,), conflicts=(1,))
        assert store.get(tenant, "/s", "a") == rows[0].body

    def test_an_event_without_a_time_is_the_same_whenever_it_is_received(self, store: EventStore, tenant: str) -> None:
        first = make_row(tenant, "a", time=NOON, received=NOON, timed=False)
        again = make_row(tenant, "a", time=NOON + 3 * DAY, received=NOON + 3 * DAY, timed=False)
        assert store.put([first]) == PutReport(1)
        assert store.put([again]) == PutReport(0, duplicates=(0,))
        assert len(store.list(tenant).bodies) == 1

    def test_binary_data_is_compared(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, "a", data_base64="AAAA")])
        assert store.put([make_row(tenant, "a", data_base64="AAAA")]) == PutReport(0, duplicates=(0,))
        assert store.put([make_row(tenant, "a", data_base64="AAAB")]) == PutReport(0, conflicts=(0,))

    def test_one_id_of_two_sources_is_two_events(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, "a", source="/1"), make_row(tenant, "a", source="/2")]
        assert store.put(rows) == PutReport(2)
        assert sorted(store.find(tenant, "a")) == sorted(row.body for row in rows)
        assert store.get(tenant, "/2", "a") == rows[1].body

    def test_a_batch_may_hold_several_tenants(self, store: EventStore, tenant: str, other_tenant: str) -> None:
        rows = [make_row(name, f"{n}", time=NOON + n) for n in range(20) for name in (tenant, other_tenant)]
        assert store.put(rows) == PutReport(40)
        assert store.count(tenant) == store.count(other_tenant) == 20
        assert {tenant, other_tenant} <= set(store.tenants())

    def test_a_big_batch_over_many_days_is_stored(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n}", time=NOON + n % 37 * DAY + n) for n in range(1203)]
        assert store.put(rows) == PutReport(1203)
        assert store.count(tenant) == 1203
        assert store.put(rows).duplicates == tuple(range(1203))

    def test_a_body_of_a_megabyte_is_stored(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n}", data="x" * 1_000_000) for n in range(3)]
        assert store.put(rows) == PutReport(3)
        assert store.get(tenant, "/s", "2") == rows[2].body

    def test_a_put_of_megabytes_is_found_listed_and_known_again(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n:03}", time=NOON + n, data=f"{n % 10}" * 30_000) for n in range(120)]
        assert store.put(rows) == PutReport(120)
        assert [store.get(tenant, "/s", row.id) for row in rows[::17]] == [row.body for row in rows[::17]]
        assert store.list(tenant, limit=200).bodies == [row.body for row in rows]
        assert store.put(rows[60:]) == PutReport(0, duplicates=tuple(range(60)))

    def test_whitespace_around_a_body_is_kept(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, id) for id in "ab"]
        rows = [row._replace(body=b" \n" + row.body + b"\n") for row in rows]
        store.put(rows)
        assert [store.get(tenant, "/s", id) for id in "ab"] == [row.body for row in rows]

    def test_threads_putting_the_same_events_store_each_once(self, store: EventStore, tenant: str) -> None:
        batches = [[make_row(tenant, f"{n}", time=NOON + n) for n in range(k, k + 40)] for k in range(0, 200, 20)]
        inserted: list[int] = []

        def work() -> None:
            inserted.extend(store.put(batch).inserted for batch in batches)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.count(tenant) == 220
        assert sum(inserted) >= 220
        assert len(set(ids(store.list(tenant, limit=1000).bodies))) == 220

    # --- get, find, count

    def test_what_is_not_there_is_none(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, "a")])
        assert store.get(tenant, "/other", "a") is None
        assert store.get(tenant, "/s", "b") is None
        assert store.find(tenant, "b") == []
        assert store.count("nobody") == 0
        assert store.list("nobody") == Page([], None)

    def test_a_tenant_sees_nothing_of_another(self, store: EventStore, tenant: str, other_tenant: str) -> None:
        store.put([make_row(tenant, "a")])
        store.put([make_row(other_tenant, "b")])
        assert store.get(other_tenant, "/s", "a") is None
        assert store.find(other_tenant, "a") == []
        assert ids(store.list(other_tenant).bodies) == ["b"]

    # --- list

    def test_events_are_listed_by_time_across_days_and_before_1970(self, store: EventStore, tenant: str) -> None:
        times = {"d": NOON + DAY, "b": 0, "a": -5 * DAY - 1, "c": NOON, "e": NOON + 400 * DAY}
        store.put([make_row(tenant, id, time=time) for id, time in times.items()])
        assert ids(store.list(tenant).bodies) == list("abcde")
        assert ids(store.list(tenant, newest_first=True).bodies) == list("edcba")

    def test_since_is_included_and_until_is_not(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, f"{n}", time=n * DAY) for n in range(-3, 4)])
        assert ids(store.list(tenant, since=-DAY, until=2 * DAY).bodies) == ["-1", "0", "1"]
        assert ids(store.list(tenant, since=2 * DAY - 1).bodies) == ["2", "3"]
        assert ids(store.list(tenant, until=-2 * DAY + 1, newest_first=True).bodies) == ["-2", "-3"]
        assert store.list(tenant, since=DAY, until=DAY).bodies == []

    def test_type_and_source_select(self, store: EventStore, tenant: str) -> None:
        rows = [
            make_row(tenant, f"{n}", type=f"t{n % 2}", source=f"/{n % 3}", time=NOON + n * DAY // 4) for n in range(24)
        ]
        store.put(rows)
        assert ids(store.list(tenant, type="t1").bodies) == [row.id for row in rows if row.type == "t1"]
        assert ids(store.list(tenant, source="/2").bodies) == [row.id for row in rows if row.source == "/2"]
        both = [row.id for row in rows if row.type == "t0" and row.source == "/1"]
        assert ids(store.list(tenant, type="t0", source="/1", newest_first=True).bodies) == both[::-1]

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("step", [0, 1, DAY // 5], ids=["one-time", "one-day", "many-days"])
    def test_pages_join_into_the_whole_list(
        self, store: EventStore, tenant: str, newest_first: bool, step: int
    ) -> None:
        rows = [make_row(tenant, f"{n:02}", time=NOON + n // 2 * step, source=f"/{n % 2}") for n in range(23)]
        store.put(rows)
        whole = store.list(tenant, newest_first=newest_first).bodies
        assert len(whole) == 23
        for limit in (1, 5, 22, 23):
            assert _walk(store, tenant, limit=limit, newest_first=newest_first) == whole
        assert _walk(store, tenant, limit=4, newest_first=newest_first, source="/1") == [
            body for body in whole if json.loads(body)["source"] == "/1"
        ]

    def test_a_page_may_join_many_puts(self, store: EventStore, tenant: str) -> None:
        rows = [make_row(tenant, f"{n:02}", time=NOON + n) for n in range(60)]
        for start in range(10):
            store.put(rows[start::10])
        assert store.list(tenant, limit=100).bodies == [row.body for row in rows]
        assert _walk(store, tenant, limit=7, newest_first=True) == [row.body for row in rows[::-1]]

    def test_both_orders_are_each_others_mirror(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, f"{n}", time=NOON + n // 4) for n in range(12)])
        assert store.list(tenant).bodies == store.list(tenant, newest_first=True).bodies[::-1]

    def test_the_last_page_has_no_cursor(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, f"{n}", time=NOON + n) for n in range(4)])
        assert store.list(tenant, limit=4).next_cursor is None
        assert store.list(tenant, limit=3).next_cursor is not None

    def test_events_that_arrive_between_pages_do_not_repeat_old_ones(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, f"{n}", time=NOON + n) for n in range(6)])
        first = store.list(tenant, limit=3)
        store.put([make_row(tenant, "early", time=NOON - 1), make_row(tenant, "late", time=NOON + 9)])
        second = store.list(tenant, limit=10, cursor=first.next_cursor)
        assert ids(first.bodies + second.bodies) == ["0", "1", "2", "3", "4", "5", "late"]

    @pytest.mark.parametrize(
        "cursor",
        [
            *("x", "====", "W10", "bnVsbA", "WzEsMl0x", "é"),
            *(encode_cursor((time, place)) for time in (2**63, 2**64 - 1, -(2**63) - 1) for place in (1, b"x")),
        ],
    )
    def test_a_made_up_cursor_is_refused(self, store: EventStore, tenant: str, cursor: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            store.list(tenant, cursor=cursor)
        assert [item.field for item in caught.value.fields] == ["cursor"]

    # --- erasure and retention

    def test_an_erased_tenant_has_nothing_and_may_begin_anew(
        self, store: EventStore, tenant: str, other_tenant: str
    ) -> None:
        rows = [make_row(tenant, f"{n}", time=NOON + n * DAY // 3, source=f"/{n % 2}") for n in range(40)]
        others = [make_row(other_tenant, f"{n}", time=NOON + n) for n in range(40)]
        for start in range(0, 40, 10):
            store.put([row for pair in zip(rows, others, strict=True) for row in pair][2 * start : 2 * start + 20])
        store.put_invoice(tenant, "INV-1", "2013-01", b"final")
        for again in range(3):
            assert store.erase(tenant) == 40
            assert store.erase(tenant) == 0
            assert (store.count(tenant), store.list(tenant)) == (0, Page([], None))
            assert tenant not in store.tenants()
            assert store.find(tenant, "3") == []
            assert store.stored([row[:3] for row in rows + others[:2]]) == {row[:3]: row.body for row in others[:2]}
            assert store.invoices(tenant) == [b"final"]
            assert store.list(other_tenant, limit=50).bodies == [row.body for row in others]
            assert store.put(others).duplicates == tuple(range(40))
            # The same events, received later.
            rows = [row._replace(received=row.received + (again + 1) * DAY) for row in rows]
            assert store.put(rows) == PutReport(40)
            assert store.put(rows[:5] + others[:5]) == PutReport(0, duplicates=tuple(range(10)))
            assert store.list(tenant, limit=50).bodies == [row.body for row in rows]
            assert [store.get(*row[:3]) for row in rows] == [row.body for row in rows]
        assert {tenant, other_tenant} <= set(store.tenants())

    def test_erasing_who_has_nothing_is_fine(self, store: EventStore) -> None:
        assert store.erase("nobody") == 0

    def test_what_was_received_before_is_found_until_its_days_are_over(
        self, store: EventStore, tenant: str, other_tenant: str
    ) -> None:
        now = time.time_ns() // 1000
        ages = {"old": 4 * DAY, "older": 9 * DAY, "edge": 3 * DAY - 1_500_000, "young": DAY}
        rows = [
            make_row(name, id, received=now - age, receivedtime=rfc3339(now - age), days=3 if name == tenant else 0)
            for id, age in ages.items()
            for name in (tenant, other_tenant)
        ]
        store.put(rows[2:4])
        store.put(rows[:2] + rows[4:])
        expire_until(store, tenant, 3, left=1)
        assert ids(store.list(tenant).bodies) == ["young"]
        assert store.stored([row[:3] for row in rows[:2]]) == {rows[1][:3]: rows[1].body}
        assert store.count(other_tenant) == 4

    def test_what_was_received_before_and_stored_later_goes_too(self, store: EventStore, tenant: str) -> None:
        now = time.time_ns() // 1000
        ages = {"young": DAY, "old": 9 * DAY, "younger": 0, "edge": 3 * DAY - 1_500_000, "youngest": 0}
        for id, age in ages.items():
            store.put([make_row(tenant, id, received=now - age, receivedtime=rfc3339(now - age), days=3)])
        expire_until(store, tenant, 3, left=3)
        assert sorted(ids(store.list(tenant).bodies)) == ["young", "younger", "youngest"]

    # --- invoices

    def test_an_invoice_is_written_once(self, store: EventStore, tenant: str, other_tenant: str) -> None:
        assert store.put_invoice(tenant, "INV-1", "2013-01", b"first") is True
        assert store.put_invoice(tenant, "INV-1", "2013-01", b"second") is False
        assert store.get_invoice(tenant, "INV-1") == b"first"
        assert store.invoices(tenant) == [b"first"]
        assert store.get_invoice(other_tenant, "INV-1") is None
        assert store.put_invoice(other_tenant, "INV-1", "2013-01", b"theirs") is True

    def test_invoices_are_listed_newest_period_first(self, store: EventStore, tenant: str) -> None:
        for name, period in (("a", "2013-02"), ("b", "2013-03"), ("c", "2013-01"), ("d", "2013-02")):
            store.put_invoice(tenant, name, period, name.encode())
        assert store.invoices(tenant) == [b"b", b"d", b"a", b"c"]
        assert store.invoices("nobody") == []

    def test_only_one_of_many_threads_writes_an_invoice(self, store: EventStore, tenant: str) -> None:
        written: list[bytes] = []

        def close(body: bytes) -> None:
            if store.put_invoice(tenant, "INV-1", "2013-01", body):
                written.append(body)

        threads = [threading.Thread(target=close, args=(b"%d" % n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert written == [store.get_invoice(tenant, "INV-1")]

    # --- life

    def test_migrating_again_keeps_everything(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, "a")])
        store.migrate()
        store.migrate()
        assert ids(store.list(tenant).bodies) == ["a"]

    def test_a_closed_store_opens_again_when_it_is_used(self, store: EventStore, tenant: str) -> None:
        store.put([make_row(tenant, "a")])
        store.close()
        store.close()
        assert store.count(tenant) == 1


def expire_until(store: EventStore, tenant: str, days: int, *, left: int) -> None:
    """Until no more than so many are left. An event may go a moment after its identity, which was written before it."""
    deadline = time.monotonic() + 15
    while max(store.count(tenant), len(store.list(tenant).bodies)) > left:
        assert time.monotonic() < deadline, ids(store.list(tenant).bodies)
        time.sleep(0.2)
        store.expire(tenant, time.time_ns() // 1000 - days * DAY)


def _walk(store: EventStore, tenant: str, **options: Any) -> list[bytes]:
    bodies: list[bytes] = []
    cursor = None
    while True:
        page = store.list(tenant, cursor=cursor, **options)
        bodies += page.bodies
        cursor = page.next_cursor
        if cursor is None:
            return bodies
