"""Which tenants are stopped, see `parking`: kept in a bucket, so that every adapter knows, and one that comes later.

A stop, a release, and every few rounds in which stopped messages come and go are one small write each. What cannot be
written just now is written later; without the bucket each adapter knows what it has seen itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.client import Client

from eventrunner.errors import Conflict, EventRunnerError, InvalidInput
from eventrunner.ids import new_id
from eventrunner.source.spec import SourceSpec
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError
from eventrunner.storage.records import STOPS, Record
from eventrunner.storage.registry import Change, Registry

__all__ = ["SourceStops", "Stop", "Stops"]

_log = logging.getLogger(__name__)

_KNOWN_SECONDS: Final = 2.0
"""A source starts without what the bucket says if it cannot be read by then."""
_NO_BUCKET_SECONDS: Final = 30.0
_RETRY: Final = 0.5
_TIMEOUT: Final = 1.0
_AHEAD: Final = 16
"""Deliveries that are allowed for before they come, so that not each of them is a write."""
_FORGET_SECONDS: Final = 60.0


class Stop(Record):
    """Of one tenant, for one durable consumer."""

    adapter: str
    """Which wrote this."""
    size: int
    """Bytes of the dead letters that were refused last; 0: the tenant is released."""
    deliveries: int
    """So many of a message of the tenant may have been in vain, because it waited."""


class Stops:
    """Of all sources of an adapter. `make_streams` makes missing buckets again."""

    def __init__(self, client: Client, make_streams: Callable[[], Awaitable[None]] | None = None) -> None:
        self.me = new_id()
        self.api = JetStreamApi(client, timeout=_TIMEOUT)
        self.registry = Registry(client)
        self._make_streams = make_streams
        self._watch = self.registry.follow(STOPS, self._changed)
        self._missing = asyncio.Event()
        self._sources: dict[str, SourceStops] = {}

    def of(self, spec: SourceSpec) -> SourceStops:
        """For one run of the source."""
        source = self._sources[f"{spec.stream}.{spec.consumer}"] = SourceStops(self, spec)
        return source

    def forget(self, spec: SourceSpec) -> None:
        """The source runs no more."""
        self._sources.pop(f"{spec.stream}.{spec.consumer}", None)

    def reconnected(self) -> None:
        self.registry.rewatch()

    async def run(self) -> None:
        """Follows what other adapters write. Runs until it is cancelled."""
        while not await self._is_there():
            await asyncio.sleep(_NO_BUCKET_SECONDS if self._missing.is_set() else _RETRY)
        await self._watch.run()

    async def read(self, prefix: str) -> dict[str, Stop]:
        """By what follows the prefix; empty when the bucket cannot be read."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._watch.loaded, self._missing)]
        try:
            await asyncio.wait(waits, timeout=_KNOWN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        found = {key: _read(value) for key, value in self._watch.state.items() if key.startswith(prefix)}
        return {key.removeprefix(prefix): stop for key, stop in found.items() if stop is not None}

    async def _is_there(self) -> bool:
        try:
            await self.api.request(f"STREAM.INFO.KV_{STOPS}")
            return True
        except JetStreamError as error:
            if error.http_code != NOT_FOUND:
                return False
        except EventRunnerError:
            return False
        if self._make_streams is not None:
            with contextlib.suppress(EventRunnerError):
                await self._make_streams()
                self._make_streams = None
                return await self._is_there()
        if not self._missing.is_set():
            _log.warning(
                "there is no bucket %s (run `eventrunner streams apply`): after a kill of this adapter nobody knows "
                "which tenants it had stopped for want of room for their dead letters",
                STOPS,
            )
        self._missing.set()
        return False

    def _changed(self, change: Change) -> None:
        consumer, _, tenant = change.key.rpartition(".")
        source = self._sources.get(consumer)
        if source is not None:
            source.heard(tenant, _read(change.value) if change.value else None)


class SourceStops:
    """What all adapters know of the stopped tenants of one source."""

    def __init__(self, stops: Stops, spec: SourceSpec) -> None:
        self._stops = stops
        self._spec = spec
        self._known: dict[str, Stop] = {}
        self._unwritten: set[str] = set()
        self._marks: dict[str, int] = {}
        """Released tenant → stream sequence up to which messages may have been delivered in vain."""
        self._news: dict[str, Stop | None] = {}
        self.arrived = asyncio.Event()
        """Set when there is news."""

    async def load(self) -> None:
        """For `news`, whoever wrote it."""
        self._news.update(await self._stops.read(self._key("")))

    def deliveries(self, tenant: str) -> int:
        """That say nothing about a message of the tenant."""
        stop = self._known.get(tenant)
        return 0 if stop is None else stop.deliveries

    def heard(self, tenant: str, stop: Stop | None) -> None:
        if stop is not None and stop.adapter == self._stops.me:
            return
        self._news[tenant] = stop
        self.arrived.set()

    def news(self) -> dict[str, Stop | None]:
        """What other adapters have said since this was asked last, by tenant; None: it is forgotten."""
        self.arrived.clear()
        news, self._news = self._news, {}
        for tenant, stop in news.items():
            self._marks.pop(tenant, None)
            if stop is not None:
                deliveries = max(stop.deliveries, self.deliveries(tenant))
                self._known[tenant] = Stop(stop.adapter, stop.size, deliveries)
            elif not self._is_stopped(tenant):
                self._known.pop(tenant, None)
        return news

    async def stop(self, tenant: str, size: int, deliveries: int) -> None:
        """`deliveries`: the most that a message had that waits now."""
        self._marks.pop(tenant, None)
        await self._say(tenant, size, max(deliveries + _AHEAD, self.deliveries(tenant)))

    async def release(self, tenant: str) -> None:
        await self._say(tenant, 0, self.deliveries(tenant))

    async def allow(self, tenant: str, deliveries: int) -> None:
        """Before a message that had so many is sent back to wait."""
        stop = self._known.get(tenant)
        if stop is not None and deliveries >= stop.deliveries:
            await self._say(tenant, stop.size, deliveries + _AHEAD)

    async def keep(self) -> None:
        """Writes what could not be written, and removes what no message can remember. Runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            await asyncio.sleep(_RETRY)
            for tenant in list(self._unwritten):
                await self._write(tenant)
            if loop.time() - looked_at >= _FORGET_SECONDS:
                looked_at = loop.time()
                await self._forget()

    def _is_stopped(self, tenant: str) -> bool:
        stop = self._known.get(tenant)
        return stop is not None and stop.size > 0

    def _key(self, tenant: str) -> str:
        return f"{self._spec.stream}.{self._spec.consumer}.{tenant}"

    async def _say(self, tenant: str, size: int, deliveries: int) -> None:
        self._known[tenant] = Stop(self._stops.me, size, deliveries)
        await self._write(tenant)

    async def _write(self, tenant: str) -> None:
        self._unwritten.add(tenant)
        stop = self._known.get(tenant)
        try:
            if stop is not None:
                async with asyncio.timeout(_TIMEOUT):
                    await self._stops.registry.put(STOPS, self._key(tenant), stop.to_json())
        except (EventRunnerError, TimeoutError) as error:
            _log.debug("%s: cannot note that %s is stopped or goes on: %s", self._spec.name, tenant, error)
        else:
            if self._known.get(tenant) is stop:
                self._unwritten.discard(tenant)

    async def _forget(self) -> None:
        released = [tenant for tenant in self._known if not self._is_stopped(tenant)]
        if not released:
            return
        try:
            info = await self._stops.api.request(f"CONSUMER.INFO.{self._spec.stream}.{self._spec.consumer}")
            acked, delivered = int(info["ack_floor"]["stream_seq"]), int(info["delivered"]["stream_seq"])
            for tenant in released:
                mark = self._marks.setdefault(tenant, delivered)
                # A consumer that has delivered less than before was made anew, and remembers nothing.
                if (acked >= mark or delivered < mark) and await self._remove(tenant):
                    self._marks.pop(tenant, None)
        except EventRunnerError as error:
            _log.debug("%s: cannot forget who was stopped: %s", self._spec.name, error)

    async def _remove(self, tenant: str) -> bool:
        """False when another adapter has written meanwhile, or this one."""
        known, key = self._known.get(tenant), self._key(tenant)
        entry = await self._stops.registry.entry(STOPS, key)
        if entry is not None:
            stop = _read(entry[0])
            if stop is not None and stop.size:
                return False
            try:
                await self._stops.registry.delete(STOPS, key, entry[1])
            except Conflict:
                return False
        if self._known.get(tenant) is not known:
            return False
        self._known.pop(tenant, None)
        return True


def _read(value: bytes) -> Stop | None:
    try:
        stop: Stop = Stop.from_json(value)
    except InvalidInput as error:
        _log.warning("the bucket %s: %s", STOPS, error)
        return None
    return stop
