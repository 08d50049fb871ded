from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from eventrunner.errors import ConfigurationError, Unavailable
from eventrunner.events.packing import unpack
from eventrunner.storage import (
    sqlite_database,
    sqlite_filter,
    sqlite_identities,
    sqlite_segments,
    sqlite_spans,
    sqlite_store,
)
from eventrunner.storage.event_store import EventStore, PutReport, Row
from eventrunner.storage.migrations import migrations
from eventrunner.storage.sqlite_filter import KeyFilter
from eventrunner.storage.stores import open_store
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.event_store_suite import DAY, NOON, EventStoreSuite, ids, make_row, rfc3339


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "events.db"


@pytest.fixture
def store(path: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:///{path}")
    store.migrate()
    yield store
    store.close()


class TestSqliteStore(EventStoreSuite):
    @pytest.fixture
    def store(self, path: Path) -> Iterator[EventStore]:
        store = open_store(f"sqlite:///{path}")
        store.migrate()
        yield store
        store.close()


class TestSqliteStoreWithSettledIdentities(TestSqliteStore):
    """The same with an index that moves its recent keys at every other put."""

    @pytest.fixture(autouse=True)
    def _small_recent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_identities, "_RECENT_LIMIT", 16)


class TestSqliteStoreWhoseKeysCollide(TestSqliteStore):
    """The same with hashes that say hardly more than the length of the id."""

    @pytest.fixture(autouse=True)
    def _weak_hashes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_identities, "_RECENT_LIMIT", 16)
        monkeypatch.setattr(sqlite_identities, "_source_hash", len)
        monkeypatch.setattr(sqlite_identities, "_tenant_hash", lambda tenant: _WeakHash())


class _WeakHash:
    def copy(self) -> _WeakHash:
        return _WeakHash()

    def update(self, data: bytes) -> None:
        self._data = data

    def digest(self) -> bytes:
        return bytes([len(self._data) % 3] * 8)


def test_every_connection_is_durable_and_in_wal_mode(store: EventStore, path: Path) -> None:
    store.put([make_row("T", "a")])
    with sqlite3.connect(path) as db:
        assert db.execute("pragma journal_mode").fetchone() == ("wal",)
    db.close()
    connection = sqlite3.connect(path)
    sqlite_database._configure(connection)
    assert connection.execute("pragma synchronous").fetchone() == (2,)
    connection.close()


def test_what_was_erased_is_not_even_in_the_files(store: EventStore, path: Path) -> None:
    text = Random(1).randbytes(3000).hex()
    store.put([make_row("T", "secret-id", source="/secret-source", data=text)])
    store.put([make_row("T", "b", source="/secret-source"), make_row("O", "c")])
    with closing(sqlite3.connect(path)) as db:
        blobs = [blob for (blob,) in db.execute("select bodies from segments")]
    assert any(blob in path.read_bytes() + path.with_name("events.db-wal").read_bytes() for blob in blobs)
    packed = max(blobs, key=len)[-1000:]
    assert store.erase("T") == 2
    left = path.read_bytes() + path.with_name("events.db-wal").read_bytes()
    for trace in (packed, b"secret-id", b"/secret-source"):
        assert trace not in left
    assert ids(store.list("O").bodies) == ["c"]


def test_each_migration_is_recorded_once(store: EventStore, path: Path) -> None:
    store.migrate()
    db = sqlite3.connect(path)
    versions = [version for (version,) in db.execute("select version from schema_version order by version")]
    db.close()
    assert versions == [migration.version for migration in migrations("sqlite")]
    assert versions == list(range(1, len(versions) + 1))


