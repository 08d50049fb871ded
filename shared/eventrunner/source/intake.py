"""From what the server sends to what waits for a request: reading, filtering, holding and letting go of messages."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from eventrunner.errors import EventRunnerError, MalformedBody
from eventrunner.source.filters import All
from eventrunner.source.message import Message, Part
from eventrunner.source.spec import Format, Ordering, SourceSpec
from eventrunner.storage.jetstream import JetStreamApi

__all__ = ["LOW", "Demand", "Held", "parts_of"]

_log = logging.getLogger(__name__)

_SPARE_REQUESTS = 2
"""Requests' worth of events and bytes that are held besides those in flight."""
_MORE_REQUESTS, _MORE_EVENTS = 8, 16_384
"""So many requests' worth of events, but not more events, are held where they are small: of many tenants that send
as much, requests are then of one or two, and so is what has to be published of each reply."""
_IDLE = 32
"""Messages that are asked for beyond those known to wait. Not as many as there is room for: a request stays open until
it is filled, and if a few small messages are followed by a thousand large ones, they would all come."""
LOW = _IDLE // 2
"""Messages still to come, below which it is time to ask for more."""
_REMEMBERED = 4096
_ACK, _NAK, _WORKING = b"+ACK", b"-NAK", b"+WPI"

_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parts_of(message: Message, spec: SourceSpec) -> list[Part]:
    """What of the message is to be sent; single events when the sink wants them so. Raises MalformedBody."""
    part = Part.of(message)
    if spec.filters is None and (spec.format is Format.BATCH or message.count == 1):
        return [part]
    parts = part.split()
    if spec.filters is not None:
        parts = [item for item in parts if _passes(spec.filters, item.members)]
    return parts


def _passes(filters: All, event: bytes) -> bool:
    try:
        members = _attributes.decode(event)
        attributes = {name: str(msgspec.json.decode(raw)) for name, raw in members.items() if name != "data"}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The message holds something that is no event: {error}.") from error
    return filters(attributes)


@dataclass(frozen=True, slots=True)
class Demand:
    messages: int
    max_bytes: int
    """0: no limit."""


