"""The unit of work: what one request brings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from eventrunner.errors import UnsupportedMedia
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.packing import ENCODING, unpack

__all__ = ["Batch"]

_UNPACK_LIMIT = 64 * 1024 * 1024
"""Bytes of JSON in one request."""


class Batch:
    """A JSON batch, decoded when somebody looks at its events."""

    def __init__(self, body: bytes, count: int | None = None) -> None:
        self.body = body
        """The events as a JSON array."""
        self._count = count

    @classmethod
    def from_request(cls, headers: Mapping[str, str], body: bytes) -> Batch:
        """Reads any of the three HTTP content modes, plain or in zstd. Raises UnsupportedMedia or InvalidInput."""
        body = _decoded(headers.get("Content-Encoding", "identity"), body)
        media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media == BATCH_TYPE:
            count = headers.get(COUNT_HEADER, "")
            return cls(body, int(count) if count.isascii() and count.isdigit() else None)
        if media == STRUCTURED_TYPE:
            return cls(b"[" + body + b"]", 1)
        if is_binary(headers.keys()):
            return cls(encode_batch([read_binary(headers, body)]), 1)
        raise UnsupportedMedia(
            f"Content type {media or 'missing'}: send {BATCH_TYPE}, {STRUCTURED_TYPE} or a binary-mode CloudEvent."
        )

    @cached_property
    def events(self) -> list[Event]:
        """Raises MalformedBody or InvalidInput when the body is no batch of CloudEvents."""
        return decode_batch(self.body)

    @property
    def count(self) -> int:
        return len(self.events) if self._count is None else self._count


def _decoded(encoding: str, body: bytes) -> bytes:
    match encoding.strip().lower():
        case "identity":
            return body
        case "zstd":
            return unpack(body, _UNPACK_LIMIT)
        case other:
            raise UnsupportedMedia(f"Content-Encoding {other}: send {ENCODING} or none.")
