"""What a tenant's consumer is handed of an event: what the API shows of it, without what the platform has counted."""

from __future__ import annotations

from functools import lru_cache

from eventrunner.events import Event
from eventrunner.events.handed import handed_body, tokens_of_type
from eventrunner.wasm.outcomes import Message

__all__ = ["message_of", "subject_of"]


def message_of(event: Event, stream: str) -> Message:
    """`stream`: the one that the consumer reads, `results` or `events`. The event's usage is emptied."""
    return Message(subject_of(stream, event.tenantid, event.type), handed_body(event))


@lru_cache(4096)
def subject_of(stream: str, tenant: str, type: str) -> str:
    """`<stream>.<tenant>.<type>`."""
    return f"{stream}.{tenant}.{tokens_of_type(type)}"
