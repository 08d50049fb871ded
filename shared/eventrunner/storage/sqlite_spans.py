"""When a tenant's events happened, by segment: an index in SQLite with a row for each tenant of a put.

An index with a row for each event was the dearest part of a put, and a third of the file. To list events in order of
time, segments are looked into in order of the time at which their spans begin, until no later one can hold an earlier
event. How far spans reach over one another decides how many that are: few where events come roughly in order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice

from eventrunner.storage.sqlite_segments import Columns, read_columns

__all__ = ["Listing", "add_spans", "change_span", "count_events", "segments_of", "tenant_number"]

_LEAST, _MOST = -(2**63), 2**63 - 1
_INSERT = "insert into spans (tenant, first_time, segment, last_time, events, first_received) values (?, ?, ?, ?, ?, ?)"


def add_spans(
    db: sqlite3.Connection, segment: int, tenants: Sequence[int], times: Sequence[int], received: Sequence[int]
) -> None:
    """Of the events of a segment, one each."""
    spans: dict[int, tuple[int, int, int, int]] = {}
    start = 0
    for tenant, run in groupby(tenants):
        end = start + sum(1 for _ in run)
        least, most, events, first = spans.get(tenant, (_MOST, _LEAST, 0, _MOST))
        part = times[start:end]
        first = min(first, min(received[start:end]))
        spans[tenant] = (min(least, min(part)), max(most, max(part)), events + end - start, first)
        start = end
    for tenant, (least, most, events, first) in spans.items():
        db.execute(_INSERT, (tenant, least, segment, most, events, first))
        query = "update tenants set longest_span = ?1 where number = ?2 and longest_span < ?1"
        db.execute(query, (most - least, tenant))


def count_events(db: sqlite3.Connection, tenant: str) -> int:
    query = "select sum(events) from spans where tenant = (select number from tenants where name = ?)"
    return int(db.execute(query, (tenant,)).fetchone()[0] or 0)


def tenant_number(db: sqlite3.Connection, tenant: str) -> int | None:
    row = db.execute("select number from tenants where name = ?", (tenant,)).fetchone()
    return None if row is None else int(row[0])


def segments_of(db: sqlite3.Connection, tenant: int, received_before: int | None = None) -> list[int]:
    """Those that have events of the tenant, or may have some that were received before then."""
    query = "select segment from spans where tenant = ? and first_received < ? order by segment"
    before = _MOST if received_before is None else received_before
    return [segment for (segment,) in db.execute(query, (tenant, before))]


def change_span(db: sqlite3.Connection, tenant: int, segment: int, staying: Sequence[tuple[int, int]]) -> None:
    """After events of the tenant were looked for in the segment and deleted: (time, receipt) of each that stays."""
    db.execute("delete from spans where tenant = ? and segment = ?", (tenant, segment))
    if staying:
        times, received = zip(*staying, strict=True)
        db.execute(_INSERT, (tenant, min(times), segment, max(times), len(times), min(received)))


@dataclass(frozen=True, slots=True)
class Listing:
    """A question for events of [since, until)."""

    tenant: str
    type: str | None
    source: str | None
    since: int | None
    until: int | None
    newest_first: bool

    def rows(self, db: sqlite3.Connection, after: tuple[int, int] | None, limit: int) -> list[tuple[int, int]]:
        """(time, number) of the events, from after that (time, number) on; equal times in the order of numbers."""
        known = db.execute("select number, longest_span from tenants where name = ?", (self.tenant,)).fetchone()
        if known is None:
            return []
        tenant, longest = known
        found: list[tuple[int, int]] = []
        for begin, segment in self._spans(db, tenant, longest, after):
            if len(found) == limit and (begin < found[-1][0] if self.newest_first else begin > found[-1][0]):
                break
            matching = self._matching(read_columns(db, segment), tenant, after)
            found = list(islice(merge(found, matching, reverse=self.newest_first), limit))
        return found

    def _spans(
        self, db: sqlite3.Connection, tenant: int, longest: int, after: tuple[int, int] | None
    ) -> Iterator[tuple[int, int]]:
        """Where each span that may matter begins, seen from the end at which the list starts, and its segment."""
        since = _LEAST if self.since is None else self.since
        until = _MOST if self.until is None else self.until - 1
        if after is not None:
            since, until = (since, min(until, after[0])) if self.newest_first else (max(since, after[0]), until)
        # The last condition is there for the index, which knows but one end of a span.
        if self.newest_first:
            query = """select last_time, segment from spans
                where tenant = ? and first_time <= ? and last_time between ? and ? order by last_time desc"""
            values = (tenant, until, since, min(_MOST, until + longest))
        else:
            query = """select first_time, segment from spans
                where tenant = ? and last_time >= ? and first_time between ? and ? order by first_time"""
            values = (tenant, since, max(_LEAST, since - longest), until)
        return db.execute(query, values)

    def _matching(self, columns: Columns, tenant: int, after: tuple[int, int] | None) -> list[tuple[int, int]]:
        wanted = {
            place
            for place, kind in enumerate(columns.kinds)
            if kind.tenant == tenant
            and (self.type is None or kind.type == self.type)
            and (self.source is None or kind.source == self.source)
        }
        since = _LEAST if self.since is None else self.since
        until = _MOST if self.until is None else self.until - 1
        rows = [
            (time, number)
            for number, (time, place) in enumerate(zip(columns.times, columns.places, strict=True), columns.first)
            if place in wanted and since <= time <= until
        ]
        if after is not None:
            rows = [row for row in rows if (row < after if self.newest_first else row > after)]
        rows.sort(reverse=self.newest_first)
        return rows
