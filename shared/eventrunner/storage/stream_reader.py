"""Reads a stream from any place without a consumer: batched direct gets.

https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import Unavailable
from eventrunner.storage.jetstream import NOT_FOUND, is_status, status_of

__all__ = ["StoredMessage", "read_stream"]

_END_OF_BATCH = 204
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class StoredMessage:
    subject: str
    sequence: int
    stored: str
    """RFC 3339 with nanoseconds."""
    headers: Mapping[str, str]
    body: bytes


async def read_stream(
    client: Client, stream: str, subject: str, *, sequence: int = 1, since: str | None = None, most: int, max_bytes: int
) -> list[StoredMessage]:
    """The next messages of a subject, which may have wildcards, from a sequence on, or from a time on (RFC 3339).

    Fewer than `most` when they would be larger than `max_bytes`, none when there are no more. Raises Unavailable.
    """
    request: dict[str, Any] = {"batch": most, "max_bytes": max_bytes, "next_by_subj": subject}
    request |= {"start_time": since} if since is not None else {"seq": max(1, sequence)}
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, pending_msgs_limit=0, pending_bytes_limit=0)
    found: list[StoredMessage] = []
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=inbox)
        async with asyncio.timeout(_TIMEOUT):
            while True:
                message = await subscription.next_msg(timeout=None)
                if not is_status(message):
                    found.append(_stored(message))
                elif (status := status_of(message)) in (_END_OF_BATCH, NOT_FOUND):
                    return found
                else:
                    reason = (message.headers or {}).get("Description", "")
                    raise Unavailable(f"The stream {stream} cannot be read: {status} {reason}.")
    except (NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"The stream {stream} cannot be read: {error or type(error).__name__}.") from error
    finally:
        await _unsubscribe(subscription)


async def _unsubscribe(subscription: Any) -> None:
    try:
        await subscription.unsubscribe()
    except (NatsError, OSError):
        return


def _stored(message: Msg) -> StoredMessage:
    headers = dict(message.headers or {})
    subject, sequence = headers.pop("Nats-Subject"), int(headers.pop("Nats-Sequence"))
    return StoredMessage(subject, sequence, headers.pop("Nats-Time-Stamp"), headers, message.data)