def test_an_expiry_unpacks_only_segments_that_may_lose_something(
    store: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def count(db: sqlite3.Connection, first: int, *more: Any) -> Any:
        looked.append(first)
        return sqlite_segments.delete_from_segment(db, first, *more)

    monkeypatch.setattr(sqlite_store, "delete_from_segment", count)
    for number in range(5):
        received = NOON + number * DAY
        row = make_row("T", f"{number}", received=received, receivedtime=rfc3339(received))
        store.put([row, row._replace(tenant="U")])
    assert store.expire("T", NOON) == 0
    assert looked == []
    assert store.expire("T", NOON + DAY + 1) == 2
    assert (store.count("T"), store.count("U"), len(looked)) == (3, 5, 2)
    # As in a file from before it was noted when events were received: looked into once.
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update spans set first_received = 0")
    for expected in (5, 5):
        assert store.expire("T", NOON + DAY + 1) == 0
        assert len(looked) == expected
    assert store.expire("T", NOON + 9 * DAY) == 3
    assert ids(store.list("U").bodies) == [f"{number}" for number in range(5)]


def test_nothing_is_opened_before_the_first_call(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    assert list(tmp_path.iterdir()) == []
    store.migrate()
    store.close()


def test_a_store_without_a_schema_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"migrate\(\)"):
        open_store(f"sqlite:///{tmp_path}/x.db").count("T")


@pytest.mark.parametrize("url", ["", "events.db", "sqlite://x.db", "sqlite:///", "sqlite:///:memory:", "mysql://h/k"])
def test_an_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store(url)


def test_a_relative_url_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///here.db")
    store.migrate()
    store.close()
    assert (tmp_path / "here.db").exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"hello " * 1000)
    with pytest.raises(ConfigurationError, match=r"x\.db"):
        open_store(f"sqlite:///{tmp_path}/x.db").migrate()


def test_a_store_that_another_process_keeps_locked_is_unavailable(
    store: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "_BUSY_SECONDS", 0.05)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("begin immediate")
    with pytest.raises(Unavailable):
        store.put([make_row("T", "a")])
    blocker.execute("rollback")
    blocker.close()
    assert store.put([make_row("T", "a")]) == PutReport(1)


def test_a_full_disk_is_unavailable_and_nothing_of_the_batch_stays(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([make_row("T", "a")])
    database = store._database  # type: ignore[attr-defined]
    with database.writing() as db:
        pages = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {pages + 2}")
    batch = [make_row("T", f"{n}", data=os.urandom(5_000).hex()) for n in range(100)]
    with pytest.raises(Unavailable, match="full"):
        store.put(batch)
    with database.writing() as db:
        db.execute("pragma max_page_count = 1000000")
    assert ids(store.list("T").bodies) == ["a"]
    assert store.put(batch) == PutReport(100)
    assert store.put(batch).inserted == 0


def test_a_batch_that_fails_leaves_no_trace_of_a_new_tenant(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_identities.Identities, "add", _fail)
        with pytest.raises(RuntimeError):
            store.put([make_row("A", "1")])
    store.put([make_row("B", "1"), make_row("C", "1")])
    store.put([make_row("A", "1")])
    assert {name: ids(store.list(name).bodies) for name in "ABC"} == {"A": ["1"], "B": ["1"], "C": ["1"]}
    assert store.tenants() == ["A", "B", "C"]


def _fail(*_: object) -> None:
    raise RuntimeError


def test_two_stores_over_one_file_see_each_others_events(
    store: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_identities, "_RECENT_LIMIT", 50)
    other = open_store(f"sqlite:///{path}")
    rows = [make_row("T", f"{n}", time=NOON + n) for n in range(400)]
    for start in range(0, 400, 10):
        here, there = (store, other) if start % 20 else (other, store)
        assert here.put(rows[start : start + 10]).inserted == 10
        assert there.put(rows[max(0, start - 30) : start + 10]).inserted == 0
    assert store.count("T") == other.count("T") == 400
    assert all(other.get("T", "/s", row.id) == row.body for row in rows)
    other.close()


def test_a_store_that_is_opened_again_knows_its_events(
    store: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_identities, "_RECENT_LIMIT", 100)
    rows = [make_row("T", f"{n}", time=NOON + n) for n in range(350)]
    for start in range(0, 350, 50):
        store.put(rows[start : start + 50])
    store.close()
    again = open_store(f"sqlite:///{path}")
    assert again.put(rows) == PutReport(0, duplicates=tuple(range(350)))
    again.close()


def test_keys_that_settle_in_a_put_that_fails_are_still_known(
    store: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_identities, "_RECENT_LIMIT", 40)
    other = open_store(f"sqlite:///{path}")
    rows = [make_row("T", f"{n}", time=NOON + n) for n in range(80)]
    store.put(rows[:50])
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_identities.Identities, "add", _fail)
        with pytest.raises(RuntimeError):
            store.put(rows[50:60])
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from runs").fetchone() == (0,)
    db.close()
    assert store.put(rows[:10]) == PutReport(0, duplicates=tuple(range(10)))
    assert other.put(rows[40:70]) == PutReport(20, duplicates=tuple(range(10)))
    assert other.put(rows[70:]) == PutReport(10)
    assert store.put(rows) == PutReport(0, duplicates=tuple(range(80)))
    other.close()


