"""What comes out of handing a guest one message.

Outcome
├── Handled     the guest is done with it
├── Refused     it answered an error; `text` is its own
├── Trapped     it broke off; `text` is the engine's, with the guest's call stack
└── OverLimit   it was stopped, or given no more; `limit` says at which limit
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

__all__ = ["Call", "Handled", "Limit", "LogLine", "Message", "Outcome", "OverLimit", "Refused", "Spent", "Trapped"]


# Structs, as some are made for each event: they take a quarter of a dataclass's time. None can be part of a cycle.
class Message(msgspec.Struct, frozen=True, gc=False):
    """`broker-message` of `wasmcloud:messaging@0.2.0`."""

    subject: str
    body: bytes
    reply_to: str | None = None


class LogLine(msgspec.Struct, frozen=True, gc=False):
    level: str
    """`trace`, `debug`, `info`, `warn`, `error` or `critical`."""
    context: str
    """What the guest names it; empty for a waPC guest."""
    text: str


class Limit(StrEnum):
    """Named as in `Limits`."""

    FUEL = "fuel"
    TIME = "milliseconds"
    MEMORY = "memory_bytes"
    OUTPUT = "output_bytes"
    PUBLISHES = "publishes"


class Handled(msgspec.Struct, frozen=True, gc=False):
    pass


class Refused(msgspec.Struct, frozen=True, gc=False):
    text: str

    def __str__(self) -> str:
        return self.text


class Trapped(msgspec.Struct, frozen=True, gc=False):
    text: str

    def __str__(self) -> str:
        return self.text


class OverLimit(msgspec.Struct, frozen=True, gc=False):
    limit: Limit
    allowed: int
    """In the unit of the limit."""

    def __str__(self) -> str:
        return f"over the limit {self.limit} = {self.allowed}"


Outcome: TypeAlias = Handled | Refused | Trapped | OverLimit


class Spent(msgspec.Struct, frozen=True, gc=False):
    fuel: int
    """WebAssembly instructions, about; calls of the host cost none. Of a call that was broken off, what the engine had
    written down, which may be far less: it counts in a register."""
    cpu_ns: int
    """Of this thread, the host's part of the call included."""
    memory_bytes: int
    """The most linear memory that the instance had, all its memories together."""


class Call(msgspec.Struct, frozen=True, gc=False):
    outcome: Outcome
    spent: Spent
    published: tuple[Message, ...]
    """Of a call that was handled. What another one published before it failed is dropped: it will be tried again."""
    logs: tuple[LogLine, ...]
    logs_dropped: int
    """Lines that were over the limit of `log_bytes`."""
