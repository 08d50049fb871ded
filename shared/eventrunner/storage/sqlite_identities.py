"""The index of identities in SQLite: which (tenant, source, id) is which event.

A B-tree over random keys would be the dearest part of a put, as each key dirties a page of its own. So this is a small
log-structured merge tree (O'Neil et al. 1996) without the merging. A put appends its keys to `recent_identities`, one
row a put. When enough have gathered they move into `identities` as a sorted run, which is appended too. Both happen in
a transaction that stores events, so the index is never behind them.

In memory there is a mirror of the recent keys and a Bloom filter of all others, 8 to 16 bytes each and 8 MB at least.
Both are made by reading the tables, so that what other processes write is seen as well; the first put of a process
reads a million keys in half a second. Readers have neither: they look into each run.

A key is a hash and no proof. Two identities may have the same one; the later of them goes by the next free key.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from operator import xor

from eventrunner.storage.event_store import Row
from eventrunner.storage.sqlite_filter import KeyFilter

__all__ = ["Identities", "event_keys", "events_of_id", "events_of_key", "next_key", "own_keys"]

_KEY_BYTES = 8
_ID_BYTES = 5
"""A key begins with the hash of tenant and id, so that these can be looked up alone; the rest is of the source."""
_SOURCE_BYTES = _KEY_BYTES - _ID_BYTES
_SOURCE_BITS = (1 << 8 * _SOURCE_BYTES) - 1

# Moving this many takes some 70 ms, during which nothing else is written. Half as many cost 0.1 µs an event less in a
# small store, but 2 µs more at 3 million events with a smaller filter, as there were more runs to look into.
_RECENT_LIMIT = 65_536
_ROWS = 50
_PROBES = (16, 500)


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
        for start in range(0, len(passing), _PROBES[-1]):
            known.update(_probe(db, passing[start : start + _PROBES[-1]]))
        return known

    def add(self, db: sqlite3.Connection, first_event: int, keys: Sequence[int]) -> None:
        blob = struct.pack(f">{len(keys)}q", *keys)
        db.execute("insert into recent_identities values (?, ?)", (first_event, blob))

    def _read_runs(self, db: sqlite3.Connection, settled: int) -> None:
        if self._filter is None:
            self._filter = KeyFilter(settled)
        query = "select number from runs where last_event > ?"
        for (run,) in db.execute(query, (self._filtered,)).fetchall():
            self._filter.add([key for (key,) in db.execute("select key from identities where run = ?", (run,))])
        self._filtered = max(settled, self._filtered)

    def _settle(self, db: sqlite3.Connection) -> None:
        query = "insert into runs (last_event) values (?) returning number"
        (run,) = db.execute(query, (self._seen,)).fetchone()
        keys = sorted(self._recent)
        for start in range(0, len(keys), _ROWS):
            part = keys[start : start + _ROWS]
            entries = zip(part, map(self._recent.__getitem__, part), strict=True)
            db.execute(_insert(len(part)), (run, *chain.from_iterable(entries)))
        db.execute("delete from recent_identities")
        if self._filter is None:
            self._filter = KeyFilter()
        self._filter.add(keys)
        self._recent, self._settled, self._filtered = {}, self._seen, self._seen


@lru_cache(maxsize=_ROWS)
def _insert(rows: int) -> str:
    # One statement for many rows: a step of SQLite's machine for each row costs more than the row.
    return "insert into identities values " + ", ".join(["(?1, ?, ?)"] * rows)  # noqa: S608


def _probe(db: sqlite3.Connection, keys: Sequence[int]) -> list[tuple[int, int]]:
    places = next(places for places in _PROBES if len(keys) <= places)
    query = (
        "select key, event from identities where run in (select number from runs) and key in ("  # noqa: S608
        + ", ".join("?" * places)
        + ")"
    )
    return db.execute(query, (*keys, *(None,) * (places - len(keys)))).fetchall()


def events_of_key(db: sqlite3.Connection, key: int) -> list[int]:
    """At most one. Runs in a reader's snapshot, as does the next."""
    return _events(db, key.to_bytes(_KEY_BYTES, "big", signed=True))


def events_of_id(db: sqlite3.Connection, tenant: str, id: str) -> list[int]:
    """The events that are probably of that id."""
    (key,) = event_keys([tenant], [""], [id])
    return _events(db, key.to_bytes(_KEY_BYTES, "big", signed=True)[:_ID_BYTES])


def _events(db: sqlite3.Connection, prefix: bytes) -> list[int]:
    (least,), (most,) = _split(prefix.ljust(_KEY_BYTES, b"\0")), _split(prefix.ljust(_KEY_BYTES, b"\xff"))
    query = "select event from identities where run in (select number from runs) and key between ? and ?"
    events = [event for (event,) in db.execute(query, (least, most))]
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