def test_a_call_unpacks_each_segment_once(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    rows = [make_row("T", f"{n}", time=NOON + n % 7) for n in range(90)]
    for start in range(3):
        store.put(rows[start::3])

    def count(packed: bytes, limit: int) -> bytes:
        unpacked.append(limit)
        return unpack(packed, limit)

    monkeypatch.setattr(sqlite_segments, "unpack", count)
    assert len(store.list("T").bodies) == 90
    assert len(unpacked) == 3
    assert store.put(rows).duplicates == tuple(range(90))
    assert len(unpacked) == 6


def test_an_event_nested_as_deeply_as_can_be_hides_no_other(store: EventStore) -> None:
    plain = [make_row("T", "a", time=NOON), make_row("T", "c", time=NOON + 2)]
    deep = make_row("T", "b", time=NOON + 1)
    deep = deep._replace(body=deep.body.replace(b'{"n":1}', b"[" * 20_000 + b"]" * 20_000))
    assert store.put([plain[0], deep, plain[1]]) == PutReport(3)
    assert [store.get("T", "/s", row.id) for row in plain] == [row.body for row in plain]
    assert store.list("T").bodies == [plain[0].body, deep.body, plain[1].body]


def test_a_large_put_is_cut_into_segments(store: EventStore, path: Path) -> None:
    sizes = [600_000, 600_000, 300_000, 2_000_000, 10, 10]
    store.put([make_row("T", f"{n}", data="x" * size) for n, size in enumerate(sizes)])
    with sqlite3.connect(path) as db:
        assert [count for (count,) in db.execute("select count from segments order by first_event")] == [1, 2, 1, 2]
    db.close()


_PUT_MANY = """
import sys
from eventrunner.storage.stores import open_store
from tests.unit.storage.event_store_suite import NOON, make_row

store, start, stop, size = open_store(sys.argv[1]), *map(int, sys.argv[2:])
for first in range(start, stop, size):
    store.put([make_row("T", f"{n}", time=NOON + n) for n in range(first, first + size)])
    print(first + size, flush=True)
store.close()
"""


def _start_putting(path: Path, start: int, stop: int, size: int) -> subprocess.Popen[str]:
    """Another process that puts events of those numbers, and prints after each put how far it has come."""
    command = [sys.executable, "-c", _PUT_MANY, f"sqlite:///{path}", f"{start}", f"{stop}", f"{size}"]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)


def test_processes_writing_overlapping_events_store_each_once(store: EventStore, path: Path) -> None:
    workers = [_start_putting(path, start, start + 300, 20) for start in (0, 100, 200)]
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    assert store.count("T") == 500
    assert len(set(ids(store.list("T", limit=1000).bodies))) == 500


def test_readers_are_not_held_up_by_a_writer(store: EventStore, path: Path) -> None:
    store.put([make_row("T", "a")])
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("begin immediate")
    assert store.count("T") == 1
    blocker.execute("rollback")
    blocker.close()


def test_what_was_put_before_a_kill_is_there_and_nothing_half(store: EventStore, path: Path) -> None:
    with _start_putting(path, 0, 1_000_000, 50) as worker:
        assert worker.stdout is not None
        acknowledged = [int(worker.stdout.readline()) for _ in range(20)]
        worker.kill()
        acknowledged += [int(line) for line in worker.stdout]
    count = store.count("T")
    assert count in (acknowledged[-1], acknowledged[-1] + 50)
    again = [make_row("T", f"{n}", time=NOON + n) for n in range(count + 10)]
    assert store.put(again) == PutReport(10, duplicates=tuple(range(count)))


def test_threads_read_while_others_write(store: EventStore) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                seen = ids(store.list("T", limit=1000).bodies)
                assert len(seen) % 10 == 0
                assert store.count("T") >= len(seen)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for first in range(0, 500, 10):
        store.put([make_row("T", f"{n}", time=NOON + n) for n in range(first, first + 10)])
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []


_identities = st.tuples(st.sampled_from("AB"), st.sampled_from(["/1", "/2"]), st.sampled_from("abcd"))
_batches = st.lists(st.lists(st.tuples(_identities, st.integers(0, 1)), max_size=12), max_size=8)


