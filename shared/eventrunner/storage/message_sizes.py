"""How many bytes a subject has in a stream, which the server tells for the whole stream only."""

from __future__ import annotations

from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from eventrunner.errors import Unavailable
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, is_status

__all__ = ["subject_bytes"]

_BATCH = 2000
_TIMEOUT = 5.0
_OVERHEAD = 46
"""Of a message in the file."""


async def subject_bytes(client: Client, stream: str, subject: str) -> tuple[int, int]:
    """Messages and bytes, by reading the headers of all; the subject may have wildcards. Raises Unavailable."""
    api = JetStreamApi(client)
    config = {
        "ack_policy": "none",
        "deliver_policy": "all",
        "filter_subject": subject,
        "headers_only": True,
        "inactive_threshold": 60 * 10**9,
        "mem_storage": True,
        "num_replicas": 1,
    }
    inbox = client.new_inbox()
    try:
        info = await api.request(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
        subscription = await client.subscribe(inbox, pending_msgs_limit=0, pending_bytes_limit=0)
    except JetStreamError as error:
        raise Unavailable(f"The messages of {stream} cannot be counted: {error.description}.") from error
    except (NatsError, OSError) as error:
        raise Unavailable(f"The messages of {stream} cannot be counted: {error!r}.") from error
    try:
        return await _count(client, f"{stream}.{info['name']}", inbox, subscription)
    except (NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"The messages of {stream} cannot be counted: {error!r}.") from error
    finally:
        await _end(api, subscription, f"{stream}.{info['name']}")


async def _count(client: Client, consumer: str, inbox: str, subscription: Any) -> tuple[int, int]:
    request = msgspec.json.encode({"batch": _BATCH, "no_wait": True})
    count = size = 0
    while True:
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", request, reply=inbox)
        for _ in range(_BATCH):
            message = await subscription.next_msg(timeout=_TIMEOUT)
            if is_status(message):
                return count, size
            count += 1
            size += _size(message)


def _size(message: Msg) -> int:
    headers = dict(message.headers or {})
    body = int(headers.pop("Nats-Msg-Size", 0))
    return body + len(message.subject) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + _OVERHEAD


async def _end(api: JetStreamApi, subscription: Any, consumer: str) -> None:
    """The server ends it by itself if that fails."""
    try:
        await subscription.unsubscribe()
        await api.request(f"CONSUMER.DELETE.{consumer}")
    except (NatsError, OSError, JetStreamError, Unavailable):
        return
