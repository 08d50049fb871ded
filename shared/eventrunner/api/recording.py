"""The registry as calls write to it: the audit log gets each write with the revisions before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import msgspec

from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import IDEMPOTENCY

__all__ = ["RecordingMirror", "Write", "recorded"]


class Write(msgspec.Struct, frozen=True):
    bucket: str
    before: int | None
    """Revision that was replaced; None if there was none."""
    after: int


_writes: ContextVar[list[Write] | None] = ContextVar("writes", default=None)
_NOT_AUDITED: Final = frozenset({IDEMPOTENCY})


@contextmanager
def recorded() -> Iterator[list[Write]]:
    """What is written in this block by this thread."""
    writes: list[Write] = []
    token = _writes.set(writes)
    try:
        yield writes
    finally:
        _writes.reset(token)


class RecordingMirror(Mirror):
    def put(self, bucket: str, key: str, value: bytes) -> int:
        return _note(bucket, self._revision(bucket, key), super().put(bucket, key, value))

    def create(self, bucket: str, key: str, value: bytes) -> int:
        return _note(bucket, None, super().create(bucket, key, value))

    def update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        return _note(bucket, revision or None, super().update(bucket, key, value, revision))

    def update_among(self, bucket: str, key: str, value: bytes, last: int) -> int:
        return _note(bucket, self._revision(bucket, key), super().update_among(bucket, key, value, last))

    def delete(self, bucket: str, key: str, revision: int | None = None) -> int:
        return _note(bucket, self._before(bucket, key, revision), super().delete(bucket, key, revision))

    def purge(self, bucket: str, key: str, revision: int | None = None) -> int:
        return _note(bucket, self._before(bucket, key, revision), super().purge(bucket, key, revision))

    def _before(self, bucket: str, key: str, revision: int | None) -> int | None:
        return self._revision(bucket, key) if revision is None else revision or None

    def _revision(self, bucket: str, key: str) -> int | None:
        entry = None if bucket in _NOT_AUDITED else self.entry(bucket, key)
        return None if entry is None else entry[1]


def _note(bucket: str, before: int | None, after: int) -> int:
    writes = _writes.get()
    if writes is not None and bucket not in _NOT_AUDITED:
        writes.append(Write(bucket, before, after))
    return after
