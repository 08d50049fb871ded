"""The event store in one SQLite file, for one machine."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

from eventrunner.errors import ConfigurationError
from eventrunner.events.event import Identity
from eventrunner.storage.content import first_writes
from eventrunner.storage.cursors import Moment, Place, decode_cursor, encode_cursor
from eventrunner.storage.event_store import Page, PutReport, Row
from eventrunner.storage.sqlite_database import SqliteDatabase
from eventrunner.storage.sqlite_identities import (
    Identities,
    event_keys,
    events_of_id,
    events_of_key,
    next_key,
    own_keys,
)
from eventrunner.storage.sqlite_segments import (
    append_segments,
    delete_from_segment,
    next_number,
    read_bodies,
    read_rows,
)
from eventrunner.storage.sqlite_spans import (
    Listing,
    add_spans,
    change_span,
    count_events,
    segments_of,
    tenant_number,
)

__all__ = ["SqliteStore"]


class SqliteStore:
    """Implements EventStore."""

    def __init__(self, path: Path) -> None:
        self._database = SqliteDatabase(path)
        self._identities = Identities()
        self._tenants: dict[str, int] = {}

    @classmethod
    def from_url(cls, url: str) -> SqliteStore:
        path = url.removeprefix("sqlite:///")
        if path == url or not path or "?" in path or path == ":memory:":
            raise ConfigurationError(f"{url!r} is not a SQLite store: use sqlite:///relative or sqlite:////absolute.")
        return cls(Path(path))

    def migrate(self) -> None:
        self._database.migrate()

    def close(self) -> None:
        self._database.close()

    def put(self, rows: Sequence[Row]) -> PutReport:
        if not rows:
            return PutReport(0)
        tenants, sources, ids, *_ = zip(*rows, strict=True)
        keys = event_keys(tenants, sources, ids)
        distinct = set(keys)
        with self._database.writing() as db:
            self._identities.refresh(db)
            known = self._identities.lookup(db, distinct)
            if known or len(distinct) < len(keys):
                return self._put_unknown(db, rows, keys, known)
            self._append(db, rows, keys)
        return PutReport(len(rows))

    def _put_unknown(
        self, db: sqlite3.Connection, rows: Sequence[Row], keys: Sequence[int], known: dict[int, int]
    ) -> PutReport:
        """Puts those of the rows that are not there yet. `known` are the events of the keys."""
        stored = read_rows(db, known.values())
        looked_up = set(keys)

        def stored_by(key: int) -> Row | None:
            if key not in looked_up:
                looked_up.add(key)
                found = self._identities.lookup(db, {key})
                known.update(found)
                stored.update(read_rows(db, found.values()))
            return stored[known[key]] if key in known else None

        fresh, report = first_writes(rows, own_keys(rows, keys, stored_by), stored_by)
        if fresh:
            self._append(db, list(fresh.values()), list(fresh))
        return report

    def _append(self, db: sqlite3.Connection, rows: Sequence[Row], keys: Sequence[int]) -> None:
        first = next_number(db)
        names, sources, _, types, times, received, bodies, *_ = zip(*rows, strict=True)
        numbers = {name: self._tenant_number(db, name) for name in set(names)}
        tenants = [numbers[name] for name in names]
        kinds = list(zip(tenants, types, sources, strict=True))
        for start, end in append_segments(db, first, kinds, times, bodies):
            add_spans(db, first + start, tenants[start:end], times[start:end], received[start:end])
        self._identities.add(db, first, keys)

    def _tenant_number(self, db: sqlite3.Connection, tenant: str) -> int:
        number = self._tenants.get(tenant)
        if number is None:
            known = db.execute("select number from tenants where name = ?", (tenant,)).fetchone()
            if known is None:
                # Not remembered here: this transaction may still be rolled back.
                return int(
                    db.execute("insert into tenants (name) values (?) returning number", (tenant,)).fetchone()[0]
                )
            number = self._tenants[tenant] = int(known[0])
        return number

    def get(self, tenant: str, source: str, id: str) -> bytes | None:
        (key,) = event_keys([tenant], [source], [id])
        with self._database.reading() as db:
            while rows := read_rows(db, events_of_key(db, key)):
                for row in rows.values():
                    if row[:3] == (tenant, source, id):
                        return row.body
                key = next_key(key)
        return None

    def stored(self, identities: Collection[Identity]) -> dict[Identity, bytes]:
        wanted = dict.fromkeys(identities)
        if not wanted:
            return {}
        found: dict[Identity, bytes] = {}
        keys = dict(zip(wanted, event_keys(*zip(*wanted, strict=True)), strict=True))
        # As a writer, because only writers have the index in memory.
        with self._database.writing() as db:
            self._identities.refresh(db)
            while keys:
                known = self._identities.lookup(db, set(keys.values()))
                rows = read_rows(db, known.values())
                keys = {identity: key for identity, key in keys.items() if known.get(key) in rows}
                for identity, key in keys.items():
                    row = rows[known[key]]
                    if row[:3] == identity:
                        found[identity] = row.body
                keys = {identity: next_key(key) for identity, key in keys.items() if identity not in found}
        return found

    def find(self, tenant: str, id: str) -> builtins.list[bytes]:
        with self._database.reading() as db:
            rows = read_rows(db, events_of_id(db, tenant, id)).values()
        return [row.body for row in rows if (row.tenant, row.id) == (tenant, id)]

    def list(
        self,
        tenant: str,
        *,
        type: str | None = None,
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        newest_first: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        listing = Listing(tenant, type, source, since, until, newest_first)
        after = decode_cursor(cursor, tuple[Moment, Place]) if cursor else None
        with self._database.reading() as db:
            rows = listing.rows(db, after, limit + 1)
            bodies = read_bodies(db, [number for _, number in rows[:limit]])
        more = len(rows) > limit
        return Page([bodies[number] for _, number in rows[:limit]], encode_cursor(rows[limit - 1]) if more else None)

    def count(self, tenant: str) -> int:
        with self._database.reading() as db:
            return count_events(db, tenant)

    def tenants(self) -> Sequence[str]:
        with self._database.reading() as db:
            query = """select name from tenants where exists (select 1 from spans where tenant = number)
                order by name"""
            return [name for (name,) in db.execute(query)]

    def expire(self, tenant: str, received_before: int) -> int:
        return self._delete(tenant, received_before)

    def erase(self, tenant: str) -> int:
        return self._delete(tenant, None)

    def _delete(self, tenant: str, received_before: int | None) -> int:
        """Segment by segment, so that nobody waits long to write."""
        with self._database.reading() as db:
            number = tenant_number(db, tenant)
            segments = [] if number is None else segments_of(db, number, received_before)
        total = 0
        for segment in segments:
            assert number is not None
            with self._database.overwriting() as db:
                deleted, staying = delete_from_segment(db, segment, number, received_before)
                change_span(db, number, segment, staying)
            total += deleted
        if total:
            self._database.truncate_log()
        return total

    def put_invoice(self, tenant: str, invoice_id: str, period: str, body: bytes) -> bool:
        with self._database.writing() as db:
            query = "insert or ignore into invoices (tenant, id, period, body) values (?, ?, ?, ?)"
            return db.execute(query, (tenant, invoice_id, period, body)).rowcount == 1

    def get_invoice(self, tenant: str, invoice_id: str) -> bytes | None:
        with self._database.reading() as db:
            query = "select body from invoices where tenant = ? and id = ?"
            row = db.execute(query, (tenant, invoice_id)).fetchone()
        return None if row is None else row[0]

    def invoices(self, tenant: str) -> builtins.list[bytes]:
        with self._database.reading() as db:
            query = "select body from invoices where tenant = ? order by period desc, number desc"
            return [body for (body,) in db.execute(query, (tenant,))]
