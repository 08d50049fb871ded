"""The index of identities in SQLite: which (tenant, source, id) is which event.

A B-tree over random keys would be the dearest part of a put, as each key dirties a page of its own. So this is a small
log-structured merge tree (O'Neil et al. 1996) without the merging. A put appends its keys to `recent_identities`, one
row a put. When enough have gathered they move into `identities` as a sorted run, which is appended too, some hundred
keys a row. Both happen in a transaction that stores events, so the index is never behind them.

In memory there is a mirror of the recent keys and a Bloom filter of all others, 8 to 16 bytes each and 8 MB at least.
Both are made by reading the tables, so that what other processes write is seen as well; the first put of a process
reads a million keys in a quarter of a second. Readers have neither: they look into each run.

A key is a hash and no proof. Two identities may have the same one; the later of them goes by the next free key.
"""

from __future__ import annotations

import sqlite3
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import lru_cache
from hashlib import blake2b
from operator import xor

from eventrunner.storage.event_store import Row
from eventrunner.storage.sqlite_filter import KeyFilter

__all__ = ["Identities", "event_keys", "events_of_id", "events_of_key", "next_key", "own_keys"]

_KEY_BYTES = 8
_ID_BYTES = 5
"""A key begins with the hash of tenant and id, so that these can be looked up alone; the rest is of the source."""
_SOURCE_BYTES = _KEY_BYTES - _ID_BYTES
_SOURCE_BITS = (1 << 8 * _SOURCE_BYTES) - 1

# Moving this many takes some 50 ms, during which nothing else is written. Half as many cost 0.1 µs an event less in a
# small store, but 2 µs more at 3 million events with a smaller filter, as there were more runs to look into.
_RECENT_LIMIT = 65_536
_PAGE_KEYS = 512


@lru_cache(maxsize=8192)
def _source_hash(source: str) -> int:
    return int.from_bytes(blake2b(source.encode(), digest_size=_KEY_BYTES).digest()) & _SOURCE_BITS


@lru_cache(maxsize=8192)
def _tenant_hash(tenant: str) -> blake2b:
    """To be copied and continued with the id."""
    return blake2b(tenant.encode() + b"\0", digest_size=_KEY_BYTES)


def event_keys(tenants: Sequence[str], sources: Sequence[str], ids: Sequence[str]) -> list[int]:
    hashes = []
    for hash, id in zip(map(_tenant_hash, tenants), ids, strict=True):
        own = hash.copy()
        own.update(id.encode())
        hashes.append(own.digest())
    return list(map(xor, _split(b"".join(hashes)), map(_source_hash, sources)))


def next_key(key: int) -> int:
    """Where an identity goes when another one has the key."""
    return key & ~_SOURCE_BITS | key + 1 & _SOURCE_BITS


def own_keys(rows: Iterable[Row], keys: Iterable[int], stored: Callable[[int], Row | None]) -> list[int]:
    """A key for each row that no other identity has, given the keys by hash and what is stored by key."""
    owners: dict[int, tuple[str, str, str]] = {}
    own = []
    for row, key in zip(rows, keys, strict=True):
        identity = row[:3]
        while (owners.get(key) or (stored(key) or row)[:3]) != identity:
            key = next_key(key)
        owners[key] = identity
        own.append(key)
    return own


