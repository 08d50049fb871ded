from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.cassandra_session import CassandraUrl
from eventrunner.storage.event_store import EventStore, Page, PutReport
from eventrunner.storage.migrations import migrations
from eventrunner.storage.stores import open_store

from tests.exactly_once_suite import Crash, ExactlyOnceSuite
from tests.replay_suite import ReplaySuite
from tests.support import free_port
from tests.support_cassandra import cassandra_node
from tests.support_clickhouse import chdb_process
from tests.unit.storage.event_store_suite import DAY, NOON, EventStoreSuite, ids, make_row

pytestmark = pytest.mark.peer


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a node that lives as long as the session."""
    with cassandra_node(tmp_path_factory.mktemp("cassandra")) as node:
        yield node.address


@pytest.fixture(scope="session")
def session_store(cassandra: str) -> Iterator[EventStore]:
    store = open_store(f"cassandra://{cassandra}/suite")
    store.migrate()
    yield store
    store.close()


class TestReplay(ReplaySuite):
    @pytest.fixture
    def store(self, session_store: EventStore) -> EventStore:  # type: ignore[override]
        return session_store


@pytest.mark.timeout(300)
class TestCassandraStore(EventStoreSuite):
    @pytest.fixture
    def store(self, session_store: EventStore) -> EventStore:  # type: ignore[override]
        return session_store

    def test_of_two_puts_at_one_moment_the_event_received_first_stays(
        self, store: EventStore, tenant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, later = make_row(tenant, "a", received=NOON), make_row(tenant, "a", received=NOON + 1, usagecpu=3)
        for rows in ([later], [first], [later]):
            with monkeypatch.context() as patch:
                # As if the other's identity were not yet to be seen.
                patch.setattr(store, "_known", lambda identities: {})
                assert store.put(rows) == PutReport(1)
        assert store.get(tenant, "/s", "a") == first.body
        assert store.list(tenant).bodies == [first.body]

    def test_of_two_puts_at_one_moment_with_other_times_one_event_is_seen(
        self, store: EventStore, tenant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, later = (make_row(tenant, "a", time=NOON + n, received=NOON + n) for n in range(2))
        other = make_row(tenant, "b", time=NOON + 2, received=NOON)
        for rows in ([later, other], [first]):
            with monkeypatch.context() as patch:
                # As if the other's identity were not yet to be seen.
                patch.setattr(store, "_known", lambda identities: {})
                assert store.put(rows) == PutReport(len(rows))
        assert store.list(tenant).bodies == [first.body, other.body]
        assert store.list(tenant, newest_first=True).bodies == [other.body, first.body]
        assert store.get(tenant, "/s", "a") == first.body
        assert store.count(tenant) == 2

    def test_a_put_that_crashed_between_identity_and_event_is_made_good_by_the_redelivery(
        self, store: EventStore, tenant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [make_row(tenant, f"{n}", time=NOON + n * DAY) for n in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr("eventrunner.storage.cassandra_store._INSERT_EVENT", "insert into nowhere (a) values (1)")
            with pytest.raises(ConfigurationError):
                store.put(rows)
        assert store.list(tenant) == Page([], None)
        assert store.stored([row[:3] for row in rows]) == {}
        assert store.put(rows[:2]) == PutReport(2)
        assert store.put(rows) == PutReport(1, duplicates=(0, 1))
        assert ids(store.list(tenant).bodies) == ["0", "1", "2"]

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_a_day_of_which_hardly_anything_is_wanted_is_read_in_slices(
        self, store: EventStore, tenant: str, monkeypatch: pytest.MonkeyPatch, newest_first: bool
    ) -> None:
        rows = [
            make_row(tenant, f"{n:03}", time=NOON + n // 5, type="rare" if n in (50, 90) else "t") for n in range(99)
        ]
        store.put(rows)
        monkeypatch.setattr("eventrunner.storage.cassandra_store._SLICE_ROWS", 7)
        monkeypatch.setattr("eventrunner.storage.cassandra_store._MOST_SLICES", 3)
        pages = [store.list(tenant, type="rare", newest_first=newest_first)]
        while (cursor := pages[-1].next_cursor) is not None:
            pages.append(store.list(tenant, type="rare", newest_first=newest_first, cursor=cursor))
            # What comes in behind or before a cursor moves nothing.
            store.put([make_row(tenant, f"late{len(pages)}", time=NOON - 1, type="other")])
        assert len(pages) > 3
        found = [id for page in pages for id in ids(page.bodies)]
        assert found == (["090", "050"] if newest_first else ["050", "090"])

    def test_a_page_of_a_large_day_reads_no_more_than_a_page(
        self, store: EventStore, tenant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for start in range(0, 6000, 2000):
            store.put([make_row(tenant, f"{n}", time=NOON + n) for n in range(start, start + 2000)])
        session, answers = store._session, []  # type: ignore[attr-defined]
        execute = session.execute
        monkeypatch.setattr(session, "execute", lambda *call: answers.append(execute(*call)) or answers[-1])
        cursor, listed = None, 0
        while True:
            page = store.list(tenant, limit=500, cursor=cursor)
            listed, cursor = listed + len(page.bodies), page.next_cursor
            if cursor is None:
                break
        assert listed == 6000
        assert max(map(len, answers)) == 501

    def test_each_migration_is_recorded_once(self, store: EventStore) -> None:
        store.migrate()
        session = store._session  # type: ignore[attr-defined]
        versions = sorted(version for (version,) in session.execute("select version from schema_version"))
        assert versions == [migration.version for migration in migrations("cassandra")]

    def test_a_keyspace_that_is_not_there_is_a_matter_of_configuration(self, cassandra: str) -> None:
        with pytest.raises(ConfigurationError, match="migrate"):
            open_store(f"cassandra://{cassandra}/nowhere").count("T")


@pytest.fixture(scope="session")
def shared_analytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    with chdb_process(tmp_path_factory.mktemp("chdb")) as process, process.analytics() as analytics:
        yield analytics


@pytest.mark.timeout(600)
class TestExactlyOnce(ExactlyOnceSuite):
    @pytest.fixture
    def store(self, session_store: EventStore) -> EventStore:
        return session_store

    @pytest.fixture
    def analytics(self, shared_analytics: Analytics) -> Analytics:
        return shared_analytics

    @contextmanager
    def crash_inside(self, store: EventStore, step: int) -> Iterator[None]:
        """Between two groups of statements, with some of the next one written."""
        session = store._session  # type: ignore[attr-defined]
        execute_all, left = session.execute_all, step

        def execute(statements: Iterable[Any]) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                execute_all(islice(statements, 2))
                raise Crash
            return execute_all(statements)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "execute_all", execute)
            yield


def test_a_store_goes_on_soon_after_the_node_is_back(tmp_path: Path) -> None:
    with cassandra_node(tmp_path) as node:
        store = open_store(f"cassandra://{node.address}/k")
        store.migrate()
        store.put([make_row("T", f"{n}", time=NOON + n) for n in range(500)])
        node.kill()
        for _ in range(3):
            with pytest.raises(Unavailable):
                store.put([make_row("T", "a")])
        node.start()
        deadline = time.monotonic() + 5
        while True:
            try:
                assert store.put([make_row("T", "a")]) == PutReport(1)
                break
            except Unavailable:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert store.count("T") == 501
        store.close()


def test_a_server_that_is_away_is_unavailable() -> None:
    store = open_store(f"cassandra://127.0.0.1:{free_port()}/k")
    with pytest.raises(Unavailable):
        store.put([make_row("T", "a")])
    with pytest.raises(Unavailable):
        store.migrate()


def test_a_url_names_hosts_keyspace_login_and_options() -> None:
    url = CassandraUrl.parse("cassandra://me:p%40ss@a,b:9043/er_1?datacenter=eu-1&replication=eu-1:3,us:2")
    assert url.hosts == (("a", 9042), ("b", 9043))
    assert (url.keyspace, url.user, url.password, url.datacenter) == ("er_1", "me", "p@ss", "eu-1")
    assert url.replication == "{'class': 'NetworkTopologyStrategy', 'eu-1': 3, 'us': 2}"
    assert url.where == "a:9042,b:9043/er_1"


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "h",
        "h/",
        "/k",
        "h:x/k",
        "h/K",
        "h/k-1",
        "h/a/b",
        "h,/k",
        "h/k?nope=1",
        "h/k?replication=x",
        "h/k?replication",
    ],
)
def test_a_url_that_cannot_work_is_refused(rest: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store(f"cassandra://{rest}")
