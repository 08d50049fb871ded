"""What a sink made of a request, and what that means for the request's events.

Outcome                             Decision
├── Delivered   2xx                 ├── Publish     store the reply, then ack
├── Failed      may succeed later   ├── RetryAfter  send the same again
└── Refused     never will          ├── Halve       send both halves, each for itself
                                    └── DeadLetter  store it there, then ack
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DeadLetter",
    "Decision",
    "Delivered",
    "Failed",
    "Halve",
    "Outcome",
    "Publish",
    "Refused",
    "Reply",
    "RetryAfter",
]


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes
    content_type: str
    count: int | None = None
    """Events in the body, when the sink says so."""
    sections: str = ""
    """`events.sections.SECTIONS_HEADER`, when the sink sends it."""
    packed: bool = False
    """Whether the body is a batch in zstd."""


@dataclass(frozen=True, slots=True)
class Delivered:
    reply: Reply | None
    """None: there is nothing to publish."""
    handled: int | None = None
    """The reply is about the first so many events of the request only; None: about all."""


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str
    status: int = 0
    """0: no answer."""
    retry_after: float | None = None
    """Seconds that the sink asks to wait."""
    reached: bool = True
    """Whether the sink may have seen the request; a refused connection tells nothing about the events."""
    overloaded: bool = False
    """The sink wants fewer requests, or is not ready, whatever their content."""


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    reason: str


Outcome = Delivered | Failed | Refused


@dataclass(frozen=True, slots=True)
class Publish:
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class RetryAfter:
    seconds: float
    """0: as soon as the sink is back."""


@dataclass(frozen=True, slots=True)
class Halve:
    pass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    status: int
    reason: str


Decision = Publish | RetryAfter | Halve | DeadLetter
