"""What a tenant's consumer is handed of an event: the event as the API shows it, without what the platform has counted.

The same for whoever runs a guest: the function, the command line, the sink of a real wasmCloud.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from eventrunner.events import Event, encode_event
from eventrunner.events.event import USAGE_ATTRIBUTES
from eventrunner.wasm.outcomes import Message

__all__ = ["body_of", "message_of", "subject_of"]

# What no token of a NATS subject may hold; a type may.
_FORBIDDEN: Final = re.compile(r"[*>\s\x00-\x1f\x7f]")


def message_of(event: Event, stream: str) -> Message:
    """`stream`: the one that the consumer reads, `results` or `events`. The event's usage is emptied."""
    return Message(subject_of(stream, event.tenantid, event.type), body_of(event))


def body_of(event: Event) -> bytes:
    """A structured CloudEvent. The event's usage is emptied."""
    for name in USAGE_ATTRIBUTES:
        setattr(event, name, 0)
    return encode_event(event)


@lru_cache(4096)
def subject_of(stream: str, tenant: str, type: str) -> str:
    """`<stream>.<tenant>.<type>`, always one that NATS takes: `_` stands for what a subject cannot have."""
    tokens = (_FORBIDDEN.sub("_", token) or "_" for token in type.split("."))
    return f"{stream}.{tenant}.{'.'.join(tokens)}"
