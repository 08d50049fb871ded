"""The unit of work: what one request brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from eventrunner.errors import UnsupportedMedia
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary
from eventrunner.events.costs import charged_batches
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.packing import ENCODING, packed_members, unpack
from eventrunner.events.sections import SECTIONS_HEADER, Section, read_sections

__all__ = ["UNPACK_LIMIT", "Batch", "takes_packed", "unpacked_events"]

UNPACK_LIMIT = 64 * 1024 * 1024
"""Bytes of JSON in one request."""
_CHUNK_BYTES = 256 * 1024


class Batch:
    """A JSON batch, decoded when somebody looks at its events."""

    def __init__(
        self, body: bytes, count: int | None = None, *, packed: bool = False, sections: list[Section] | None = None
    ) -> None:
        """`packed`: the body is in zstd."""
        self._body = body
        self._packed = packed
        self._count = count
        self.authorization = ""
        """The header with which its sender has shown who it is."""
        self.sections = sections
        """The packed events by tenant, for who can pass some on unopened; None when that is not known, or when who
        asks takes no packed reply."""

    @classmethod
    def from_request(cls, headers: Mapping[str, str], body: bytes) -> Batch:
        """Reads any of the three HTTP content modes, plain or in zstd. Raises UnsupportedMedia or InvalidInput."""
        packed = _is_packed(headers.get("Content-Encoding", "identity"))
        media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media == BATCH_TYPE:
            text = headers.get(COUNT_HEADER, "")
            count = int(text) if text.isascii() and text.isdigit() else None
            named = headers.get(SECTIONS_HEADER)
            if not (packed and named and takes_packed(headers)):
                return cls(body, count, packed=packed)
            return cls(body, count, packed=True, sections=read_sections(named, body, packed=True))
        if packed:
            body = unpack(body, UNPACK_LIMIT)
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
        members = self._members()
        if members is not None:
            return unpacked_events(members)
        return decode_batch(unpack(self._body, UNPACK_LIMIT) if self._packed else self._body)

    def chunks(self) -> Iterator[list[Event]]:
        """The same events, some hundreds at a time where the body allows it, for who is done with each chunk before the
        next: thousands of events at once take three times as long, because they do not fit the processor's caches.

        Raises as `events`.
        """
        members = self._members()
        if members is None:
            yield self.events
            return
        chunk: list[Event] = []
        size = 0
        for events, length in charged_batches(members, UNPACK_LIMIT):
            chunk += events
            size += length
            if size >= _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _members(self) -> bytes | None:
        return packed_members(self._body) if self._packed else None

    @property
    def count(self) -> int:
        return len(self.events) if self._count is None else self._count


def unpacked_events(members: bytes) -> list[Event]:
    """The events of packed members. Raises MalformedBody, BodyTooLarge or InvalidInput."""
    return [event for events, _ in charged_batches(members, UNPACK_LIMIT) for event in events]


def takes_packed(headers: Mapping[str, str]) -> bool:
    """Whether the reply may be in zstd."""
    return ENCODING in headers.get("Accept-Encoding", "")


def _is_packed(encoding: str) -> bool:
    match encoding.strip().lower():
        case "identity":
            return False
        case "zstd":
            return True
        case other:
            raise UnsupportedMedia(f"Content-Encoding {other}: send {ENCODING} or none.")
