"""The bodies of events in SQLite: those of one put together, packed.

A row of its own for each body costs three times what the packed segment does, in the write-ahead log and again in the
checkpoint, and fifteen times the space.

A segment is the JSON batch of its events in zstd, and in columns beside it their times, kinds and sizes; a kind is a
tenant, type and source, which few events have for themselves. A body is cut out by its size, so it comes back as it was
whatever it holds; a parser would refuse the whole batch for one event that is nested as deeply as an event may be.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

from eventrunner.events.json_format import join_batch
from eventrunner.events.packing import pack, unpack
from eventrunner.storage.content import Content, received_time
from eventrunner.storage.event_store import Row

__all__ = [
    "Columns",
    "Kind",
    "append_segments",
    "delete_from_segment",
    "next_number",
    "read_bodies",
    "read_columns",
    "read_rows",
]

_SEGMENT_BYTES = 1024 * 1024
"""Of JSON, so that whoever wants one event never unpacks much more."""


_GONE = 0xFFFF_FFFF
"""Place of the kind of an event that was deleted. Its number stays taken: the index of identities still has it."""
_GONE_ROW = Row("", "", "", "", 0, 0, b"")


def next_number(db: sqlite3.Connection) -> int:
    """The number of the next event that is stored."""
    row = db.execute("select first_event + count from segments order by first_event desc limit 1").fetchone()
    return 1 if row is None else int(row[0])


def append_segments(
    db: sqlite3.Connection,
    first: int,
    kinds: Sequence[tuple[int, str, str]],
    times: Sequence[int],
    bodies: Sequence[bytes],
) -> list[tuple[int, int]]:
    """Stores events, `first` the number of the first. Returns the segments' bounds among them."""
    cuts = list(_cuts(list(map(len, bodies))))
    for start, end in cuts:
        packed = _packed(kinds[start:end], times[start:end], bodies[start:end])
        db.execute("insert into segments values (?, ?, ?, ?, ?)", (first + start, end - start, *packed))
    return cuts


def _packed(
    kinds: Sequence[tuple[int, str, str] | None], times: Sequence[int], bodies: Sequence[bytes]
) -> tuple[bytes, bytes, bytes]:
    """Kinds, columns and bodies as they are stored; an event without a kind is gone."""
    known: dict[tuple[int, str, str], int] = {}
    places = [_GONE if kind is None else known.setdefault(kind, len(known)) for kind in kinds]
    columns = struct.pack(_layout(len(bodies)), *times, *places, *map(len, bodies))
    return msgspec.json.encode(list(known)), columns, pack(join_batch(bodies))


def delete_from_segment(
    db: sqlite3.Connection, first: int, tenant: int, received_before: int | None
) -> tuple[int, Sequence[tuple[int, int]]]:
    """Deletes the tenant's events that were received before then, or all, from the segment that begins with that event.
    Returns how many, and (time, receipt) of each of its others."""
    segment = _load(db, first)
    columns = segment.columns
    kinds: list[tuple[int, str, str] | None] = []
    bodies: list[bytes] = []
    staying: list[tuple[int, int]] = []
    deleted = 0
    for at, (place, time) in enumerate(zip(columns.places, columns.times, strict=True)):
        kind, body = (None, b"") if place == _GONE else (columns.kinds[place], segment.body(first + at))
        if kind is not None and kind.tenant == tenant:
            received = received_time(body)
            if received_before is None or received < received_before:
                kind, body = None, b""
                deleted += 1
            else:
                staying.append((time, received))
        kinds.append(kind)
        bodies.append(body)
    if deleted:
        times = [0 if kind is None else time for kind, time in zip(kinds, columns.times, strict=True)]
        query = "update segments set kinds = ?, columns = ?, bodies = ? where first_event = ?"
        db.execute(query, (*_packed(kinds, times, bodies), first))
    return deleted, staying


def read_bodies(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, bytes]:
    """The bodies of the events of those numbers."""
    return {number: segment.body(number) for number, segment in _segments_of(db, numbers)}


def read_rows(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, Row]:
    """The events of those numbers, without the times of receipt; one that was deleted is nobody's."""
    names: dict[int, str] = {}
    return {number: _row(db, segment, number, names) for number, segment in _segments_of(db, numbers)}


class Kind(NamedTuple):
    tenant: int
    type: str
    source: str


_kinds_decoder = msgspec.json.Decoder(list[Kind])


class Columns(NamedTuple):
    """A segment without its bodies."""

    first: int
    kinds: Sequence[Kind]
    times: Sequence[int]
    places: Sequence[int]
    """Of each event's kind in `kinds`."""
    sizes: Sequence[int]


class _Segment(NamedTuple):
    columns: Columns
    ends: Sequence[int]
    """Where each body ends in the batch."""
    batch: bytes

    def body(self, number: int) -> bytes:
        at = number - self.columns.first
        # What is before a body, a bracket or a comma, is one byte.
        return self.batch[self.ends[at - 1] + 1 if at else 1 : self.ends[at]]


def _segments_of(db: sqlite3.Connection, numbers: Iterable[int]) -> Iterator[tuple[int, _Segment]]:
    """Each number with its segment, in an order that unpacks each segment once and keeps one at a time."""
    segment: _Segment | None = None
    for number in sorted(numbers):
        if segment is None or number >= segment.columns.first + len(segment.ends):
            segment = _load(db, number)
        yield number, segment


def read_columns(db: sqlite3.Connection, first: int) -> Columns:
    """Of the segment whose first event that is."""
    query = "select first_event, count, kinds, columns from segments where first_event = ?"
    return _columns(*db.execute(query, (first,)).fetchone())


def _columns(first: int, count: int, kinds: bytes, columns: bytes) -> Columns:
    values = struct.unpack(_layout(count), columns)
    return Columns(first, _kinds_decoder.decode(kinds), values[:count], values[count : 2 * count], values[2 * count :])


def _load(db: sqlite3.Connection, number: int) -> _Segment:
    query = "select * from segments where first_event <= ? order by first_event desc limit 1"
    *described, bodies = db.execute(query, (number,)).fetchone()
    columns = _columns(*described)
    ends = list(accumulate(size + 1 for size in columns.sizes))
    return _Segment(columns, ends, unpack(bodies, ends[-1] + 1))


def _row(db: sqlite3.Connection, segment: _Segment, number: int, names: dict[int, str]) -> Row:
    columns, at = segment.columns, number - segment.columns.first
    if columns.places[at] == _GONE:
        return _GONE_ROW
    kind = columns.kinds[columns.places[at]]
    if kind.tenant not in names:
        (names[kind.tenant],) = db.execute("select name from tenants where number = ?", (kind.tenant,)).fetchone()
    body = segment.body(number)
    return Row(names[kind.tenant], kind.source, Content.of(body).id, kind.type, columns.times[at], 0, body)


def _layout(count: int) -> str:
    """Of the columns: times, places of the kinds, sizes."""
    return f"<{count}q{count}I{count}I"


def _cuts(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = before = 0
    for position, total in enumerate(accumulate(sizes)):
        if total - before > _SEGMENT_BYTES and position > start:
            yield start, position
            start, before = position, total - sizes[position]
    yield start, len(sizes)
