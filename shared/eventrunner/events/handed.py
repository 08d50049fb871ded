"""An event as a consumer is handed it, whoever runs that: the function, the command line, a real wasmCloud."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from eventrunner.events.event import Event
from eventrunner.events.json_format import encode_event

__all__ = ["handed_body", "tokens_of_type"]

# What no token of a NATS subject may hold; a type may.
_FORBIDDEN: Final = re.compile(r"[*>\s\x00-\x1f\x7f]")


def handed_body(event: Event) -> bytes:
    """A structured CloudEvent, without what the platform has counted. The event's usage is emptied."""
    # One by one, as a loop over the names takes longer than to write the event.
    event.usagein = event.usageout = event.usagecpu = event.usagemem = event.usagerules = 0
    return encode_event(event)


@lru_cache(4096)
def tokens_of_type(type: str) -> str:
    """The end of the message's subject, always one that NATS takes: `_` stands for what a subject cannot have."""
    return ".".join(_FORBIDDEN.sub("_", token) or "_" for token in type.split("."))
