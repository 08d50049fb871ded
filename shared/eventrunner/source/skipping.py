"""Room in a stream that tenants' consumers keep full: what only they have not acked goes, the oldest first.

What a durable consumer has not acked stays, and a full stream stops everybody. So one that does not keep up has the
stream to itself only as far as nobody needs the room. The events are in the event store: a replay hands them to the
consumer later. What any other reader has not acked, such as the analytics, is never touched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from nats.aio.client import Client

from eventrunner.clock import Clock, format_time, utc_now
from eventrunner.errors import EventRunnerError, InvalidInput
from eventrunner.source.levels import Level, Reader, surplus_until
from eventrunner.source.metrics import skipped_messages
from eventrunner.source.tenant_consumers import consumer_of_durable, is_tenants_durable
from eventrunner.storage.jetstream import JetStreamApi
from eventrunner.storage.records import CONSUMER_STATUS, SkippedMessages, skipped_key
from eventrunner.storage.registry import Registry
from eventrunner.storage.stream_reader import read_stream

__all__ = ["Skipper"]

_log = logging.getLogger(__name__)
_TOO_FULL: Final = 0.75
_ENOUGH: Final = 0.7
"""Of the stream's bytes: from where on room is made, and how far."""


class Skipper:
    """Of one stream."""

    def __init__(self, client: Client, stream: str, clock: Clock = utc_now) -> None:
        self._client = client
        self._api = JetStreamApi(client)
        self._registry = Registry(client)
        self._stream = stream
        self._clock = clock

    async def look(self, level: Level) -> None:
        """Raises JetStreamError, Unavailable."""
        if level.fill <= _TOO_FULL:
            return
        until = min(_first_protected(level), surplus_until(level, _ENOUGH))
        late = [
            reader
            for reader in level.readers
            if is_tenants_durable(reader.name) and reader.first_unread is not None and reader.first_unread < until
        ]
        for subject in {subject for reader in late for subject in reader.subjects}:
            await self._skip(subject, until, [reader for reader in late if subject in reader.subjects])

    async def _skip(self, subject: str, until: int, late: Sequence[Reader]) -> None:
        kept = await read_stream(self._client, self._stream, subject, sequence=until, most=1, max_bytes=1)
        # What all of them have acked is none of theirs.
        start = min(reader.first_unread or until for reader in late)
        await self._api.request(f"STREAM.PURGE.{self._stream}", {"filter": subject, "seq": start})
        answer = await self._api.request(f"STREAM.PURGE.{self._stream}", {"filter": subject, "seq": until})
        if not (count := int(answer.get("purged", 0))):
            return
        last = kept[0].stored if kept else format_time(self._clock())
        for reader in late:
            _log.warning(
                "%s is too full: %d messages that %s has not acked were removed, of %s to %s",
                self._stream,
                count,
                reader.name,
                reader.since[:19],
                last[:19],
            )
            skipped_messages(reader.name).inc(count)
            await self._note(reader, count, last)

    async def _note(self, reader: Reader, count: int, last: str) -> None:
        key = skipped_key(*consumer_of_durable(reader.name))
        try:
            entry = await self._registry.entry(CONSUMER_STATUS, key)
            noted = _read(entry[0]) if entry is not None else None
            noted = noted or SkippedMessages(0, reader.since)
            noted.messages, noted.last = noted.messages + count, last
            await self._registry.update(CONSUMER_STATUS, key, noted.to_json(), entry[1] if entry is not None else 0)
        except EventRunnerError as error:
            _log.warning("what %s has lost is in no status: %s", reader.name, error)


def _first_protected(level: Level) -> int:
    """The first message that somebody else than a tenant's consumer has not acked."""
    others = [reader for reader in level.readers if not is_tenants_durable(reader.name)]
    return min((item.first_unread for item in others if item.first_unread is not None), default=level.last + 1)


def _read(value: bytes) -> SkippedMessages | None:
    try:
        return SkippedMessages.from_json(value)
    except InvalidInput:
        return None
