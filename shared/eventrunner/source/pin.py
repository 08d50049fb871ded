"""The right to work on an ordered source: one adapter has it, the others stand by.

The server pins a consumer to one of those who ask, and to another one when that has not asked for the ack wait. It
takes nothing back of what it has delivered, so an adapter that was stopped or cut off for long must not go on as if
nothing had happened: it sends only while the server has lately confirmed the pin, and by that heard that what the
adapter holds is being worked on. https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-42.md
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import EventRunnerError
from eventrunner.source.consumer import ACK_WAIT, PIN_GROUP
from eventrunner.source.spec import SourceSpec
from eventrunner.storage.jetstream import JetStreamApi, status_of
from eventrunner.storage.pull import PullEnded

__all__ = ["Pin", "PinLost"]

_log = logging.getLogger(__name__)

_HEADER = "Nats-Pin-Id"
_GOOD_FOR = ACK_WAIT / 2
"""Seconds. The server hears of a message anew when 3/8 of its ack wait are over; the two together are less than it."""
_TIMEOUT = ACK_WAIT / 4
_NOTHING = {"batch": 1, "max_bytes": 1, "no_wait": True}
"""A request that no message fits into: it only tells that somebody is there, and is answered at once."""
_NO_MESSAGES, _REQUESTS_PENDING = 404, 408


class PinLost(Exception):
    """The source is another adapter's, or nobody's; what is held is to be given back."""


class Pin:
    def __init__(self, client: Client, api: JetStreamApi, spec: SourceSpec) -> None:
        self._client = client
        self._api = api
        self._spec = spec
        self._id = ""
        self._lost = ""
        """Why, as soon as it is known."""
        self._good_until = 0.0
        self._wake = asyncio.Event()
        self._confirmed = asyncio.Event()

    @property
    def ours(self) -> bool:
        """Whether the server has pinned this adapter, as far as is known."""
        return bool(self._id)

    def members(self) -> dict[str, str]:
        """Of each request for messages."""
        return {"group": PIN_GROUP, "id": self._id} if self._id else {"group": PIN_GROUP}

    def received(self, message: Msg) -> None:
        """Reads from a message that the server has pinned this adapter."""
        found = (message.headers or {}).get(_HEADER, "")
        if not found:
            self.refused("its consumer is not pinned to one adapter; does another manifest make it so?")
        elif found != self._id:
            self._id = found
            self._wake.set()

    def refused(self, reason: str = "another one is pinned") -> None:
        """What has come tells that this adapter is not to work on the source."""
        self._lost = reason
        self._good_until = 0.0
        self._wake.set()

    def doubt(self) -> None:
        """Nothing may be sent before the server has confirmed the pin anew. One that was started again has forgotten
        it, and when it was last told of the messages, so that it gives both to another adapter at once."""
        self._good_until = 0.0
        self._wake.set()

    def is_good(self) -> bool:
        """Whether a request may be sent to the sink now."""
        return asyncio.get_running_loop().time() < self._good_until

    async def good(self) -> None:
        """Returns when a request may be sent."""
        while not self.is_good():
            self._confirmed.clear()
            await self._confirmed.wait()

    async def pause(self, seconds: float) -> None:
        """Until it is time to `confirm`, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def confirm(self, now: float) -> None:
        """Tells the server that this adapter is there. Raises PinLost.

        `now` is a time at which the server had been told of all messages that are held.
        """
        answer = await self._ask() if self._id and not self._lost else None
        if answer is not None and (answer.unpinned or answer.consumer_gone):
            self.refused(f"the server answers {answer.status} {answer.description}")
        if self._lost:
            raise PinLost(self._lost)
        if answer is not None and (answer.status in (_NO_MESSAGES, _REQUESTS_PENDING) or answer.too_large):
            self._good_until = now + _GOOD_FOR
            self._confirmed.set()

    async def release(self) -> None:
        """Lets another adapter take over at once."""
        if not self.is_good():
            return
        try:
            await self._api.request(f"CONSUMER.UNPIN.{self._spec.stream}.{self._spec.consumer}", {"group": PIN_GROUP})
        except EventRunnerError as error:
            _log.debug("%s: cannot give up its pin: %s", self._spec.name, error)

    async def _ask(self) -> PullEnded | None:
        """None without an answer."""
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._spec.stream}.{self._spec.consumer}"
        try:
            answer = await self._client.request(subject, msgspec.json.encode(_NOTHING | self.members()), _TIMEOUT)
        except (NatsError, OSError, TimeoutError) as error:
            _log.debug("%s: no answer about its pin: %r", self._spec.name, error)
            return None
        return PullEnded(status_of(answer), (answer.headers or {}).get("Description", ""))
