"""What wasmCloud's actors of the waPC time are sent and send, in msgpack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from eventrunner.errors import InvalidInput
from eventrunner.wasm.outcomes import Message

__all__ = ["DELIVERY_FORMS", "PUBLISHED", "DeliveryForm", "decode_published"]


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


class DeliveryForm(NamedTuple):
    operation: bytes
    encode: Callable[[Message], bytes]


def _flat(message: Message) -> bytes:
    return msgspec.msgpack.encode(_broker_message(message))


def _wrapped(message: Message) -> bytes:
    return msgspec.msgpack.encode(_DeliverMessage(_broker_message(message)))


def _broker_message(message: Message) -> _BrokerMessage:
    return _BrokerMessage(message.subject, message.body, message.reply_to or "")


DELIVERY_FORMS: Final = (
    DeliveryForm(b"MessageSubscriber.HandleMessage", _wrapped),
    DeliveryForm(b"MessageSubscriber.HandleMessage", _flat),
    DeliveryForm(b"HandleMessage", _flat),
)
"""`DeliverMessage` first. Actors of the crate wasmcloud-interface-messaging want the second, those of
wasmcloud-actor-messaging the third."""


def decode_published(content: bytes) -> Message:
    """The arguments of `Publish`. Raises InvalidInput."""
    try:
        message = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"this is no map of subject, replyTo and body in msgpack: {error}") from error
    return Message(message.subject, message.body, message.reply_to or None)
