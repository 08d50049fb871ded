"""The unit of work: what one request brings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from eventrunner.errors import UnsupportedMedia
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.events.binary import BATCH_TYPE, STRUCTURED_TYPE, is_binary, read_binary

__all__ = ["Batch"]


class Batch:
    """A JSON batch, decoded when somebody looks at its events."""

    def __init__(self, body: bytes, count: int | None = None) -> None:
        self.body = body
        """The events as a JSON array."""
        self._count = count

    @classmethod
    def from_request(cls, headers: Mapping[str, str], body: bytes) -> Batch:
        """Reads any of the three HTTP content modes. Raises UnsupportedMedia or InvalidInput."""
        media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media == BATCH_TYPE:
            count = headers.get("Eventrunner-Count", "")
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
