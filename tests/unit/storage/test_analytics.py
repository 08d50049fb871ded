"""Analytics on a real ClickHouse, the embedded one."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from eventrunner.billing.invoices import make_invoice
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import shipped_plan
from eventrunner.clock import format_time
from eventrunner.errors import ConfigurationError, InvalidInput, Unavailable
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.analytics_model import Totals, UsageRecord
from eventrunner.storage.clickhouse_migrations import migrate, migrations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import events
from support import free_port
from support_clickhouse import ChdbProcess, chdb_process

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
GIB = 2**30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbProcess]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process:
        yield process


@pytest.fixture
def analytics(server: ChdbProcess) -> Iterator[Analytics]:
    with server.analytics() as made:
        yield made


def rows(analytics: Analytics, sql: str) -> list[Any]:
    return [list(row) for row in analytics._clickhouse.query(sql)]


def event(id: str, received: datetime = START, **attributes: Any) -> Event:
    values = {"source": "/s", "type": "t", "tenantid": "acme", **attributes}
    return Event(id=id, receivedtime=format_time(received), **values)


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def record(id: str, kind: str, subject: str = "", received: datetime = START, **usage: int) -> UsageRecord:
    return UsageRecord("acme", id, micros(received), kind, subject_source="/s", subject_id=subject, **usage)


class TestSchema:
    def test_migrating_again_changes_nothing(self, analytics: Analytics) -> None:
        assert migrate(analytics._clickhouse) == []
        assert rows(analytics, "SELECT version FROM schema_migrations ORDER BY version") == [
            [migration.version] for migration in migrations()
        ]

    def test_tenant_usage_has_exactly_the_promised_columns(self, analytics: Analytics) -> None:
        assert [row[:2] for row in rows(analytics, "DESCRIBE tenant_usage")] == [
            ["tenant_id", "String"],
            ["timestamp", "DateTime"],
            ["cpu_usage", "Float64"],
            ["memory_usage", "Float64"],
            ["network_ingress", "Float64"],
            ["network_egress", "Float64"],
        ]

    def test_tenant_usage_sums_each_key_once_by_minute(self, analytics: Analytics) -> None:
        used = event(
            "1", START + timedelta(seconds=59), usagein=7, usageout=9, usagecpu=2 * 10**9, usagemem=2**20 * 1500
        )
        analytics.insert_events([used, used, event("2", START + timedelta(seconds=60), usagein=1)])
        analytics.insert_usage([record("r", "dropped", "3", usagein=100)] * 2)
        assert rows(analytics, "SELECT * FROM tenant_usage WHERE tenant_id = 'acme' ORDER BY timestamp") == [
            ["acme", START.replace(tzinfo=None), 2.0, 1.5, 107.0, 9.0],
            ["acme", START.replace(tzinfo=None) + timedelta(minutes=1), 0.0, 0.0, 1.0, 0.0],
        ]


class TestEvents:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(batch=st.lists(events(), min_size=1, max_size=20, unique_by=lambda event: event.identity))
    def test_any_event_is_stored_as_it_is(self, server: ChdbProcess, batch: list[Event]) -> None:
        with server.analytics() as analytics:
            body = encode_batch(batch)
            analytics.insert_events(decode_batch(body))
            found = rows(analytics, "SELECT source, id, type, subject, data, data_base64 FROM events")
            assert sorted(found) == sorted(
                [e.source, e.id, e.type, e.subject or "", bytes(e.data).decode(), e.data_base64 or ""] for e in batch
            )

    @pytest.mark.parametrize(
        "text",
        ["1969-12-31T23:59:59.999999Z", "1900-01-01T00:00:00Z", "2013-01-01T05:15:00.5-05:00", "2299-12-31T00:00:00Z"],
    )
    def test_times_before_1970_and_after_2106_are_held(self, analytics: Analytics, text: str) -> None:
        analytics.insert_events([event("1", time=text)])
        ((time,),) = rows(analytics, "SELECT time FROM events")
        assert time.replace(tzinfo=UTC) == datetime.fromisoformat(text)

    def test_a_time_that_clickhouse_cannot_hold_spoils_nothing(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1", time="9999-12-31T23:59:59Z"), event("2", time="2026-01-01T00:00:00Z")])
        assert analytics.count("acme") == 2

    def test_a_number_that_clickhouse_cannot_hold_is_refused_and_nothing_is_written(self, analytics: Analytics) -> None:
        with pytest.raises(InvalidInput):
            analytics.insert_events([event("1"), event("2", usagein=-1)])
        assert analytics.count("acme") == 0

    def test_each_identity_counts_once_and_derived_ones_apart(self, analytics: Analytics) -> None:
        derived = event("d", extensions={"causeid": "1"})
        analytics.insert_events([event("1"), event("1"), event("1", source="/other"), derived, derived])
        analytics.insert_events([event("1", tenantid="globex"), event("1")])
        assert analytics.counts() == {"acme": (2, 1), "globex": (1, 0)}
        assert (analytics.count("acme"), analytics.count("nobody")) == (2, 0)

    def test_tenants_are_those_that_used_anything(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1", tenantid="b")])
        analytics.insert_usage([record("r", "dropped")])
        assert analytics.tenants() == ["acme", "b"]


class TestUsage:
    def test_everything_an_event_used_is_summed(self, analytics: Analytics) -> None:
        used = {"usagein": 3, "usageout": 5, "usagecpu": 7, "usagemem": 11, "usagerules": 13}
        analytics.insert_events(
            [event("1", **used), event("2", **used), event("d", extensions={"causeid": "1"}, usageout=1)]
        )
        assert analytics.totals("acme", START, END) == Totals(2, 1, rules=26, cpu=14, memory=22, ingress=6, egress=11)

    def test_what_a_replay_derived_is_on_no_bill_and_takes_nothing_off_one(self, analytics: Analytics) -> None:
        derived = event("d", extensions={"causeid": "1"}, usageout=5)
        analytics.insert_events([event("1", usagein=3), derived])
        before = analytics.totals("acme", START, END)
        replayed = {"causeid": "1", "replayid": "r"}
        analytics.insert_events([event("d", extensions=replayed), event("new", extensions=replayed, usageout=7)])
        assert analytics.totals("acme", START, END) == before == Totals(1, 1, ingress=3, egress=5)
        assert rows(analytics, "SELECT count() FROM events WHERE replayid = 'r'") == [[2]]
        assert rows(analytics, "SELECT sum(network_egress) FROM tenant_usage") == [[5.0]]

    def test_another_tenant_sees_nothing_of_it(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1", usagein=3)])
        assert analytics.totals("globex", START, END) == Totals()

    def test_usage_accrues_when_the_event_was_received(self, analytics: Analytics) -> None:
        microsecond = timedelta(microseconds=1)
        moments = (START - microsecond, START, END - microsecond, END)
        analytics.insert_events(
            [event(str(n), moment, time="2013-01-01T00:00:00Z") for n, moment in enumerate(moments)]
        )
        assert analytics.totals("acme", START, END).events == 2

    def test_an_event_that_comes_again_later_stays_in_its_first_period(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1", END, usagein=5)])
        analytics.insert_events([event("1", START, usagein=3)])
        assert analytics.totals("acme", START, END) == Totals(1, ingress=3)
        assert analytics.totals("acme", END, END + timedelta(days=31)) == Totals()

    def test_dropped_and_failed_events_were_accepted(self, analytics: Analytics) -> None:
        analytics.insert_usage([record("a", "dropped", "1", usagein=3), record("b", "failed", "2", usagecpu=4)])
        assert analytics.totals("acme", START, END) == Totals(2, cpu=4, ingress=3)

    def test_an_event_that_failed_and_was_replayed_counts_once(self, analytics: Analytics) -> None:
        analytics.insert_usage([record("a", "failed", "1", usagein=3), record("b", "failed", "1", usagecpu=4)])
        analytics.insert_events([event("1", usagecpu=5)])
        assert analytics.totals("acme", START, END) == Totals(1, cpu=9, ingress=3)

    @pytest.mark.parametrize("dropped_first", [True, False])
    def test_an_event_that_was_dropped_and_let_pass_counts_as_it_came_first(
        self, server: ChdbProcess, dropped_first: bool
    ) -> None:
        with server.analytics() as analytics:
            steps = [
                lambda: analytics.insert_usage([record("a", "dropped", "1", usagein=3, usagecpu=4)]),
                lambda: analytics.insert_events([event("1", usagein=3, usagecpu=9, usageout=5)]),
            ]
            for step in steps if dropped_first else reversed(steps):
                step()
                first = analytics.totals("acme", START, END)
                assert first == (Totals(1, cpu=4, ingress=3) if dropped_first else Totals(1, 0, 0, 9, 0, 3, 5))
            ((view,),) = rows(analytics, "SELECT sum(network_ingress) FROM tenant_usage")
            assert view == 3

    def test_an_event_that_failed_and_was_let_pass_came_in_once(self, analytics: Analytics) -> None:
        analytics.insert_usage([record("a", "failed", "1", usagein=3, usagecpu=4)])
        analytics.insert_events([event("1", usagein=3, usagecpu=5)])
        assert analytics.totals("acme", START, END) == Totals(1, cpu=9, ingress=3)

    def test_the_view_has_what_is_on_the_invoice(self, analytics: Analytics) -> None:
        later = START + timedelta(days=2)
        used = {"usagein": 3 * GIB, "usageout": 2 * GIB, "usagecpu": 4 * 10**9, "usagemem": 2**20 * 1500}
        failed = {name: usage for name, usage in used.items() if name != "usageout"}
        # Failed at first, let pass when it came again: by the same delivery, by another, with more bytes than before.
        for id, again in (("same", START), ("later", later), ("larger", later)):
            analytics.insert_usage([record(f"f-{id}", "failed", id, **failed)] * 2)
            more = {"usagein": 5 * GIB} if id == "larger" else {}
            analytics.insert_events([event(id, again, **used | more)] * 2)
        # Failed for good, in two stages; dropped at first; derived, and derived by a replay.
        analytics.insert_usage([record(f"{stage}-bad", "failed", "bad", **failed) for stage in "ab"])
        analytics.insert_usage(
            [record("d", "dropped", "dropped", **failed), record("c", "consumer", "same", usagecpu=7)]
        )
        analytics.insert_events(
            [event("dropped", later, **used), event("derived", extensions={"causeid": "1"}, **used)]
        )
        replayed = event("new", extensions={"causeid": "1", "replayid": "r"}, **used)
        analytics.insert_events([replayed, event("same", tenantid="globex", **used)])
        analytics.insert_usage([UsageRecord("globex", "f-same", micros(START), "failed", "x", "/s", "same", **failed)])
        plan = shipped_plan("standard")
        assert plan is not None
        for tenant in ("acme", "globex"):
            totals = analytics.totals(tenant, START, END)
            invoice = make_invoice(tenant, Period.of(START), plan, totals, status="final", issued=END).to_document()
            view = "sum(cpu_usage), sum(memory_usage), sum(network_ingress), sum(network_egress)"
            (sums,) = rows(analytics, f"SELECT {view} FROM tenant_usage WHERE tenant_id = '{tenant}'")
            names = ("cpu_usage", "memory_usage", "network_ingress", "network_egress")
            assert sums == pytest.approx([float(invoice["usage"][name]) for name in names])
        assert [row[4] / GIB for row in rows(analytics, "SELECT * FROM tenant_usage WHERE tenant_id = 'globex'")] == [
            3.0
        ]
        days = analytics.usage("acme", START, END, window="day")
        by_day = "SELECT sum(network_ingress) FROM tenant_usage WHERE tenant_id = 'acme' GROUP BY toDate(timestamp)"
        assert sorted(row[0] for row in rows(analytics, by_day)) == sorted(day.totals.ingress for day in days)

    def test_what_was_written_first_counts_whatever_comes_later(self, analytics: Analytics) -> None:
        for cpu in (7, 3, 9):
            analytics.insert_events([event("1", usagecpu=cpu)])
            analytics.insert_usage([record("r", "consumer", "1", usagecpu=100 * cpu)])
            assert analytics.totals("acme", START, END) == Totals(1, cpu=707)
            assert rows(analytics, "SELECT sum(cpu_usage) * 1e9 FROM tenant_usage") == [[707.0]]

    def test_other_records_use_something_without_being_an_event(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1")])
        analytics.insert_usage([record("a", "consumer", "1", usagecpu=4), record("b", "consumer", "1", usagecpu=4)])
        assert analytics.totals("acme", START, END) == Totals(1, cpu=8)

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 2**32), data=st.data())
    def test_redeliveries_regrouped_in_any_way_change_nothing(
        self, server: ChdbProcess, seed: int, data: st.DataObject
    ) -> None:
        chance = random.Random(seed)
        once = [
            event(str(n), START + timedelta(hours=n), usagein=chance.randrange(100), usagecpu=chance.randrange(10**9))
            for n in range(30)
        ]
        records = [record(f"r{n}", "dropped", f"x{n}", START + timedelta(hours=n), usagein=n) for n in range(10)]
        expected = Totals(
            40,
            cpu=sum(e.usagecpu for e in once),
            ingress=sum(e.usagein for e in once) + sum(r.usagein for r in records),
        )
        deliveries = once + data.draw(st.lists(st.sampled_from(once), max_size=60))
        chance.shuffle(deliveries)
        with server.analytics() as analytics:
            while deliveries:
                size = chance.randrange(1, 40)
                analytics.insert_events(deliveries[:size])
                analytics.insert_usage(chance.sample(records, chance.randrange(1, 10)))
                del deliveries[:size]
            analytics.insert_usage(records)
            assert analytics.totals("acme", START, END) == expected
            days = analytics.usage("acme", START, END, window="day")
            assert [sum(numbers) for numbers in zip(*(day.totals for day in days), strict=True)] == list(expected)

    def test_differing_redeliveries_of_one_insert_count_by_the_set_of_rows_alone(
        self, analytics: Analytics, server: ChdbProcess
    ) -> None:
        deliveries = [event("1", usagecpu=9), event("1", usagecpu=5), event("1", START + timedelta(1), usagecpu=1)]
        analytics.insert_events(deliveries)
        with server.analytics() as other:
            other.insert_events(deliveries[::-1])
            assert analytics.totals("acme", START, END) == other.totals("acme", START, END) == Totals(1, cpu=5)


class TestWindows:
    def test_days_of_a_time_zone_have_its_hours(self, analytics: Analytics) -> None:
        zone = ZoneInfo("Europe/Berlin")
        start = datetime(2026, 10, 24, tzinfo=zone)
        hours = 72
        first = start.astimezone(UTC)
        analytics.insert_events([event(str(n), first + timedelta(hours=n)) for n in range(hours)])
        found = analytics.usage("acme", start, start + timedelta(days=10), window="day", tz="Europe/Berlin")
        assert [row.totals.events for row in found] == [24, 25, 23]
        assert [(row.end.astimezone(UTC) - row.start.astimezone(UTC)) // timedelta(hours=1) for row in found] == [
            24,
            25,
            24,
        ]
        assert all(row.start.hour == row.end.hour == 0 for row in found)

    def test_the_hour_that_comes_twice_is_two_hours(self, analytics: Analytics) -> None:
        first = datetime(2026, 10, 25, 0, tzinfo=UTC)
        analytics.insert_events([event(str(n), first + timedelta(minutes=30 * n)) for n in range(4)])
        found = analytics.usage("acme", first, first + timedelta(hours=2), window="hour", tz="Europe/Berlin")
        assert [(row.start.astimezone(UTC), row.totals.events) for row in found] == [
            (first, 2),
            (first + timedelta(hours=1), 2),
        ]

    def test_months_and_minutes(self, analytics: Analytics) -> None:
        moments = [START - timedelta(seconds=1), START, START + timedelta(seconds=60)]
        analytics.insert_events([event(str(n), moment) for n, moment in enumerate(moments)])
        months = analytics.usage("acme", START - timedelta(days=1), END, window="month")
        assert [(row.start.month, row.end.month, row.totals.events) for row in months] == [(10, 11, 1), (11, 12, 2)]
        minutes = analytics.usage("acme", START, END, window="minute")
        assert [row.start for row in minutes] == [START, START + timedelta(minutes=1)]

    def test_groups_are_told_apart(self, analytics: Analytics) -> None:
        analytics.insert_events([event("1"), event("2", type="u"), event("3", type="u", source="/other", subject="x")])
        found = analytics.usage("acme", START, END, group_by=("type", "source"))
        assert [(row.group, row.totals.events) for row in found] == [
            (("t", "/s"), 1),
            (("u", "/other"), 1),
            (("u", "/s"), 1),
        ]
        assert [row.group for row in analytics.usage("acme", START, END, group_by=["subject"])] == [("",), ("x",)]

    def test_every_wrong_argument_is_named(self, analytics: Analytics) -> None:
        with pytest.raises(InvalidInput) as caught:
            analytics.usage("acme", END, START, window="week", tz="Mars/Olympus", group_by=("id; DROP TABLE events",))
        assert [problem.field for problem in caught.value.fields] == ["from", "window", "group_by", "tz"]


class TestConnection:
    @pytest.mark.parametrize("url", ["ftp://h/d", "http:///d", "http://h", "http://h/d;x", "nonsense"])
    def test_a_url_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            Analytics(url)

    def test_an_insert_imports_no_data_frames(self, server: ChdbProcess) -> None:
        program = (
            "import sys; from eventrunner.events import Event; from eventrunner.storage.analytics import Analytics\n"
            "analytics = Analytics(sys.argv[1]); analytics.migrate()\n"
            "analytics.insert_events([Event(id='1', source='/s', type='t')]); assert analytics.count('') == 1\n"
            "assert not {'pandas', 'numpy', 'pyarrow'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program, server.new_url()], check=True, timeout=60)

    def test_a_server_that_is_away_is_worth_another_try(self) -> None:
        with pytest.raises(Unavailable):
            Analytics(f"http://127.0.0.1:{free_port()}/eventrunner").migrate()

    def test_a_missing_schema_is_worth_another_try(self, server: ChdbProcess) -> None:
        with pytest.raises(Unavailable):
            Analytics(server.new_url()).insert_events([event("1")])

    def test_it_goes_on_when_the_server_is_back(self, tmp_path: Any) -> None:
        with chdb_process(tmp_path) as process:
            port = process.url.rpartition(":")[2]
            analytics = Analytics(f"{process.url}/eventrunner")
            analytics.migrate()
            process.stop()
            with pytest.raises(Unavailable):
                analytics.count("acme")
            process.start(int(port))
            analytics.insert_events([event("1", data=msgspec.Raw(b"{}"))])
            assert analytics.count("acme") == 1