class Held:
    """The messages that are pulled and neither acked nor given back, and how many more may come."""

    def __init__(self, client: Client, api: JetStreamApi, spec: SourceSpec) -> None:
        self._client = client
        self._api = api
        self._remove = f"STREAM.MSG.DELETE.{spec.stream}"
        self._remember_all = spec.ordering is Ordering.BY_TENANT
        self._settled: dict[str, None] = {}
        """Keys of the last messages that were settled by removing them; in an ordered source, where a message that
        comes again because its ack was lost would come behind later ones, of all messages."""
        self._messages: dict[str, Message] = {}
        self._by_tenant: Counter[str] = Counter()
        """Events."""
        self.events = 0
        self._bytes = 0
        self.settled = 0
        """Messages that were acked or given back so far."""
        more = min(spec.batch.max_events * _MORE_REQUESTS, _MORE_EVENTS)
        self.max_events = spec.batch.max_events * spec.in_flight + max(spec.batch.max_events * _SPARE_REQUESTS, more)
        self._max_bytes = spec.batch.max_bytes * (spec.in_flight + _SPARE_REQUESTS)
        self._events_per_message = 1.0
        self.pending = 0
        """Messages behind the one that the consumer delivered last."""
        self._last_stored = "0"

    def __len__(self) -> int:
        return len(self._messages)

    def events_of(self, tenant: str) -> int:
        return self._by_tenant[tenant]

    def events_of_largest(self, tenants: int) -> int:
        """Of so many tenants that hold the most."""
        return sum(events for _, events in self._by_tenant.most_common(tenants))

    @property
    def last_stored(self) -> int:
        """When the message that the consumer delivered last was stored, in nanoseconds since the epoch."""
        return int(self._last_stored)

    def add(self, message: Message, now: float) -> bool:
        """False when it is held already: a redelivery, whose ack then counts."""
        if message.ack_subject:
            self.pending, self._last_stored = int(message.pending), message.stored
        known = self._messages.get(message.key)
        if known is not None:
            if message.ack_subject:
                known.ack_subject, known.touched = message.ack_subject, now
            return False
        message.touched = now
        self._messages[message.key] = message
        self.events += message.count
        self._bytes += message.size
        self._by_tenant[message.tenant] += message.count
        self._events_per_message += (message.count - self._events_per_message) / 16
        return True

    def delivered(self) -> list[int]:
        """Stream sequences of the messages that the consumer has delivered."""
        return [int(message.sequence) for message in self._messages.values() if message.ack_subject]

    def was_settled(self, message: Message) -> bool:
        """Whether it was settled before its consumer delivered it, or delivered it again."""
        return message.key in self._settled

    def demand(self, waiting: int, waiting_bytes: int, *, too_large: bool) -> Demand | None:
        """What to ask for, besides what has been asked for; None when that is too little to be worth a request."""
        if too_large:
            # The next message is larger than a request may be: it comes alone.
            return None if self._messages else Demand(1, 0)
        per_message = max(1.0, self._events_per_message)
        room = int((self.max_events - self.events) / per_message) - waiting
        free = self._max_bytes - self._bytes - waiting_bytes
        wanted = min(room, max(_IDLE, self.pending) - waiting)
        if not self._messages and not waiting:
            return Demand(max(1, wanted), self._max_bytes)
        worth = max(1, int(self.max_events / per_message / 4))
        if wanted < min(worth, LOW) or free < self._max_bytes // 4:
            return None
        return Demand(wanted, free)

    async def settle(self, parts: Iterable[Part]) -> None:
        """Acks each message of which nothing is left open."""
        for part in parts:
            if part.settled:
                # An error came after it, and the parcel was delivered again.
                continue
            part.settled = True
            message = part.message
            message.open -= 1
            if not message.open:
                await self.ack(message)

    async def ack(self, message: Message) -> None:
        if self._forget(message):
            if self._remember_all:
                self._remember(message)
            await self._send(message, _ACK)

    async def give_back(self, parts: Iterable[Part], delay: float = 0.0) -> None:
        """Lets the server deliver the messages again, after `delay` seconds."""
        verb = _NAK + (b' {"delay": %d}' % int(delay * 10**9) if delay else b"")
        for part in parts:
            if self._forget(part.message):
                await self._send(part.message, verb)

    async def postpone(self, message: Message, delay: float) -> bool:
        """Gives one message back; false when it is not held, or no consumer will deliver it again after the delay."""
        known = self._messages.get(message.key) is message
        await self.give_back([Part.of(message)], delay)
        return known and bool(message.ack_subject)

    async def recall(self, ack_subjects: Iterable[str]) -> None:
        """Lets messages that were postponed come again at once."""
        for subject in ack_subjects:
            await self._publish(subject, _NAK)

    async def keep(self, now: float, older_than: float) -> None:
        """Tells the server of the messages that it has not heard of for so many seconds that they are worked on."""
        for message in list(self._messages.values()):
            if now - message.touched >= older_than:
                message.touched = now
                await self._send(message, _WORKING)

    def _forget(self, message: Message) -> bool:
        if self._messages.get(message.key) is not message:
            return False
        del self._messages[message.key]
        self.settled += 1
        self.events -= message.count
        self._bytes -= message.size
        self._by_tenant[message.tenant] -= message.count
        if not self._by_tenant[message.tenant]:
            del self._by_tenant[message.tenant]
        return True

    async def _send(self, message: Message, verb: bytes) -> None:
        if not message.ack_subject:
            # Its consumer has not delivered it and will, unless it is removed.
            if verb == _ACK:
                await self._take_out(message)
            return
        await self._publish(message.ack_subject, verb)

    async def _publish(self, ack_subject: str, verb: bytes) -> None:
        try:
            await self._client.publish(ack_subject, verb)
        except (NatsError, OSError) as error:
            # Without its ack the message is delivered again, which changes nothing.
            _log.debug("cannot send %s to %s: %r", verb, ack_subject, error)

    async def _take_out(self, message: Message) -> None:
        self._remember(message)
        try:
            await self._api.request(self._remove, {"seq": int(message.sequence), "no_erase": True})
        except EventRunnerError as error:
            _log.debug("cannot remove message %s: %s", message.key, error)

    def _remember(self, message: Message) -> None:
        self._settled[message.key] = None
        if len(self._settled) > _REMEMBERED:
            del self._settled[next(iter(self._settled))]
