"""The CloudEvent and its codecs: JSON, JSON batch, HTTP and NATS binary modes, and adapters from raw payloads."""

from eventrunner.events.event import USAGE_TYPE, Event, Identity
from eventrunner.events.json_format import decode_batch, decode_event, decode_incoming, encode_batch, encode_event
from eventrunner.events.validation import check_event, validate

__all__ = [
    "USAGE_TYPE",
    "Event",
    "Identity",
    "check_event",
    "decode_batch",
    "decode_event",
    "decode_incoming",
    "encode_batch",
    "encode_event",
    "validate",
]
