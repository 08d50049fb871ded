"""The event store in Cassandra or ScyllaDB.

Events lie in time order in partitions of (tenant, day); `identities` says which (tenant, source, id) is there and at
which time, in partitions of (tenant, bucket of the id), so that both are written as a few unlogged batches of one
partition each. A put

1. reads the identities of its rows; what is there already is compared and left alone;
2. writes the identities, and after them the events, those that were derived from others last. An identity without its
   event, which a crash in between leaves, counts as not there: the redelivery writes the same event to the same place,
   or rules that were changed meanwhile end it, and nothing of it is left.

Two puts of one identity at the same moment can both find nothing. So that the order in which they arrive does not
matter, each row is written with the time of its receipt, negated, as its timestamp: to Cassandra the event received
first is the newest, and stays. Where the two have other times, as an event without a time has that was sent twice, two
rows are left; the identity names one of them, and every answer leaves out the other. Lightweight transactions would
have no such rows, at four round trips instead of one for every batch.

What deletes rows with such timestamps would delete later ones as well. So a tenant has eras, of which each erasure
begins a new one: the timestamps of an era are all above the deletion of the one before, and far below the present,
because ScyllaDB takes none from the future. Rows that are kept for a time have a TTL.
"""

from __future__ import annotations

import builtins
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias
from uuid import UUID

from cassandra.query import BatchStatement, BatchType, BoundStatement

from eventrunner.clock import Clock, utc_now
from eventrunner.events.event import Identity, micros
from eventrunner.storage.cassandra_session import CassandraSession, CassandraUrl
from eventrunner.storage.content import Content, first_writes
from eventrunner.storage.cursors import Moment, decode_cursor, encode_cursor
from eventrunner.storage.event_store import Page, PutReport, Row

__all__ = ["CassandraStore"]

_DAY = 86_400_000_000
# Years -9999 and 9999; a day must fit into an int.
_EARLIEST, _LATEST = -377_705_116_800_000_000, 253_402_300_800_000_000
_BUCKETS = 32
"""Part of the schema: changing it loses track of what is stored."""
_BATCH_ROWS = 100
_BATCH_BYTES = 64 * 1024

_ERA = (1 << 41) + 1
"""Timestamps of an era: more than there are receipts in units of 2 ms until 2112."""
_RECEIPT_UNIT_BITS = 11
_LAST_RECEIPT = (1 << 52) - 1
_SLICE_ROWS = 5_000
_MOST_SLICES = 20
"""In one list; what is found by then is a page, however short."""
_LONGEST_TTL = 20 * 365 * 86_400
"""Seconds, by the protocol; longer is for ever."""

_Values: TypeAlias = list[bytes]
"""Of a row, in the order of the columns, as the protocol writes them."""
_bigint, _int, _smallint = (struct.Struct(f">{code}").pack for code in "qih")

_Place: TypeAlias = tuple[int, bytes]
"""Time and key, the order within a partition."""

_INSERT_EVENT = (
    "insert into events (tenant, day, time, key, type, source, received, body) values (?, ?, ?, ?, ?, ?, ?, ?) "
    "using timestamp ? and ttl ?"
)
_SELECT_EVENT = "select type, body from events where tenant = ? and day = ? and time = ? and key = ?"
_INSERT_IDENTITY = (
    "insert into identities (tenant, bucket, id, source, time) values (?, ?, ?, ?, ?) using timestamp ? and ttl ?"
)
_SELECT_IDENTITIES = "select id, source, time from identities where tenant = ? and bucket = ? and id in ?"
_INSERT_DAY = "insert into days (tenant, day) values (?, ?) using timestamp ?"
_SELECT_ERA = "select era from eras where tenant = ?"


