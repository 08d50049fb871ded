"""What wasmCloud's actors of the waPC time are sent and send, in msgpack."""

from __future__ import annotations

from typing import Final

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.wasm.outcomes import Message

__all__ = ["PUBLISHED", "decode_published", "encode_delivery"]


class _BrokerMessage(msgspec.Struct, rename="camel"):
    subject: str
    body: bytes
    reply_to: str | None = None
    """Empty, nil or missing: none."""


class _DeliverMessage(msgspec.Struct):
    message: _BrokerMessage


PUBLISHED: Final = msgspec.msgpack.encode({"published": True})
"""`PublishResponse`."""
_decoder: Final = msgspec.msgpack.Decoder(_BrokerMessage)


def encode_delivery(message: Message) -> bytes:
    """`DeliverMessage`."""
    broker_message = _BrokerMessage(message.subject, message.body, message.reply_to or "")
    return msgspec.msgpack.encode(_DeliverMessage(broker_message))


def decode_published(content: bytes) -> Message:
    """The arguments of `Publish`. Raises InvalidInput."""
    try:
        message = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"this is no map of subject, replyTo and body in msgpack: {error}") from error
    return Message(message.subject, message.body, message.reply_to or None)
