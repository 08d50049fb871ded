"""One source: asks the stream for messages, makes parcels of them, and keeps what is held from being redelivered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import EventRunnerError, InvalidInput
from eventrunner.source.buffer import Buffer
from eventrunner.source.consumer import ACK_WAIT, ensure_consumer
from eventrunner.source.courier import Courier
from eventrunner.source.fence import Fence
from eventrunner.source.intake import LOW, Demand, Held, parts_of
from eventrunner.source.letter_room import LetterRoom
from eventrunner.source.message import Message, Parcel, Part, read_message
from eventrunner.source.metrics import SourceMetrics
from eventrunner.source.overtaking import Overtaking
from eventrunner.source.parking import Parking
from eventrunner.source.pin import Pin, PinLost
from eventrunner.source.publisher import Publisher
from eventrunner.source.sink import HttpSink, Sink
from eventrunner.source.spec import Compression, Format, Ordering, SourceSpec
from eventrunner.source.stops import Stops
from eventrunner.storage.jetstream import NOT_FOUND, JetStreamApi, JetStreamError
from eventrunner.storage.pull import PullEnded, PullSubscription

__all__ = ["Links", "SourceRunner"]

_log = logging.getLogger(__name__)

_GRACE = 20.0
"""Seconds that requests under way get to end after SIGTERM; Kubernetes allows 30 in all."""
_GRACE_WITHOUT_PIN = 2.0
"""The same when another adapter is to take over an ordered source: it waits for what is under way here."""
_UNREAD = 10
"""More deliveries, and a message that was given up is not even read, as that may be what kills the adapters."""
_PAUSE_MAX = 0.5
_API_TIMEOUT = 1.0
"""Short, because what was asked of a server that has died is not answered by the next leader."""


@dataclass(frozen=True, slots=True)
class Links:
    """What a source works with besides its spec."""

    client: Client
    publisher: Publisher
    room: LetterRoom
    stops: Stops
    sink: Sink
    reply_sink: HttpSink | None = None
    """For a reply that is a Destination."""
    make_streams: Callable[[], Awaitable[None]] | None = None
    """Makes missing streams again."""


class SourceRunner:
    def __init__(self, spec: SourceSpec, links: Links) -> None:
        self._spec = spec
        self._links = links
        self._api = JetStreamApi(links.client, timeout=_API_TIMEOUT)
        self._metrics = SourceMetrics(spec.name)
        self._held = Held(links.client, self._api, spec)
        limits = spec.batch if spec.format is Format.BATCH else replace(spec.batch, max_events=1)
        self._buffer = Buffer(limits, spec.ordering, mixed=spec.reply is None or spec.compression is Compression.ZSTD)
        self._pin: Pin | None = None
        self._fence: Fence | None = None
        if spec.ordering is Ordering.BY_TENANT:
            self._pin = Pin(links.client, self._api, spec)
            self._fence = Fence(self._api, spec, self._held, self._parked, self._fence_moved)
        more = dict[str, str] if self._pin is None else self._pin.members
        self._pull = PullSubscription(links.client, self._receive, self._pull_ended, more=more)
        self._arrived = asyncio.Event()
        self._ask = asyncio.Event()
        self._no_consumer = True
        self._too_large = False
        self._stops = links.stops.of(spec)
        self._parking = Parking(
            spec, links.room, self._held, self._metrics, self._stops, self._take_back, self._close_fence
        )
        self._overtaking = Overtaking(
            self._api,
            spec,
            self._held,
            self._take,
            lambda: self._fenced,
            lambda: links.sink.health.down,
            self._parking.is_stopped,
        )
        self._courier = Courier(
            spec,
            links.sink,
            links.reply_sink,
            links.publisher,
            links.room,
            self._held,
            self._parking,
            self._metrics,
            self._ask.set,
            self._done,
            self._pin,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and all is finished or given back. Raises PinLost when that is so because
        another adapter is to go on, and what should not be possible."""
        await self._parking.load()
        self._ask.set()
        stop = asyncio.create_task(stopping.wait())
        works: list[asyncio.Task[Any]] = [
            stop,
            asyncio.create_task(self._keep_asking()),
            asyncio.create_task(self._keep_sending()),
            asyncio.create_task(self._overtaking.run()),
            asyncio.create_task(self._parking.run()),
            asyncio.create_task(self._stops.keep()),
        ]
        if self._fence is not None:
            works.append(asyncio.create_task(self._fence.run()))
        keeping = asyncio.create_task(self._keep_held())
        grace = 0.0
        try:
            done, _ = await asyncio.wait([*works, keeping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            grace = _GRACE
        except PinLost:
            grace = _GRACE_WITHOUT_PIN
            raise
        finally:
            await _cancel(works)
            await self._pull.stop()
            await self._held.give_back(self._buffer.clear())
            await self._courier.leave(_GRACE if stopping.is_set() else grace)
            await self._parking.give_back_all()
            if self._pin is not None:
                await self._pin.release()
            await _cancel([keeping])

    def disconnected(self) -> None:
        """The server may have ended, and with it what it knew of this adapter."""
        if self._pin is not None:
            self._pin.doubt()

    def reconnected(self) -> None:
        """The server knows nothing of what was asked before."""
        self._pull.forget()
        self._no_consumer = True
        self._ask.set()

    @property
    def _fenced(self) -> bool:
        return self._fence is not None and self._fence.closed

    def _parked(self) -> list[int]:
        return self._parking.sequences()

    def _close_fence(self) -> None:
        if self._fence is not None:
            self._fence.close()

    def _fence_moved(self) -> None:
        self._arrived.set()
        self._ask.set()

    async def _keep_asking(self) -> None:
        while True:
            await self._ask.wait()
            self._ask.clear()
            if self._no_consumer:
                await self._find_consumer()
            demand = self._demand()
            if demand is None:
                continue
            self._too_large = False
            try:
                await self._pull.request(demand.messages, demand.max_bytes)
            except (NatsError, OSError) as error:
                _log.debug("%s: cannot ask for messages: %r", self._spec.name, error)
                self.reconnected()
                await asyncio.sleep(_PAUSE_MAX)

    def _demand(self) -> Demand | None:
        waiting = self._pull.waiting
        if self._pin is not None and not self._pin.ours:
            return None if waiting else Demand(1, 0)
        if self._fence is not None and self._fence.closed:
            return self._fence.demand(waiting)
        return self._held.demand(waiting, self._pull.waiting_bytes, too_large=self._too_large)

    async def _find_consumer(self) -> None:
        pause = 0.1
        while True:
            try:
                await ensure_consumer(self._api, self._spec)
                await self._pull.start(self._spec.stream, self._spec.consumer)
                self._no_consumer = False
                return
            except JetStreamError as error:
                _log.warning("%s: no consumer yet: %s", self._spec.name, error)
                if error.http_code == NOT_FOUND:
                    await self._make_streams()
            except (EventRunnerError, NatsError, OSError) as error:
                _log.warning("%s: no consumer yet: %s", self._spec.name, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MAX)

    async def _make_streams(self) -> None:
        if self._links.make_streams is None:
            return
        try:
            await self._links.make_streams()
        except EventRunnerError as error:
            _log.warning("%s: cannot make the streams: %s", self._spec.name, error)

    def _pull_ended(self, end: PullEnded) -> None:
        self._no_consumer |= end.consumer_gone
        self._too_large |= end.too_large
        if end.unpinned and self._pin is not None:
            self._pin.refused()
        self._ask.set()

    def _receive(self, received: Msg) -> None:
        message = read_message(received)
        if self._pin is not None and self._fence is not None:
            self._pin.received(received)
            self._fence.received(message)
        if message.deliveries > 1:
            self._metrics.redelivered.inc()
        self._take(message)
        if self._pull.waiting < LOW:
            self._ask.set()

    def _take(self, message: Message) -> None:
        if not self._held.add(message, asyncio.get_running_loop().time()):
            return
        if self._parking.is_stopped(message.tenant) and message.only in ("", self._spec.consumer):
            self._courier.park(message)
            return
        parts = self._read(message)
        if message.problem:
            self._courier.bury(message)
        elif not parts:
            self._courier.ack(message)
        elif self._excess(message) > 0:
            message.open = len(parts)
            self._courier.give_up(parts, _given_up(message))
        else:
            message.open = len(parts)
            for part in parts:
                self._buffer.add(part)
            self._arrived.set()

    def _excess(self, message: Message) -> int:
        """Deliveries beyond those that a message may have before it is given up."""
        return message.deliveries - self._spec.delivery.max_deliver - self._parking.in_vain(message.tenant)

    def _read(self, message: Message) -> Sequence[Part]:
        """The parts to send; notes in the message why it cannot be sent."""
        if message.only not in ("", self._spec.consumer):
            # A replay for another one, who is also the one to judge it.
            message.problem = ""
            return ()
        if not message.count or self._held.was_settled(message):
            return ()
        if self._excess(message) > _UNREAD:
            message.problem = _given_up(message)
        if message.problem:
            return ()
        try:
            parts = parts_of(message, self._spec)
        except InvalidInput as error:
            message.problem = str(error)
            return ()
        if self._spec.filters is not None:
            self._metrics.filtered.inc(message.count - sum(part.count for part in parts))
        return parts

    def _take_back(self, tenant: str) -> list[Message]:
        return [part.message for part in self._buffer.remove(tenant)]

    async def _keep_sending(self) -> None:
        while True:
            await self._ready_to_send()
            # Only now, because a place held while nothing comes would be lacking to what is sent again.
            await self._courier.window.acquire()
            if self._fenced or not self._buffer.ready:
                self._courier.window.release()
                continue
            if self._courier.is_probing:
                # What is taken now would be sent before what comes while the sink is away, whosoever that is.
                self._courier.window.release()
                await self._links.sink.health.change()
                continue
            is_away = self._links.sink.health.down
            parcel = Parcel(self._buffer.take_few() if is_away else self._buffer.take())
            self._metrics.lag.set(self._held.pending)
            self._metrics.held.set(len(self._held))
            self._courier.send(parcel)

    async def _ready_to_send(self) -> None:
        """Returns when something has arrived, nothing before it is missing, and the linger is over."""
        while not self._buffer.ready or self._fenced:
            self._arrived.clear()
            await self._arrived.wait()
        if linger := self._spec.batch.linger:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger):
                    while not self._buffer.full:
                        self._arrived.clear()
                        await self._arrived.wait()

    def _done(self, tenants: Iterable[str]) -> None:
        self._buffer.done(tenants)
        self._arrived.set()

    async def _keep_held(self) -> None:
        """In-progress acks: the server hears of a message after half of its ack wait, at the latest after 5/8 of it.
        Raises PinLost."""
        while True:
            await (asyncio.sleep(ACK_WAIT / 4) if self._pin is None else self._pin.pause(ACK_WAIT / 4))
            now = asyncio.get_running_loop().time()
            await self._held.keep(now, ACK_WAIT * 3 / 8)
            if self._pin is not None:
                await self._pin.confirm(now)


def _given_up(message: Message) -> str:
    return f"delivered {message.deliveries} times without any outcome"


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Until each has ended: up to Python 3.11 a request to NATS can swallow a cancellation
    (https://github.com/python/cpython/issues/86296)."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.5)
