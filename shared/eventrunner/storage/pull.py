"""Pull requests to a JetStream consumer over one inbox that stays subscribed.

A request waits at the server until messages come, so that an idle consumer costs a heartbeat now and then and a new
message arrives without a round trip. https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-37.md
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from eventrunner.storage.jetstream import is_status, status_of

__all__ = ["PullEnded", "PullSubscription"]

_log = logging.getLogger(__name__)

_HEARTBEAT_STATUS = 100
_BAD_REQUEST = 400
_WRONG_PIN = 423
_NO_RESPONDERS = 503
_NANOSECONDS = 10**9


@dataclass(frozen=True, slots=True)
class PullEnded:
    """A request that ended before all its messages came."""

    status: int
    """408: expired; 409: see `description`; 423: another one is pinned; 503: no such consumer; 400: one that is set up
    otherwise; 0: nothing heard for too long."""
    description: str = ""

    @property
    def too_large(self) -> bool:
        """The next message does not fit into what is left of the request's bytes."""
        return self.status == 409 and "maxbytes" in self.description.lower()

    @property
    def unpinned(self) -> bool:
        return self.status == _WRONG_PIN

    @property
    def consumer_gone(self) -> bool:
        return self.status in (0, _BAD_REQUEST, _NO_RESPONDERS) or (
            self.status == 409 and not self.too_large and "batch completed" not in self.description.lower()
        )


@dataclass(slots=True)
class _Request:
    messages: int
    max_bytes: int
    deadline: float


class PullSubscription:
    """Hands each message to `on_message` and each request that ended early to `on_end`; both return at once.

    `more` gives the further members of a request.
    """

    def __init__(
        self,
        client: Client,
        on_message: Callable[[Msg], None],
        on_end: Callable[[PullEnded], None],
        *,
        more: Callable[[], Mapping[str, str]] = dict,
        expires: float = 30.0,
        heartbeat: float = 10.0,
    ) -> None:
        self._client = client
        self._on_message = on_message
        self._on_end = on_end
        self._more = more
        self._expires = expires
        self._heartbeat = heartbeat
        self._inbox = client.new_inbox()
        self._subject = ""
        self._requests: dict[str, _Request] = {}
        self._number = 0
        self._last_heard = 0.0
        self._subscription: Subscription | None = None
        self._watchdog: asyncio.Task[None] | None = None

    async def start(self, stream: str, consumer: str) -> None:
        """May be called again to go on with another consumer."""
        self._requests.clear()
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        if self._subscription is None:
            # The bounds are the requests' own; what has been asked for must not be dropped here.
            self._subscription = await self._client.subscribe(
                f"{self._inbox}.*", cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
            )
            self._watchdog = asyncio.create_task(self._watch())

    @property
    def waiting(self) -> int:
        """Messages that the server may still send for the requests it has."""
        return sum(request.messages for request in self._requests.values())

    @property
    def waiting_bytes(self) -> int:
        return sum(request.max_bytes for request in self._requests.values())

    async def request(self, messages: int, max_bytes: int = 0) -> None:
        """Asks for so many messages, of so many bytes in all; 0 bytes for no limit. Raises nats.errors.Error."""
        self._number += 1
        token = str(self._number)
        now = asyncio.get_running_loop().time()
        self._last_heard = now
        self._requests[token] = _Request(messages, max_bytes, now + self._expires + self._heartbeat)
        body: dict[str, int | str] = {
            "batch": messages,
            "expires": int(self._expires * _NANOSECONDS),
            "idle_heartbeat": int(self._heartbeat * _NANOSECONDS),
            **self._more(),
        }
        if max_bytes:
            body["max_bytes"] = max_bytes
        try:
            await self._client.publish(self._subject, msgspec.json.encode(body), reply=f"{self._inbox}.{token}")
        except (NatsError, OSError):
            self._requests.pop(token, None)
            raise

    def forget(self) -> None:
        """Drops all requests; after a reconnect the server knows none of them."""
        self._requests.clear()

    async def stop(self) -> None:
        """Tells the server that nobody listens any more; what is on its way is still handed over."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await subscription.drain()  # type: ignore[no-untyped-call]

    async def _receive(self, message: Msg) -> None:
        self._last_heard = asyncio.get_running_loop().time()
        if not is_status(message):
            self._count(len(message.data))
            self._on_message(message)
            return
        status = status_of(message)
        if status == _HEARTBEAT_STATUS:
            return
        token = message.subject.rpartition(".")[2]
        if self._requests.pop(token, None) is not None:
            self._on_end(PullEnded(status, (message.headers or {}).get("Description", "")))

    def _count(self, size: int) -> None:
        """A message does not tell which request it answers; the server serves them in turn."""
        token = next(iter(self._requests), None)
        if token is None:
            return
        request = self._requests[token]
        request.messages -= 1
        request.max_bytes = max(0, request.max_bytes - size)
        if not request.messages:
            del self._requests[token]

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._heartbeat)
            now = loop.time()
            silent = now - self._last_heard > 2.5 * self._heartbeat
            overdue = [token for token, request in self._requests.items() if silent or now > request.deadline]
            for token in overdue:
                del self._requests[token]
            if overdue:
                _log.warning("%s: no word from the server; asking again", self._subject)
                self._on_end(PullEnded(0, "silent" if silent else "overdue"))
