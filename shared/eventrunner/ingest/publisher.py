"""Stores accepted events on RAW and returns when JetStream has them.

Small requests of one tenant that come while a message of that tenant is on its way share the next message, so that
they share its fsync (group commit). Where several have shared one, the next waits a moment for company, as a message
costs some 150 µs by itself. A body that needs several messages is stored whole or not at all, by an atomic
batch publish (NATS ADR-50).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import Unavailable
from eventrunner.events import Event, encode_batch
from eventrunner.events.binary import BATCH_TYPE
from eventrunner.events.headers import COUNT_HEADER
from eventrunner.events.packing import ENCODING, WORTH, bracket, pack
from eventrunner.ids import new_id
from eventrunner.tenancy import RAW_STREAM, subject

__all__ = ["Message", "Publisher", "report_failure", "to_messages"]

_TIMEOUT = 5.0
"""Seconds until a message without an answer counts as refused."""
_SEVERAL = 3
"""Requests in one message: then the next ones wait for company as long as it comes. One client that waits for each
answer, or two, are never held up."""
_LINGER = 0.002
"""Seconds: as long as storing a message takes."""


@dataclass(frozen=True, slots=True)
class Message:
    tenant: str
    members: bytes
    """The events as JSON, separated by commas: a batch without its brackets."""
    count: int


class _AckError(msgspec.Struct):
    description: str = ""


class _Ack(msgspec.Struct):
    error: _AckError | None = None


@dataclass(slots=True)
class _Queue:
    """What waits for a tenant's message that is on its way."""

    waiting: list[tuple[Message, asyncio.Future[None]]] = field(default_factory=list)
    sender: asyncio.Task[None] | None = None
    is_busy: bool = False
    """Whether who comes next waits for company."""


def to_messages(accepted: Mapping[str, Sequence[Event]], *, max_events: int, max_bytes: int) -> list[Message]:
    """Cuts each tenant's events into messages; one event larger than `max_bytes` is a message of its own."""
    messages: list[Message] = []
    for tenant, events in accepted.items():
        for start in range(0, len(events), max_events):
            _cut(messages, tenant, events[start : start + max_events], max_bytes)
    return messages


def _cut(messages: list[Message], tenant: str, events: Sequence[Event], max_bytes: int) -> None:
    members = encode_batch(events)[1:-1]
    if len(members) <= max_bytes or len(events) == 1:
        messages.append(Message(tenant, members, len(events)))
        return
    middle = len(events) // 2
    _cut(messages, tenant, events[:middle], max_bytes)
    _cut(messages, tenant, events[middle:], max_bytes)


class Publisher:
    """Publishes over one NATS connection, in one event loop."""

    def __init__(self, client: Client, *, max_events: int, max_bytes: int) -> None:
        self._client = client
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._queues: dict[str, _Queue] = {}
        self._limits: set[asyncio.Timeout] = set()
        """Of the messages without an answer."""

    async def disconnected(self) -> None:
        """Tells those who wait for an answer, which does not come any more, without waiting for their time to be up."""
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())

    async def store(self, accepted: Mapping[str, Sequence[Event]]) -> None:
        """Returns when all events are stored. Raises Unavailable when none are."""
        if not self._client.is_connected:
            raise Unavailable("The message store is not reachable; nothing was taken. Try again.")
        messages = to_messages(accepted, max_events=self._max_events, max_bytes=self._max_bytes)
        if len(messages) == 1:
            await self._store_one(messages[0])
        elif messages:
            await self._store_all(messages)

    async def _store_one(self, message: Message) -> None:
        queue = self._queues.setdefault(message.tenant, _Queue())
        done = asyncio.get_running_loop().create_future()
        queue.waiting.append((message, done))
        if queue.sender is None:
            # A task of its own: a client that hangs up must not take with it those who wait beside it.
            queue.sender = asyncio.create_task(self._send_waiting(message.tenant, queue))
            queue.sender.add_done_callback(report_failure)
        try:
            await done
        except asyncio.CancelledError:
            # Whoever has left waits for nothing: what was not sent yet is not kept for them.
            with contextlib.suppress(ValueError):
                queue.waiting.remove((message, done))
            raise

    async def _send_waiting(self, tenant: str, queue: _Queue) -> None:
        while queue.waiting:
            if queue.is_busy:
                await asyncio.sleep(_LINGER)
            await self._send_next(queue)
        queue.sender = None
        if not queue.is_busy:
            del self._queues[tenant]

    async def _send_next(self, queue: _Queue) -> None:
        group = self._take_group(queue)
        queue.is_busy = len(group) >= (2 if queue.is_busy else _SEVERAL)
        message = Message(
            group[0][0].tenant, b",".join(item.members for item, _ in group), sum(m.count for m, _ in group)
        )
        error: Exception | None = None
        try:
            await self._request(message, {})
        except Exception as failed:
            # Whatever it was, nobody may be left waiting.
            error = failed
        for _, done in group:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _take_group(self, queue: _Queue) -> list[tuple[Message, asyncio.Future[None]]]:
        count = size = taken = 0
        for message, _ in queue.waiting:
            count += message.count
            size += len(message.members)
            if taken and (count > self._max_events or size > self._max_bytes):
                break
            taken += 1
        group = queue.waiting[:taken]
        del queue.waiting[:taken]
        return group

    async def _store_all(self, messages: Sequence[Message]) -> None:
        batch = new_id()
        for sequence, message in enumerate(messages, 1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(sequence)}
            if sequence == len(messages):
                headers["Nats-Batch-Commit"] = "1"
            await self._request(message, headers)

    async def _request(self, message: Message, headers: dict[str, str]) -> None:
        headers |= {"Content-Type": BATCH_TYPE, COUNT_HEADER: str(message.count)}
        if len(message.members) >= WORTH:
            # Packed here once; from now on all streams and stages move a fraction of the bytes.
            headers["Content-Encoding"] = ENCODING
            body = bracket(pack(message.members))
        else:
            body = b"[" + message.members + b"]"
        try:
            answer = await self._ask(subject(RAW_STREAM, message.tenant), body, headers)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable("The message store did not confirm; try again.") from error
        # Only the commit of an atomic batch and a single message are answered with a body.
        ack = msgspec.json.decode(answer.data, type=_Ack) if answer.data else _Ack()
        if ack.error is not None:
            raise Unavailable(f"The message store refused: {ack.error.description}. Nothing was taken; try again.")

    async def _ask(self, name: str, body: bytes, headers: dict[str, str]) -> Msg:
        async with asyncio.timeout(_TIMEOUT) as limit:
            self._limits.add(limit)
            try:
                return await self._client.request(name, body, timeout=2 * _TIMEOUT, headers=headers)
            finally:
                self._limits.discard(limit)


def report_failure(task: asyncio.Task[None]) -> None:
    """For tasks that nobody awaits."""
    if not task.cancelled() and (error := task.exception()) is not None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a task of ingest failed", "exception": error, "task": task}
        )