class Identities:
    """The writer's view. Every method runs in the writer's transaction, which may be rolled back afterwards."""

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._seen = 0
        """The last event of the recent ones, or of the runs when there are none."""
        self._settled = 0
        """The last event of the runs."""
        self._filter: KeyFilter | None = None
        self._filtered = 0
        """The last event in the filter. That stays true after a rollback, as a number always names the same event once
        it is committed, and only committed events are settled."""

    def refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what has been added since, by this process or another. Call it first."""
        newest = db.execute("select last_event from runs order by number desc limit 1").fetchone()
        settled = 0 if newest is None else int(newest[0])
        if settled != self._settled:
            self._read_runs(db, settled)
            self._recent, self._seen, self._settled = {}, settled, settled
        rows = db.execute("select first_event, keys from recent_identities where first_event > ?", (self._seen,))
        for first, packed in rows.fetchall():
            keys = _split(packed)
            self._recent.update(zip(keys, range(first, first + len(keys)), strict=True))
            self._seen = first + len(keys) - 1
        if len(self._recent) >= _RECENT_LIMIT:
            self._settle(db)

    def lookup(self, db: sqlite3.Connection, keys: Set[int]) -> dict[int, int]:
        """The events of those keys that are known."""
        known = {key: self._recent[key] for key in self._recent.keys() & keys}
        passing = self._filter.passing(keys) if self._filter else []
        if passing:
            known.update(_probe(db, sorted(passing)))
        return known

    def add(self, db: sqlite3.Connection, first_event: int, keys: Sequence[int]) -> None:
        blob = struct.pack(f">{len(keys)}q", *keys)
        db.execute("insert into recent_identities values (?, ?)", (first_event, blob))

    def _read_runs(self, db: sqlite3.Connection, settled: int) -> None:
        if self._filter is None:
            self._filter = KeyFilter(settled)
        for (run,) in db.execute("select number from runs where last_event > ?", (self._filtered,)).fetchall():
            for (keys,) in db.execute("select keys from identities where run = ?", (run,)):
                self._filter.add(array("q", keys))
        self._filtered = max(settled, self._filtered)

    def _settle(self, db: sqlite3.Connection) -> None:
        query = "insert into runs (last_event) values (?) returning number"
        (run,) = db.execute(query, (self._seen,)).fetchone()
        keys = array("q", sorted(self._recent))
        events = array("q", map(self._recent.__getitem__, keys))
        for start in range(0, len(keys), _PAGE_KEYS):
            page = keys[start : start + _PAGE_KEYS]
            values = (run, page[0], page.tobytes(), events[start : start + _PAGE_KEYS].tobytes())
            db.execute("insert into identities (run, first_key, keys, events) values (?, ?, ?, ?)", values)
        db.execute("delete from recent_identities")
        if self._filter is None:
            self._filter = KeyFilter()
        self._filter.add(keys)
        self._recent, self._settled, self._filtered = {}, self._seen, self._seen


def _probe(db: sqlite3.Connection, keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Those of the ordered keys that are in a run, with their events. Reads each page once."""
    for run in _runs(db):
        at = 0
        while at < len(keys):
            page = _page_of(db, run, keys[at])
            if page is None:
                # Before the first page; what comes after may be on it.
                at += 1
                continue
            known, events = page
            end = max(at + 1, bisect_right(keys, known[-1]))
            for key in keys[at:end]:
                place = bisect_left(known, key)
                if place < len(known) and known[place] == key:
                    yield key, events[place]
            at = end


def _runs(db: sqlite3.Connection) -> list[int]:
    return [run for (run,) in db.execute("select number from runs").fetchall()]


def _page_of(db: sqlite3.Connection, run: int, key: int) -> tuple[array[int], array[int]] | None:
    """Keys and events of the page on which the key is if it is in the run."""
    query = "select keys, events from identities where run = ? and first_key <= ? order by first_key desc limit 1"
    page = db.execute(query, (run, key)).fetchone()
    return None if page is None else (array("q", page[0]), array("q", page[1]))


def events_of_key(db: sqlite3.Connection, key: int) -> list[int]:
    """At most one. Runs in a reader's snapshot, as does the next."""
    return _events(db, key.to_bytes(_KEY_BYTES, "big", signed=True))


def events_of_id(db: sqlite3.Connection, tenant: str, id: str) -> list[int]:
    """The events that are probably of that id."""
    (key,) = event_keys([tenant], [""], [id])
    return _events(db, key.to_bytes(_KEY_BYTES, "big", signed=True)[:_ID_BYTES])


def _events(db: sqlite3.Connection, prefix: bytes) -> list[int]:
    (least,), (most,) = _split(prefix.ljust(_KEY_BYTES, b"\0")), _split(prefix.ljust(_KEY_BYTES, b"\xff"))
    events: list[int] = []
    for run in _runs(db):
        # The page that begins before the range may reach into it.
        query = """select keys, events from identities where run = ?1 and first_key <= ?3 and first_key >= coalesce(
            (select max(first_key) from identities where run = ?1 and first_key <= ?2), ?2)"""
        for keys, numbers in db.execute(query, (run, least, most)):
            page = array("q", keys)
            events += array("q", numbers)[bisect_left(page, least) : bisect_right(page, most)]
    for first, keys in db.execute("select first_event, keys from recent_identities"):
        events += [first + position for position in _positions(keys, prefix)]
    return events


def _positions(keys: bytes, prefix: bytes) -> Iterator[int]:
    at = keys.find(prefix)
    while at >= 0:
        if at % _KEY_BYTES == 0:
            yield at // _KEY_BYTES
        at = keys.find(prefix, at + 1)


def _split(keys: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(keys) // _KEY_BYTES}q", keys)
