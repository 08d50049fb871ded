"""The connection to NATS and the JetStream API that streams, sources and the registry share.

https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import EventRunnerError, Unavailable

__all__ = [
    "NOT_FOUND",
    "UNAVAILABLE",
    "JetStreamApi",
    "JetStreamError",
    "connect",
    "disconnect",
    "is_status",
    "status_of",
    "without_secrets",
]

_log = logging.getLogger(__name__)

_Callback = Callable[[], Awaitable[None]]

NOT_FOUND, UNAVAILABLE = 404, 503
"""Of `JetStreamError.http_code`."""
_PREFIX = "$JS.API."
_decoder = msgspec.json.Decoder()


class JetStreamError(EventRunnerError):
    """The server's own refusal of a request."""

    code = "jetstream"

    def __init__(self, status: int, err_code: int, description: str) -> None:
        super().__init__(f"JetStream: {description}.")
        self.http_code = status
        self.err_code = err_code
        """https://github.com/nats-io/nats-server/blob/main/server/errors.json"""
        self.description = description


async def connect(
    url: str,
    *,
    name: str,
    on_disconnect: _Callback | None = None,
    on_reconnect: _Callback | None = None,
    on_closed: _Callback | None = None,
) -> Client:
    """A client that waits for the server if need be and never gives up on it. `url` may list several servers."""

    async def lost() -> None:
        if not client.is_closed:
            _log.warning("%s: connection to NATS lost", name)
        if on_disconnect is not None:
            await on_disconnect()

    async def back() -> None:
        _log.warning("%s: connected to NATS again", name)
        if on_reconnect is not None:
            await on_reconnect()

    async def closed() -> None:
        if on_closed is not None:
            await on_closed()

    announced = False

    async def report(error: Exception) -> None:
        nonlocal announced
        if not (connected or announced):
            announced = True
            _log.warning("%s: waiting for a NATS server at %s", name, without_secrets(url))
        if not client.is_connected and client._transport is not None:
            # nats-py forgets the socket of a server that it could reach and that did not greet.
            client._transport.close()  # type: ignore[no-untyped-call]
        if isinstance(error, NatsError | OSError | TimeoutError):
            _log.debug("%s: NATS: %r", name, error)
        else:
            _log.error("%s: error in a NATS callback", name, exc_info=error)

    connected = False
    client = Client()
    try:
        await client.connect(
            servers=[server.strip() for server in url.split(",")],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type]
            # Also how a connection whose peer is gone without a FIN is noticed: after two pings.
            ping_interval=10,
            error_cb=report,
            disconnected_cb=lost,
            reconnected_cb=back,
            closed_cb=closed,
        )
    except asyncio.CancelledError:
        await disconnect(client)
        raise
    connected = True
    return client


async def disconnect(client: Client) -> None:
    """Closes the client. What was to be sent over a connection that is lost is dropped; the client's own
    `close` raises then."""
    with contextlib.suppress(OSError):
        await client.close()


def without_secrets(url: str) -> str:
    """The servers of a NATS URL without the token or password that it may hold, for messages and logs."""
    return re.sub(r"//[^/,@]*@", "//", url)


class JetStreamApi:
    def __init__(self, client: Client, *, timeout: float = 5.0) -> None:
        self._client = client
        self._timeout = timeout

    async def request(self, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Calls `$JS.API.<name>`. Raises JetStreamError, or Unavailable when nobody answers."""
        payload = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = await self._client.request(_PREFIX + name, payload, timeout=self._timeout)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable(f"JetStream did not answer {name}: {error or type(error).__name__}.") from error
        if is_status(answer):
            raise Unavailable(f"JetStream did not answer {name}: status {status_of(answer)}.")
        document: dict[str, Any] = _decoder.decode(answer.data)
        if (refusal := document.get("error")) is not None:
            raise JetStreamError(
                refusal.get("code", 500), refusal.get("err_code", 0), refusal.get("description", "refused")
            )
        return document


def is_status(message: Msg) -> bool:
    """Whether the message is a status of the server and not data."""
    return not message.data and message.headers is not None and "Status" in message.headers


def status_of(message: Msg) -> int:
    headers = message.headers or {}
    text = headers.get("Status", "0")
    return int(text) if text.isdigit() else 0
