"""What comes out of handing a guest one message.

Outcome
├── Handled     the guest is done with it
├── Refused     it answered an error; `text` is its own
├── Trapped     it broke off; `text` is the engine's, with the guest's call stack
└── OverLimit   it was stopped, or given no more; `limit` says at which limit
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

__all__ = ["Call", "Handled", "Limit", "LogLine", "Message", "Outcome", "OverLimit", "Refused", "Spent", "Trapped"]


@dataclass(frozen=True, slots=True)
class Message:
    """`broker-message` of `wasmcloud:messaging@0.2.0`."""

    subject: str
    body: bytes
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
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


@dataclass(frozen=True, slots=True)
class Handled:
    pass


@dataclass(frozen=True, slots=True)
class Refused:
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Trapped:
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class OverLimit:
    limit: Limit
    allowed: int
    """In the unit of the limit."""

    def __str__(self) -> str:
        return f"over the limit {self.limit} = {self.allowed}"


Outcome: TypeAlias = Handled | Refused | Trapped | OverLimit


@dataclass(frozen=True, slots=True)
class Spent:
    fuel: int
    """WebAssembly instructions, about; calls of the host cost none. Of a call that was broken off, what the engine had
    written down, which may be far less: it counts in a register."""
    cpu_ns: int
    """Of this thread, the host's part of the call included."""
    memory_bytes: int
    """The most linear memory that the instance had, all its memories together."""


@dataclass(frozen=True, slots=True)
class Call:
    outcome: Outcome
    spent: Spent
    published: tuple[Message, ...]
    """Of a call that was handled. What another one published before it failed is dropped: it will be tried again."""
    logs: tuple[LogLine, ...]
    logs_dropped: int
    """Lines that were over the limit of `log_bytes`."""
