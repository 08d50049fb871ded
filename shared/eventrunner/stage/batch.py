"""The unit of work: what one request brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from eventrunner.errors import UnsupportedMedia
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.json_format import join_batch
from eventrunner.events.packing import ENCODING, packed_members, unpack, unpack_frames

__all__ = ["Batch"]

_UNPACK_LIMIT = 64 * 1024 * 1024
"""Bytes of JSON in one request."""
_CHUNK_BYTES = 256 * 1024


class Batch:
    """A JSON batch, decoded when somebody looks at its events."""

    def __init__(self, body: bytes, count: int | None = None, *, packed: bool = False) -> None:
        """`packed`: the body is in zstd."""
        self._body = body
        self._packed = packed
        self._count = count

    @classmethod
    def from_request(cls, headers: Mapping[str, str], body: bytes) -> Batch:
        """Reads any of the three HTTP content modes, plain or in zstd. Raises UnsupportedMedia or InvalidInput."""
        packed = _is_packed(headers.get("Content-Encoding", "identity"))
        media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media == BATCH_TYPE:
            count = headers.get(COUNT_HEADER, "")
            return cls(body, int(count) if count.isascii() and count.isdigit() else None, packed=packed)
        if packed:
            body = unpack(body, _UNPACK_LIMIT)
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
        return decode_batch(unpack(self._body, _UNPACK_LIMIT) if self._packed else self._body)

    def chunks(self) -> Iterator[list[Event]]:
        """The same events, some hundreds at a time where the body allows it, for who is done with each chunk before the
        next: thousands of events at once take three times as long, because they do not fit the processor's caches.

        Raises as `events`.
        """
        members = packed_members(self._body) if self._packed else None
        if members is None:
            yield self.events
            return
        pieces: list[bytes] = []
        size = 0
        for piece in unpack_frames(members, _UNPACK_LIMIT):
            if piece != b",":
                pieces.append(piece)
                size += len(piece)
            if size >= _CHUNK_BYTES:
                yield decode_batch(join_batch(pieces))
                pieces, size = [], 0
        if pieces:
            yield decode_batch(join_batch(pieces))

    @property
    def count(self) -> int:
        return len(self.events) if self._count is None else self._count


def _is_packed(encoding: str) -> bool:
    match encoding.strip().lower():
        case "identity":
            return False
        case "zstd":
            return True
        case other:
            raise UnsupportedMedia(f"Content-Encoding {other}: send {ENCODING} or none.")