class CassandraStore:
    """Implements EventStore."""

    def __init__(self, url: CassandraUrl, clock: Clock = utc_now) -> None:
        self._session = CassandraSession(url)
        self._clock = clock
        self._days: set[tuple[str, int, int]] = set()

    @classmethod
    def from_url(cls, url: str) -> CassandraStore:
        return cls(CassandraUrl.parse(url))

    def migrate(self) -> None:
        self._session.migrate()

    def close(self) -> None:
        self._session.close()

    def put(self, rows: Sequence[Row]) -> PutReport:
        if not rows:
            return PutReport(0)
        identities: list[Identity] = [row[:3] for row in rows]
        known = self._known(set(identities))
        if not known and len(set(identities)) == len(rows):
            self._write(rows)
            return PutReport(len(rows))
        stored = self._load(known)
        fresh, report = first_writes(rows, identities, stored.get)
        if fresh:
            self._write(list(fresh.values()))
        return report

    def _known(self, identities: Iterable[Identity]) -> dict[Identity, int]:
        """The times of those that are stored."""
        ids: dict[tuple[str, int], builtins.list[str]] = defaultdict(list)
        for tenant, _, id in identities:
            ids[tenant, _bucket(id)].append(id)
        select = self._session.prepare(_SELECT_IDENTITIES)
        answers = self._session.execute_all(select.bind((*partition, some)) for partition, some in ids.items())
        found = {
            (tenant, source, id): time
            for (tenant, _), rows in zip(ids, answers, strict=True)
            for id, source, time in rows
        }
        return {identity: found[identity] for identity in identities if identity in found}

    def _load(self, known: dict[Identity, int]) -> dict[Identity, Row]:
        select = self._session.prepare(_SELECT_EVENT)
        answers = self._session.execute_all(
            select.bind((tenant, time // _DAY, time, _key(source.encode(), id.encode())))
            for (tenant, source, id), time in known.items()
        )
        return {
            identity: Row(*identity, type, time, 0, body)
            for (identity, time), rows in zip(known.items(), answers, strict=True)
            for type, body in rows
        }

    def _write(self, rows: Sequence[Row]) -> None:
        eras = self._eras({row.tenant for row in rows})
        self._write_days({(row.tenant, row.time // _DAY, eras[row.tenant]) for row in rows})
        events: dict[tuple[str, int, bool], builtins.list[_Values]] = defaultdict(builtins.list)
        identities: dict[tuple[str, int], builtins.list[_Values]] = defaultdict(builtins.list)
        now = micros(self._clock().isoformat())
        for tenant, source, id, type, time, received, body, keep_days, follows in rows:
            day, bucket = time // _DAY, _bucket(id)
            whose, where, what, when = tenant.encode(), source.encode(), id.encode(), _bigint(time)
            how = _bigint(_timestamp(eras[tenant], received)), _int(_ttl(received, keep_days, now))
            key = _key(where, what)
            events[tenant, day, follows].append(
                [whose, _int(day), when, key, type.encode(), where, _bigint(received), body, *how]
            )
            identities[tenant, bucket].append([whose, _smallint(bucket), what, where, when, *how])
        self._session.execute_all(_batches(self._session.prepare(_INSERT_IDENTITY), identities.values()))
        for last in (False, True):
            some = (values for (_, _, follows), values in events.items() if follows is last)
            self._session.execute_all(_batches(self._session.prepare(_INSERT_EVENT), some))

    def _eras(self, tenants: Collection[str]) -> dict[str, int]:
        """Read anew by each put, because another process may erase."""
        select = self._session.prepare(_SELECT_ERA)
        answers = self._session.execute_all(select.bind((tenant,)) for tenant in tenants)
        return {tenant: rows[0][0] if rows else 0 for tenant, rows in zip(tenants, answers, strict=True)}

    def _write_days(self, days: set[tuple[str, int, int]]) -> None:
        """Before the events, so that `list` finds them; by tenant, day and era."""
        new = days - self._days
        insert = self._session.prepare(_INSERT_DAY)
        self._session.execute_all(insert.bind((tenant, day, era * _ERA)) for tenant, day, era in new)
        if len(self._days) > 100_000:
            self._days.clear()
        self._days |= new

    def get(self, tenant: str, source: str, id: str) -> bytes | None:
        return self.stored([(tenant, source, id)]).get((tenant, source, id))

    def stored(self, identities: Collection[Identity]) -> dict[Identity, bytes]:
        rows = self._load(self._known(set(identities)))
        return {identity: row.body for identity, row in rows.items()}

    def find(self, tenant: str, id: str) -> builtins.list[bytes]:
        rows = self._session.execute(_SELECT_IDENTITIES, tenant, _bucket(id), [id])
        return [row.body for row in self._load({(tenant, source, id): time for _, source, time in rows}).values()]

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
        after = decode_cursor(cursor, tuple[Moment, bytes]) if cursor else None
        since = _EARLIEST if since is None else max(since, _EARLIEST)
        until = _LATEST if until is None else min(until, _LATEST)
        listing = _Listing(self._session, tenant, type, source, since, until, newest_first)
        rows, reached = listing.rows(after, limit + 1)
        if len(rows) > limit:
            reached = rows[limit - 1][:2]
        return Page(self._without_losers(tenant, rows[:limit]), encode_cursor(reached) if reached else None)

    def _without_losers(self, tenant: str, rows: Sequence[tuple[int, bytes, bytes]]) -> builtins.list[bytes]:
        """The bodies of those (time, key, body) that their identity names, or of which it names none that is there."""
        contents = [Content.of(body) for _, _, body in rows]
        identities = [(tenant, content.source, content.id) for content in contents]
        known = self._known(set(identities))
        others = {
            identity: known[identity]
            for (time, *_), identity in zip(rows, identities, strict=True)
            if known.get(identity, time) != time
        }
        winners = self._load(others) if others else {}
        return [
            body
            for (time, _, body), identity in zip(rows, identities, strict=True)
            if identity not in winners or known[identity] == time
        ]

    def count(self, tenant: str) -> int:
        count = self._session.prepare("select count(*) from identities where tenant = ? and bucket = ?")
        counts = self._session.execute_all(count.bind((tenant, bucket)) for bucket in range(_BUCKETS))
        return sum(rows[0][0] for rows in counts)

    def tenants(self) -> Sequence[str]:
        return sorted(tenant for (tenant,) in self._session.execute("select distinct tenant from days"))

    def expire(self, tenant: str, received_before: int) -> int:
        return 0

    def erase(self, tenant: str) -> int:
        count = self.count(tenant)
        era = self._eras([tenant])[tenant]
        end = era * _ERA
        self._session.execute("insert into eras (tenant, era) values (?, ?)", tenant, era + 1)
        days = self._session.execute("select day from days where tenant = ?", tenant)
        event = self._session.prepare("delete from events using timestamp ? where tenant = ? and day = ?")
        self._session.execute_all(event.bind((end, tenant, day)) for (day,) in days)
        identity = self._session.prepare("delete from identities using timestamp ? where tenant = ? and bucket = ?")
        self._session.execute_all(identity.bind((end, tenant, bucket)) for bucket in range(_BUCKETS))
        self._session.execute("delete from days using timestamp ? where tenant = ?", end, tenant)
        return count

    def put_invoice(self, tenant: str, invoice_id: str, period: str, body: bytes) -> bool:
        insert = "insert into invoices (tenant, id, period, stored, body) values (?, ?, ?, now(), ?) if not exists"
        return bool(self._session.execute(insert, tenant, invoice_id, period, body)[0][0])

    def get_invoice(self, tenant: str, invoice_id: str) -> bytes | None:
        rows = self._session.execute("select body from invoices where tenant = ? and id = ?", tenant, invoice_id)
        return rows[0][0] if rows else None

    def invoices(self, tenant: str) -> builtins.list[bytes]:
        rows = self._session.execute("select period, stored, body from invoices where tenant = ?", tenant)
        return [body for *_, body in sorted(rows, key=_age, reverse=True)]


@dataclass(frozen=True, slots=True)
class _Listing:
    """Walks the days of a tenant, one partition after the other, until it has enough."""

    session: CassandraSession
    tenant: str
    type: str | None
    source: str | None
    since: int
    until: int
    newest_first: bool

    def rows(self, after: _Place | None, limit: int) -> tuple[list[tuple[int, bytes, bytes]], _Place | None]:
        """(time, key, body), from after that place on; and how far it looked, if that is not to the end."""
        rows: list[tuple[int, bytes, bytes]] = []
        left = _MOST_SLICES
        for day in self._days(after):
            last: _Place | None = after
            while True:
                first, last = last, self._slice_end(day, last)
                rows += self._of_day(day, first, last, limit - len(rows))
                if len(rows) == limit:
                    return rows, None
                if last is None:
                    break
                left -= 1
                if left == 0:
                    return rows, last
        return rows, None

    def _slice_end(self, day: int, after: _Place | None) -> _Place | None:
        """The last place that a query may look at; None for the whole rest of the day. What is filtered is read in
        slices, because a query whose filter lets hardly anything pass would read all of a large partition."""
        if self.type is None and self.source is None:
            return None
        found: list[_Place] = self._select("time, key", day, after, None, {}, _SLICE_ROWS)
        return found[-1] if len(found) == _SLICE_ROWS else None

    def _days(self, after: _Place | None) -> list[int]:
        first, last = self.since // _DAY, (self.until - 1) // _DAY
        if after is not None and self.newest_first:
            last = min(last, after[0] // _DAY)
        elif after is not None:
            first = max(first, after[0] // _DAY)
        query = f"select day from days where tenant = ? and day >= ? and day <= ? order by day {self._order}"  # noqa: S608
        return [day for (day,) in self.session.execute(query, self.tenant, first, last)]

    def _of_day(
        self, day: int, after: _Place | None, last: _Place | None, limit: int
    ) -> list[tuple[int, bytes, bytes]]:
        equal = {name: value for name, value in (("type", self.type), ("source", self.source)) if value is not None}
        return self._select("time, key, body", day, after, last, equal, limit)

    def _select(
        self, columns: str, day: int, after: _Place | None, last: _Place | None, equal: Mapping[str, str], limit: int
    ) -> list[Any]:
        # Tuples throughout, because CQL does not mix `(time, key) > (?, ?)` with `time < ?`.
        lower: tuple[object, ...] = (">= (?)", self.since)
        upper: tuple[object, ...] = ("< (?)", self.until)
        if self.newest_first:
            upper = ("< (?, ?)", *after) if after else upper
            lower = (">= (?, ?)", *last) if last else lower
        else:
            lower = ("> (?, ?)", *after) if after else lower
            upper = ("<= (?, ?)", *last) if last else upper
        query = (
            f"select {columns} from events where tenant = ? and day = ? "  # noqa: S608
            f"and {_columns(lower)} {lower[0]} and {_columns(upper)} {upper[0]} "
            + "".join(f"and {name} = ? " for name in equal)
            + f"order by time {self._order} limit ?"
            + (" allow filtering" if equal else "")
        )
        return self.session.execute(query, self.tenant, day, *lower[1:], *upper[1:], *equal.values(), limit)

    @property
    def _order(self) -> str:
        return "desc" if self.newest_first else "asc"


def _columns(bound: tuple[object, ...]) -> str:
    return "(time)" if len(bound) == 2 else "(time, key)"


def _timestamp(era: int, received: int) -> int:
    """Of a row: the earlier it was received, the later."""
    received = min(max(received, 0), _LAST_RECEIPT)
    return era * _ERA - (received >> _RECEIPT_UNIT_BITS) if era else -received


def _ttl(received: int, keep_days: int, now: int) -> int:
    """Seconds; 0 for ever. What is over already is kept for one."""
    if not keep_days:
        return 0
    seconds = max(1, (received + keep_days * _DAY - now) // 1_000_000)
    return seconds if seconds <= _LONGEST_TTL else 0


def _age(invoice: tuple[str, UUID, bytes]) -> tuple[str, int]:
    return invoice[0], invoice[1].time


def _key(source: bytes, id: bytes) -> bytes:
    """Tells apart the events of one time."""
    return blake2b(b"%b\0%b" % (source, id), digest_size=16).digest()


def _bucket(id: str) -> int:
    return blake2b(id.encode(), digest_size=1).digest()[0] % _BUCKETS


def _batches(statement: Any, partitions: Iterable[list[_Values]]) -> Iterator[Any]:
    """Cuts the rows of each partition into batches."""
    for rows in partitions:
        batch, size = _new_batch(), 0
        for values in rows:
            row_size = sum(map(len, values))
            if batch and (len(batch) == _BATCH_ROWS or size + row_size > _BATCH_BYTES):
                yield batch
                batch, size = _new_batch(), 0
            batch.add(_bound(statement, values))
            size += row_size
        yield batch


def _bound(statement: Any, values: _Values) -> Any:
    """As `statement.bind` makes it, which takes three times as long: it looks for the encryption of each column."""
    bound = BoundStatement(statement)
    bound.values = values
    return bound


def _new_batch() -> Any:
    return BatchStatement(batch_type=BatchType.UNLOGGED)
