"""Headers beside the events of a message, the same in HTTP and NATS.

`COUNT_HEADER` is a hint: a batch without it is read to find out. The others belong to dead letters and replays.
"""

from __future__ import annotations

__all__ = [
    "ATTEMPTS_HEADER",
    "CONSUMER_HEADER",
    "COUNT_HEADER",
    "FIRST_HEADER",
    "HANDLED_HEADER",
    "ONLY_HEADER",
    "ORIGIN_HEADER",
]

COUNT_HEADER = "Eventrunner-Count"
"""Events in the batch."""

HANDLED_HEADER = "Eventrunner-Handled"
"""On a sink's reply: it is about the first so many events of the request only; the others are to be sent again."""

ORIGIN_HEADER = "Eventrunner-Origin"
"""On a dead letter: the subject that its event came from, to which a replay goes."""
CONSUMER_HEADER = "Eventrunner-Consumer"
"""On a dead letter: the durable consumer that gave the event up."""

ONLY_HEADER = "Eventrunner-Only"
"""On a replayed message: the durable consumer that it is for. The source acks it unread for all others."""
ATTEMPTS_HEADER = "Eventrunner-Attempts"
"""On a replayed dead letter: how often its event has been tried before."""
FIRST_HEADER = "Eventrunner-First-Failed"
"""On a replayed dead letter: when its event was given up first."""