@given(_batches, st.sampled_from([1, 5, 1000]))
@settings(max_examples=40, deadline=None)
def test_any_sequence_of_puts_keeps_the_first_of_each_identity(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[tuple[str, str, str], int]]], limit: int
) -> None:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('store')}/x.db")
    store.migrate()
    model: dict[tuple[str, str, str], tuple[int, bytes]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_identities, "_RECENT_LIMIT", limit)
        for batch in batches:
            rows = [make_row(tenant, id, source=source, data=value) for (tenant, source, id), value in batch]
            expected: tuple[list[int], list[int], list[int]] = ([], [], [])
            for index, (row, (identity, value)) in enumerate(zip(rows, batch, strict=True)):
                known = model.setdefault(identity, (value, row.body))
                expected[0 if known[1] is row.body else 1 if known[0] == value else 2].append(index)
            assert store.put(rows) == PutReport(len(expected[0]), tuple(expected[1]), tuple(expected[2]))
    for (tenant, source, id), (_, body) in model.items():
        assert store.get(tenant, source, id) == body
        assert body in store.find(tenant, id)
    assert sum(store.count(tenant) for tenant in "AB") == len(model)
    store.close()


_happened = st.tuples(
    st.sampled_from("AB"), st.integers(-20, 20), st.sampled_from(["/1", "/2"]), st.sampled_from(["x", "y"])
)


@given(
    st.lists(st.lists(_happened, min_size=1, max_size=8), min_size=1, max_size=8),
    st.none() | st.integers(-22, 22),
    st.none() | st.integers(-22, 22),
    st.sampled_from([None, "/1"]),
    st.sampled_from([None, "x"]),
    st.booleans(),
    st.integers(1, 7),
)
@settings(max_examples=100, deadline=None)
def test_any_events_are_listed_in_order_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    puts: list[list[tuple[str, int, str, str]]],
    since: int | None,
    until: int | None,
    source: str | None,
    type: str | None,
    newest_first: bool,
    limit: int,
) -> None:
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('store')}/x.db")
    store.migrate()
    rows: list[Row] = []
    for put in puts:
        new = [
            make_row(tenant, f"{len(rows) + n}", source=src, type=kind, time=NOON + time)
            for n, (tenant, time, src, kind) in enumerate(put)
        ]
        store.put(new)
        rows += new
    bounds = {"since": None if since is None else NOON + since, "until": None if until is None else NOON + until}
    expected = sorted(
        (row.time, number)
        for number, row in enumerate(rows)
        if row.tenant == "A"
        and (source is None or row.source == source)
        and (type is None or row.type == type)
        and (bounds["since"] is None or row.time >= bounds["since"])
        and (bounds["until"] is None or row.time < bounds["until"])
    )
    if newest_first:
        expected.reverse()
    listed: list[str] = []
    cursor = None
    while True:
        page = store.list(
            "A", **bounds, source=source, type=type, newest_first=newest_first, limit=limit, cursor=cursor
        )
        listed += ids(page.bodies)
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.bodies) == limit
    assert listed == [f"{number}" for _, number in expected]
    store.close()


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_looks_into_few_segments_when_events_come_in_order(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    looked: list[int] = []

    def count(db: sqlite3.Connection, first: int) -> sqlite_segments.Columns:
        looked.append(first)
        return sqlite_segments.read_columns(db, first)

    for start in range(0, 1000, 10):
        store.put([make_row("T", f"{n}", time=NOON + n) for n in range(start, start + 10)])
    monkeypatch.setattr(sqlite_spans, "read_columns", count)
    page = store.list("T", since=NOON + 500, until=NOON + 900, newest_first=newest_first, limit=20)
    assert ids(page.bodies)[0] == ("899" if newest_first else "500")
    assert len(looked) <= 4


_random = Random(7)


def _keys(count: int) -> list[int]:
    return [_random.getrandbits(64) - (1 << 63) for _ in range(count)]


def test_all_keys_that_were_added_pass_and_few_others_do() -> None:
    filter, added = KeyFilter(20_000), _keys(20_000)
    filter.add(added)
    assert filter.passing(added) == added
    assert len(filter.passing(_keys(10_000))) < 100


def test_nothing_is_lost_when_the_filter_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_filter, "_LEAST_CELLS", 1 << 12)
    filter, added = KeyFilter(), _keys(8000)
    for first in range(0, len(added), 500):
        filter.add(added[first : first + 500])
    assert filter.passing(added) == added
    assert len(filter.passing(_keys(10_000))) < 150


def test_an_empty_filter_lets_nothing_pass() -> None:
    assert KeyFilter().passing(_keys(1000)) == []
