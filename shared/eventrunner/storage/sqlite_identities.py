"""The index of identities in SQLite: which (tenant, source, id) is which event.

A B-tree over random keys is the dearest part of a put: each row dirties a page of its own, which is written to the WAL
and again by the checkpoint. So a put only appends its keys to `recent_identities`, one row a batch; when enough have
gathered they move into `identities` in one transaction, in which a page takes many keys at once. Both are durable in
the transaction of the events themselves. What is recent is mirrored in memory by reading that table, so that the rows
of other processes are seen as well.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

from eventrunner.storage.event_store import Row

__all__ = ["Identities", "event_keys", "events_of"]

KEY_BYTES = 16
# Moving this many takes some 50 ms, during which nothing else is written; more at once was not cheaper.
_RECENT_LIMIT = 16_384
_PROBES = 500
_PROBE = (
    "select id_hash, source_hash, event from identities where id_hash in (" + ", ".join("?" * _PROBES) + ")"  # noqa: S608
)


@lru_cache(maxsize=8192)
def _source_hash(source: str) -> bytes:
    return blake2b(source.encode(), digest_size=8).digest()


def event_keys(rows: Iterable[Row]) -> list[bytes]:
    """16 bytes of hash each: of tenant and id, so that they can be looked up alone, then of the source."""
    return [
        blake2b(f"{tenant}\0{id}".encode(), digest_size=8).digest() + _source_hash(source)
        for tenant, source, id, _, _, _, _ in rows
    ]


class Identities:
    """The writer's view. Every method runs in the writer's transaction."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._seen = -1

    def refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what has been added since, by this process or another. Call it first."""
        rows = db.execute("select first_event, keys from recent_identities where first_event > ?", (self._seen,))
        for first, keys in rows.fetchall():
            self._recent.update(zip(_split(keys), range(first, first + len(keys) // KEY_BYTES), strict=True))
            self._seen = first

    def lookup(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The events of those keys that are known."""
        recent = self._recent
        known = {key: recent[key] for key in keys if key in recent}
        wanted = set(keys)
        for start in range(0, len(keys), _PROBES):
            for id_hash, source_hash, event in _probe(db, keys[start : start + _PROBES]):
                key = struct.pack(">qq", id_hash, source_hash)
                if key in wanted:
                    known[key] = event
        return known

    def add(self, db: sqlite3.Connection, first_event: int, keys: Sequence[bytes]) -> None:
        db.execute("insert into recent_identities values (?, ?)", (first_event, b"".join(keys)))
        if len(self._recent) + len(keys) >= _RECENT_LIMIT:
            self._settle(db)

    def _settle(self, db: sqlite3.Connection) -> None:
        # Another process may have moved most of what is mirrored here; then there is nothing to gain yet.
        (size,) = db.execute("select coalesce(sum(length(keys)), 0) from recent_identities").fetchone()
        if size >= _RECENT_LIMIT * KEY_BYTES // 2:
            recent = db.execute("select first_event, keys from recent_identities").fetchall()
            db.executemany("insert into identities values (?, ?, ?)", sorted(_entries(recent)))
            db.execute("delete from recent_identities")
        # Mirrored again from the table by the next refresh, so it holds whether this transaction commits or not.
        self._recent = {}
        self._seen = -1


def events_of(db: sqlite3.Connection, tenant: str, source: str | None, id: str) -> list[int]:
    """The events that are probably it: a hash is not proof. Runs in a reader's snapshot."""
    key = blake2b(f"{tenant}\0{id}".encode(), digest_size=8).digest()
    query = "select event from identities where id_hash = ?"
    if source is not None:
        key += _source_hash(source)
        query += " and source_hash = ?"
    events = [event for (event,) in db.execute(query, struct.unpack(f">{len(key) // 8}q", key))]
    for first, keys in db.execute("select first_event, keys from recent_identities"):
        events += [first + position for position in _positions(keys, key)]
    return events


def _positions(keys: bytes, prefix: bytes) -> Iterator[int]:
    at = keys.find(prefix)
    while at >= 0:
        if at % KEY_BYTES == 0:
            yield at // KEY_BYTES
        at = keys.find(prefix, at + 1)


def _probe(db: sqlite3.Connection, keys: Sequence[bytes]) -> list[tuple[int, int, int]]:
    hashes = struct.unpack(f">{2 * len(keys)}q", b"".join(keys))[::2]
    return db.execute(_PROBE, (*hashes, *(None,) * (_PROBES - len(keys)))).fetchall()


def _entries(recent: list[tuple[int, bytes]]) -> Iterator[tuple[int, int, int]]:
    for first, keys in recent:
        for position, (id_hash, source_hash) in enumerate(struct.iter_unpack(">qq", keys)):
            yield id_hash, source_hash, first + position


def _split(keys: bytes) -> list[bytes]:
    return [key for (key,) in struct.iter_unpack(f"{KEY_BYTES}s", keys)]
