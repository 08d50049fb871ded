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
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

__all__ = ["Identities", "event_key", "events_of", "id_key"]

KEY_BYTES = 16
_RECENT_LIMIT = 32_768
_PROBES = 500
_PROBE = (
    "select id_hash, scope_hash, event from identities where id_hash in (" + ", ".join("?" * _PROBES) + ")"  # noqa: S608
)


@lru_cache(maxsize=8192)
def _scope(tenant: str, source: str) -> bytes:
    return blake2b(f"{tenant}\0{source}".encode(), digest_size=8).digest()


def id_key(id: str) -> bytes:
    """The first half of the key of every event with that id."""
    return blake2b(id.encode(), digest_size=8).digest()


def event_key(tenant: str, source: str, id: str) -> bytes:
    """16 bytes of hash: of the id, then of where it is unique."""
    return id_key(id) + _scope(tenant, source)


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
            for id_hash, scope_hash, event in _probe(db, keys[start : start + _PROBES]):
                key = struct.pack(">qq", id_hash, scope_hash)
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


def events_of(db: sqlite3.Connection, prefix: bytes) -> list[int]:
    """Events whose key starts with the prefix: a whole key or its first 8 bytes. Runs in a reader's snapshot."""
    hashes = struct.unpack(f">{len(prefix) // 8}q", prefix)
    where = "id_hash = ?" if len(hashes) == 1 else "id_hash = ? and scope_hash = ?"
    events = [event for (event,) in db.execute(f"select event from identities where {where}", hashes)]  # noqa: S608
    for first, keys in db.execute("select first_event, keys from recent_identities"):
        events += [first + position for position in _positions(keys, prefix)]
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
        for position, (id_hash, scope_hash) in enumerate(struct.iter_unpack(">qq", keys)):
            yield id_hash, scope_hash, first + position


def _split(keys: bytes) -> list[bytes]:
    return [key for (key,) in struct.iter_unpack(f"{KEY_BYTES}s", keys)]
