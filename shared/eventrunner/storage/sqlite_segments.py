"""The bodies of events in SQLite: those of one put together, packed.

A row of its own for each body costs three times what the packed segment does, in the write-ahead log and again in the
checkpoint, and fifteen times the space.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from eventrunner.events.json_format import join_batch, split_batch
from eventrunner.events.packing import pack, unpack
from eventrunner.storage.content import Content
from eventrunner.storage.event_store import Row

__all__ = ["Segments", "append", "next_number"]

_SEGMENT_BYTES = 1024 * 1024
"""Of JSON, so that whoever wants one event never unpacks much more."""
_UNPACK_LIMIT = 2**31
_TIME_BYTES = 8


def next_number(db: sqlite3.Connection) -> int:
    """The number of the next event that is stored."""
    query = "select first_event, length(times) from segments order by first_event desc limit 1"
    row = db.execute(query).fetchone()
    return 1 if row is None else int(row[0]) + int(row[1]) // _TIME_BYTES


def append(db: sqlite3.Connection, first: int, rows: Sequence[Row]) -> None:
    for start, end in _cuts(rows):
        segment = rows[start:end]
        times = array("q", [row.time for row in segment]).tobytes()
        bodies = pack(join_batch([row.body for row in segment]))
        db.execute("insert into segments values (?, ?, ?)", (first + start, times, bodies))


class _Segment(NamedTuple):
    first: int
    times: array[int]
    bodies: list[msgspec.Raw]


class Segments:
    """Reads events by number, each segment once. For one snapshot."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._read: list[_Segment] = []

    def body(self, number: int) -> bytes:
        segment = self._of(number)
        return bytes(segment.bodies[number - segment.first])

    def row(self, number: int) -> Row:
        """Without the time of receipt."""
        segment, body = self._of(number), self.body(number)
        content = Content.of(body)
        time = segment.times[number - segment.first]
        return Row(content.tenantid, content.source, content.id, content.type, time, 0, body)

    def _of(self, number: int) -> _Segment:
        for segment in reversed(self._read):
            if segment.first <= number < segment.first + len(segment.bodies):
                return segment
        query = (
            "select first_event, times, bodies from segments where first_event <= ? order by first_event desc limit 1"
        )
        first, times, packed = self._db.execute(query, (number,)).fetchone()
        segment = _Segment(first, array("q", times), split_batch(unpack(packed, _UNPACK_LIMIT)))
        self._read.append(segment)
        return segment


def _cuts(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for position, row in enumerate(rows):
        size += len(row.body)
        if size > _SEGMENT_BYTES and position > start:
            yield start, position
            start, size = position, len(row.body)
    yield start, len(rows)
