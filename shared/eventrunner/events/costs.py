"""What a stage spent on events, written beside them where they are packed.

A stage that passes packed events on would have to open them only to write its share into each. So it puts a note before
them, which says how many of the bytes that follow it is about and what each event there cost. Notes lie within one
another when several stages did so. Whoever decodes the events adds them up; to any other zstd decoder they are nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eventrunner.events.event import Event
from eventrunner.events.json_format import decode_batch, encode_batch
from eventrunner.events.packing import Frame, frames, note, packed_members, unpack

__all__ = ["Cost", "add_cost", "charge", "charged_batch", "charged_batches", "charged_text"]

_TAG = b"cost"
_LAYOUT = struct.Struct("<4sIII")
_INT_MAX = 2**31 - 1
"""The largest value of an attribute in CloudEvents."""


class Cost(NamedTuple):
    """Of each event, by equal share."""

    cpu: int = 0
    """Nanoseconds."""
    memory: int = 0
    """KiB·milliseconds."""


def add_cost(events: Iterable[Event], cost: Cost) -> None:
    """Writes the cost into the events."""
    cpu, memory = cost
    for event in events:
        # Not min(), which would be dearer than all the rest.
        total = event.usagecpu + cpu
        event.usagecpu = total if total < _INT_MAX else _INT_MAX
        total = event.usagemem + memory
        event.usagemem = total if total < _INT_MAX else _INT_MAX


def charge(members: bytes, cost: Cost) -> bytes:
    """The packed members with the cost of each beside them."""
    return note(_LAYOUT.pack(_TAG, len(members), min(cost.cpu, _INT_MAX), min(cost.memory, _INT_MAX))) + members


def charged_batches(members: bytes, limit: int) -> Iterator[tuple[list[Event], int]]:
    """The events of packed members, frame by frame, with the cost in them, and the bytes of JSON that they came in.

    Raises BodyTooLarge beyond `limit` bytes of JSON in all, MalformedBody and InvalidInput as `decode_batch`.
    """
    notes: list[tuple[int, Cost]] = []
    for frame in frames(members, limit):
        if frame.is_note:
            notes += _read(frame)
        elif frame.content != b",":
            events = decode_batch(b"[" + frame.content + b"]")
            if notes:
                start = frame.end - 1
                notes = [(end, cost) for end, cost in notes if end > start]
                add_cost(events, Cost(*map(sum, zip(Cost(), *(cost for _, cost in notes), strict=True))))
            yield events, len(frame.content)


def charged_text(members: bytes, limit: int) -> bytes:
    """The JSON of packed members, with the cost in the events. Raises as `charged_batches`."""
    if _TAG not in members:
        return unpack(members, limit)
    return b",".join(encode_batch(events)[1:-1] for events, _ in charged_batches(members, limit))


def charged_batch(batch: bytes, limit: int) -> bytes:
    """The JSON of a packed batch, whoever packed it, with the cost in the events. Raises as `charged_batches`."""
    members = packed_members(batch)
    return unpack(batch, limit) if members is None else b"[" + charged_text(members, limit) + b"]"


def _read(frame: Frame) -> list[tuple[int, Cost]]:
    """Up to which byte, and how much; nothing for a note of somebody else's."""
    if len(frame.content) != _LAYOUT.size:
        return []
    tag, covered, cpu, memory = _LAYOUT.unpack(frame.content)
    return [(frame.end + covered, Cost(cpu, memory))] if tag == _TAG else []
