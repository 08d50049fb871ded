"""Watches over the streams of an adapter: tells how full they are and why, and trims what everybody has read.

A stream that several read keeps its messages whoever has read them. With the metadata `eventrunner.dev/keep-read` those
go that every durable consumer has acked, when they are older than it says, or before that when the stream is half full:
then they would take room from what has not been read. What some durable consumer has not acked is not removed, except
what a tenant's consumer alone has left too long (`source.skipping`); when that fills the stream, what writes to it
waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection
from datetime import timedelta

from nats.aio.client import Client

from eventrunner.clock import format_time, parse_time
from eventrunner.errors import EventRunnerError
from eventrunner.source.levels import Level, read_level, surplus_until
from eventrunner.source.metrics import StreamMetrics
from eventrunner.source.skipping import Skipper
from eventrunner.storage.jetstream import JetStreamApi
from eventrunner.storage.stream_reader import read_stream

__all__ = ["StreamKeeper"]

_log = logging.getLogger(__name__)

_INTERVAL = 5.0
_WARN_SECONDS = 60.0
_FOR_READ = 0.5
"""Of the stream's bytes: no more than that is left to what everybody has read."""


class StreamKeeper:
    """Of one stream; `sources` are the durable consumers that must be there before anything is trimmed."""

    def __init__(self, client: Client, stream: str, sources: Collection[str]) -> None:
        self._client = client
        self._api = JetStreamApi(client)
        self._stream = stream
        self._sources = frozenset(sources)
        self._metrics = StreamMetrics(stream)
        self._skipper = Skipper(client, stream)
        self._warned_at = -math.inf

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.look()
            except EventRunnerError as error:
                _log.debug("%s cannot be looked at: %s", self._stream, error)
            except Exception:
                _log.exception("%s cannot be looked at", self._stream)

    async def look(self) -> None:
        """Raises JetStreamError, Unavailable."""
        level = await read_level(self._api, self._stream)
        self._metrics.show(level)
        self._warn(level)
        if level.keep_read is not None and self._sources <= {reader.name for reader in level.readers}:
            await self._trim(level, level.keep_read)
            await self._skipper.look(level)

    def _warn(self, level: Level) -> None:
        now = asyncio.get_running_loop().time()
        if level.is_nearly_full and now - self._warned_at >= _WARN_SECONDS:
            self._warned_at = now
            _log.warning("%s", *level.problems())

    async def _trim(self, level: Level, keep: int) -> None:
        if not level.messages or level.first_unread <= level.first:
            return
        wanted = max(surplus_until(level, _FOR_READ), await self._too_old(level, keep))
        until = min(level.first_unread, wanted)
        if until > level.first:
            answer = await self._api.request(f"STREAM.PURGE.{self._stream}", {"seq": until})
            self._metrics.trimmed.inc(int(answer.get("purged", 0)))

    async def _too_old(self, level: Level, keep: int) -> int:
        """The first sequence that is not."""
        since = format_time(parse_time(level.at) - timedelta(microseconds=keep / 1000))
        found = await read_stream(self._client, self._stream, ">", since=since, most=1, max_bytes=1)
        return found[0].sequence if found else level.last + 1
