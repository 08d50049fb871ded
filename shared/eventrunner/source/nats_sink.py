"""A sink that is a subject of core NATS, such as one that a wasmCloud host listens to: each event is a request, and its
reply settles the event.

What is published to core NATS is gone when nobody takes it, so an event without a reply is sent again, like one that an
HTTP sink has not answered. wasmCloud's host replies nothing by itself, neither when a component returns nor when it
fails: the component has to publish its reply to the message's `reply-to`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from eventrunner.errors import InvalidInput, Unavailable
from eventrunner.events import decode_event
from eventrunner.events.binary import STRUCTURED_TYPE
from eventrunner.events.handed import handed_body
from eventrunner.source.health import SinkHealth
from eventrunner.source.message import Parcel
from eventrunner.source.nats_replies import read_reply
from eventrunner.source.nats_uri import NatsAddress
from eventrunner.source.outcomes import Failed, Outcome, Refused
from eventrunner.source.spec import SourceSpec
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect, disconnect, without_secrets

__all__ = ["NatsSink"]

_CONNECT_SECONDS: Final = 5.0
_CANCEL_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 5.0
"""Between two looks for a stream that takes the subjects."""
_HEADERS: Final = {"Content-Type": STRUCTURED_TYPE}


class NatsSink:
    is_signed = False
    refusal = ""

    def __init__(self, url: str, health: SinkHealth) -> None:
        self.url = without_secrets(url)
        """For people."""
        self.health = health
        self._address = NatsAddress(url)
        self._server = without_secrets(self._address.server)
        self._connecting: asyncio.Task[Client] | None = None
        self._lost = asyncio.Event()
        self._free_until = 0.0
        """So long it is taken that no stream has these subjects."""

    async def deliver(self, parcel: Parcel, spec: SourceSpec) -> Outcome:
        """Never raises but for cancellation. The parcel holds a single event."""
        try:
            event = decode_event(parcel.members())
        except InvalidInput as error:
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        (tenant,) = parcel.tenants
        seconds = spec.delivery.timeout
        client = await self._client(min(_CONNECT_SECONDS, seconds))
        if client is None:
            return Failed(f"cannot connect to {self._server}", reached=False)
        if stream := await self._stream(client):
            reason = f"the stream {stream} takes what is sent to {self.url}"
            return Failed(f"{reason}: use a server, or an account, in which no stream does", reached=False)
        return await self._request(client, self._address.subject(tenant, event.type), handed_body(event), seconds)

    async def close(self) -> None:
        connecting, self._connecting = self._connecting, None
        if connecting is None:
            return
        while not connecting.done():
            # Again and again, as asyncio's `wait_for`, under the client's `connect`, can lose it.
            connecting.cancel()
            await asyncio.wait([connecting], timeout=_CANCEL_SECONDS)
        if not connecting.cancelled() and connecting.exception() is None:
            await disconnect(connecting.result())

    async def _client(self, seconds: float) -> Client | None:
        """None while there is no connection."""
        if self._connecting is None or self._is_given_up():
            self._connecting = asyncio.create_task(
                connect(self._address.server, name="eventrunner sink", on_disconnect=self._on_lost)
            )
        done, _ = await asyncio.wait([self._connecting], timeout=seconds)
        if not done or self._is_given_up():
            return None
        client = self._connecting.result()
        return client if client.is_connected else None

    async def _stream(self, client: Client) -> str:
        """One that takes this sink's subjects; empty when there is none.

        JetStream confirms what it stores to whoever asks, so what nobody has handled would pass for handled; and with
        the subjects of the source's own stream each event would come again for ever.
        """
        now = asyncio.get_running_loop().time()
        if now < self._free_until:
            return ""
        try:
            found = await JetStreamApi(client).request("STREAM.NAMES", {"subject": self._address.wildcards})
        except (JetStreamError, Unavailable):
            # It has no JetStream, or does not let this user ask.
            found = {}
        if names := found.get("streams"):
            return str(names[0])
        self._free_until = now + _LOOK_SECONDS
        return ""

    def _is_given_up(self) -> bool:
        """The client closes itself for good on some errors."""
        task = self._connecting
        return task is not None and task.done() and (bool(task.exception()) or task.result().is_closed)

    async def _on_lost(self) -> None:
        """No reply comes over that connection any more."""
        self._lost.set()
        self._lost = asyncio.Event()
        self._free_until = 0.0

    async def _request(self, client: Client, subject: str, body: bytes, seconds: float) -> Outcome:
        if len(body) > client.max_payload:
            return Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the event has {len(body)} bytes, and {self._server} takes {client.max_payload}",
            )
        asking = asyncio.ensure_future(client.request(subject, body, timeout=seconds, headers=_HEADERS))
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((asking, losing), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return Failed(f"the connection to {self._server} was lost")
            return read_reply(asking.result())
        except NoRespondersError:
            reason = f"nobody listens to {subject} at {self._server}"
            return Failed(reason, HTTPStatus.SERVICE_UNAVAILABLE, reached=False)
        except TimeoutError:
            return Failed(f"{subject} at {self._server} gave no reply within {seconds:g} s")
        except (NatsError, OSError) as error:
            return Failed(f"{subject} at {self._server}: {error or type(error).__name__}")
        finally:
            for task in (asking, losing):
                task.cancel()
            await asyncio.gather(asking, losing, return_exceptions=True)
