"""When two events of one identity are the same event, and which rows of a put are new."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import msgspec

from eventrunner.events.event import content_digest, micros
from eventrunner.storage.event_store import PutReport, Row

__all__ = ["Content", "first_writes", "received_time"]

K = TypeVar("K", bound=Hashable)


class Content(msgspec.Struct):
    """The attributes of a stored body that matter here; usage and the time of receipt may differ on a redelivery."""

    id: str
    source: str = ""
    type: str = ""
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None
    originaldigest: str | None = None
    """Of the content as it came, when a stage has changed it since."""

    @classmethod
    def of(cls, body: bytes) -> Content:
        return _decoder.decode(body)


_decoder = msgspec.json.Decoder(Content)


class _Receipt(msgspec.Struct):
    receivedtime: str | None = None
    time: str | None = None


_receipt_decoder = msgspec.json.Decoder(_Receipt)


def received_time(body: bytes) -> int:
    """In microseconds; the time of the event if nothing says when it was received."""
    receipt = _receipt_decoder.decode(body)
    return micros(receipt.receivedtime or receipt.time or "1970-01-01T00:00:00Z")


def first_writes(
    rows: Sequence[Row], keys: Sequence[K], stored: Callable[[K], Row | None]
) -> tuple[dict[K, Row], PutReport]:
    """The rows to insert, by key, and what to report of all. `stored` gives the event that the store has already."""
    fresh: dict[K, Row] = {}
    duplicates: list[int] = []
    conflicts: list[int] = []
    kept: dict[int, bytes] = {}
    for index, (key, row) in enumerate(zip(keys, rows, strict=True)):
        earlier = stored(key) or fresh.setdefault(key, row)
        if earlier is not row:
            (duplicates if _is_same(earlier, row) else conflicts).append(index)
            kept[index] = earlier.body
    return fresh, PutReport(len(fresh), tuple(duplicates), tuple(conflicts), kept)


def _is_same(earlier: Row, row: Row) -> bool:
    """Whether they agree in identity, type, time and data. The identity is compared too, as a key may be its hash."""
    if earlier[:3] != row[:3]:
        return False
    one, other = Content.of(earlier.body), Content.of(row.body)
    if one.originaldigest or other.originaldigest:
        # Rules or routes may have been changed between two deliveries of one event.
        return _digest(one) == _digest(other)
    # An event without a time of its own is stored under the time of its receipt, which is not content.
    if (one.time is None) != (other.time is None) or (one.time is not None and earlier.time != row.time):
        return False
    return (
        earlier.type == row.type
        and one.data_base64 == other.data_base64
        and _same_json(bytes(one.data), bytes(other.data))
    )


def _digest(content: Content) -> str:
    return content.originaldigest or content_digest(content.type, content.time, content.data, content.data_base64)


def _same_json(first: bytes, second: bytes) -> bool:
    if first == second or not first or not second:
        return first == second
    return bool(msgspec.json.decode(first) == msgspec.json.decode(second))
