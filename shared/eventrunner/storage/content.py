"""What of an event decides whether two of one identity are the same event."""

from __future__ import annotations

import msgspec

__all__ = ["Content", "same_content"]


class Content(msgspec.Struct):
    """The attributes of a stored body that matter here; usage and the time of receipt may differ on a redelivery."""

    id: str
    source: str
    type: str
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None

    @classmethod
    def of(cls, body: bytes) -> Content:
        return _decoder.decode(body)


_decoder = msgspec.json.Decoder(Content)


def same_content(first: bytes, first_time: int, second: bytes, second_time: int) -> bool:
    """Whether two bodies of one identity agree in type, time and data. An event without a time of its own is stored
    under the time of its receipt, which says nothing about its content."""
    one, other = Content.of(first), Content.of(second)
    if one.type != other.type or (one.time is None) != (other.time is None):
        return False
    if one.time is not None and first_time != second_time:
        return False
    return one.data_base64 == other.data_base64 and _same_json(bytes(one.data), bytes(other.data))


def _same_json(first: bytes, second: bytes) -> bool:
    if first == second or not first or not second:
        return first == second
    return bool(msgspec.json.decode(first) == msgspec.json.decode(second))
