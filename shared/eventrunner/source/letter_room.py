"""How much of DEADLETTER a tenant may fill: as much as is left for all others.

So one tenant alone may fill half of the stream, two of them two thirds together, and there is always room for one that
comes new. While the stream is less than a third full nobody can have more than half of its share, and nothing is
counted. Then the bytes of the tenants whose letters come are: once by the sizes of all of them, from then on by what is
added here and by how many there are. What another adapter adds is not known here for a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.errors import Unavailable
from eventrunner.source.metrics import LetterMetrics
from eventrunner.source.publication import Publication
from eventrunner.storage.full_letters import FULL_LETTERS_SECONDS, FULL_LETTERS_SUBJECT, FullLetters
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError
from eventrunner.storage.message_sizes import subject_bytes
from eventrunner.tenancy import DEADLETTER_STREAM, deadletter_subject, is_letter, tenant_of_subject

__all__ = ["LetterRoom"]

_log = logging.getLogger(__name__)

_UNCOUNTED = 1 / 3
"""Of the stream: below it nobody can be over its share, nor near it."""
_NEAR = 0.5
"""Of its share: from there on ingest takes no more of a tenant, so that what is under way already finds room."""
_AGAIN = 0.9
"""Of its share: a tenant that was stopped has to get below it."""
_AT_ONCE = 0.25
"""Of the stream: no request makes larger letters of one tenant."""
_STALE = 1.0
_RECOUNT = 5.0
_RECOUNT_LETTER = 0.5e-3
"""Seconds between two counts of one tenant's letters, and for each of these letters, so that counting takes a twentieth
of the time at most."""
_OVERHEAD = 46
"""Of a message in the file."""


@dataclass(slots=True)
class _Letters:
    """Of one tenant."""

    count: int = 0
    bytes: int = 0
    is_exact: bool = True
    """False when some came or went unseen since all were counted."""
    counted_at: float = -math.inf
    seen_at: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def should_be_counted(self, now: float) -> bool:
        return not self.is_exact and now - self.counted_at >= max(_RECOUNT, self.count * _RECOUNT_LETTER)


class LetterRoom:
    """For all sources of an adapter."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._api = JetStreamApi(client)
        self._tenants: dict[str, _Letters] = {}
        self._bytes = self._max_bytes = 0
        self._seen_at = -math.inf
        self._metrics = LetterMetrics()

    async def refused(
        self, letters: Sequence[Publication], always: Callable[[str], bool] = lambda _: False
    ) -> dict[str, int]:
        """The tenants whose letters must not be stored now, and the bytes of these letters. The others', and those of
        the tenants for which `always` says so, are counted as stored. Nobody is refused while nothing can be told."""
        refused: dict[str, int] = {}
        counts = Counter(tenant_of_subject(letter.subject) for letter in filter(_is_letter, letters))
        for tenant, size in _sizes(letters).items():
            if await self._admits(tenant, size) or always(tenant):
                self._add(tenant, counts[tenant], size)
            else:
                refused[tenant] = size
        return refused

    async def are_too_many(self, letters: Sequence[Publication]) -> bool:
        """Whether those of one tenant would take so much at once that they might never be admitted."""
        tenant, size = max(_sizes(letters).items(), key=lambda item: item[1], default=("", 0))
        if not size:
            return False
        await self._look(tenant)
        return 0 < self._max_bytes * _AT_ONCE < size

    async def has_room(self, tenant: str, size: int) -> bool:
        """Whether a tenant that was refused, at last with letters of that size, may go on."""
        known = await self._look(tenant)
        if not self._max_bytes:
            return True
        return size <= self._free and (known is None or known.bytes <= _AGAIN * self._free)

    async def run(self) -> None:
        """Tells ingest who has hardly any room left. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(FULL_LETTERS_SECONDS)
            full = await self._full()
            self._metrics.show({tenant: known.bytes for tenant, known in self._tenants.items()}, self._free)
            if full:
                try:
                    await self._client.publish(FULL_LETTERS_SUBJECT, FullLetters(full).encode())
                except (NatsError, OSError) as error:
                    _log.debug("cannot tell whose dead letters are full: %r", error)

    @property
    def _is_roomy(self) -> bool:
        return not self._max_bytes or self._bytes <= _UNCOUNTED * self._max_bytes

    @property
    def _free(self) -> int:
        return max(0, self._max_bytes - self._bytes)

    def _add(self, tenant: str, count: int, size: int) -> None:
        self._bytes += size
        known = self._tenants.get(tenant)
        if known is not None:
            known.count, known.bytes = known.count + count, known.bytes + size

    async def _admits(self, tenant: str, size: int) -> bool:
        known = await self._look(tenant)
        if not self._max_bytes:
            return True
        # As with a quota, the last letters may go beyond the share, so that those of a large request fit at all.
        return size <= self._free and (known is None or known.bytes < self._free)

    async def _full(self) -> dict[str, int]:
        if self._is_roomy:
            self._tenants.clear()
        full = {}
        for tenant in list(self._tenants):
            if self._tenants[tenant].bytes <= _NEAR / 2 * self._free:
                continue
            known = await self._look(tenant)
            if known is not None and known.bytes > _NEAR * self._free:
                full[tenant] = known.bytes
        return full

    async def _look(self, tenant: str) -> _Letters | None:
        """What the tenant has; None while that need not be known, or cannot be."""
        now = asyncio.get_running_loop().time()
        if now - self._seen_at < _STALE and self._is_roomy:
            return None
        known = self._tenants.setdefault(tenant, _Letters())
        async with known.lock:
            try:
                if now - known.seen_at >= _STALE:
                    await self._refresh(tenant, known, now)
                if self._is_roomy:
                    return None
                if known.should_be_counted(now):
                    await self._count(tenant, known)
                    known.counted_at = now
            except JetStreamError as error:
                # There is no stream, which is not for want of room.
                _log.debug("the dead letters of %s cannot be counted: %s", tenant, error)
                self._max_bytes = 0
                return None
            except Unavailable as error:
                # What was known before is better than nothing.
                _log.debug("the dead letters of %s cannot be counted: %s", tenant, error)
        return known

    async def _refresh(self, tenant: str, known: _Letters, now: float) -> None:
        subject = {"subjects_filter": deadletter_subject("*", tenant)}
        info = await self._api.request(f"STREAM.INFO.{DEADLETTER_STREAM}", subject)
        state: dict[str, Any] = info["state"]
        self._max_bytes, self._bytes = max(0, int(info["config"].get("max_bytes", 0))), int(state["bytes"])
        self._seen_at = known.seen_at = now
        count = sum((state.get("subjects") or {}).values())
        # What somebody else has added or removed is taken for average letters until all are counted again.
        known.bytes = known.bytes * count // known.count if known.count else 0
        known.is_exact = not count or (known.is_exact and count == known.count)
        known.count = count

    async def _count(self, tenant: str, known: _Letters) -> None:
        subject = deadletter_subject("*", tenant)
        known.count, known.bytes = await subject_bytes(self._client, DEADLETTER_STREAM, subject)
        known.is_exact = True


def _is_letter(publication: Publication) -> bool:
    """A source may have its dead letters elsewhere, where nobody is counted."""
    return is_letter(publication.subject)


def _sizes(letters: Iterable[Publication]) -> Mapping[str, int]:
    """Bytes by tenant."""
    sizes: Counter[str] = Counter()
    for letter in filter(_is_letter, letters):
        sizes[tenant_of_subject(letter.subject)] += _size(letter)
    return sizes


def _size(letter: Publication) -> int:
    headers = sum(len(name) + len(value) + 4 for name, value in letter.headers.items())
    return len(letter.subject) + headers + len(letter.body) + _OVERHEAD
