"""The durable consumer of a source."""

from __future__ import annotations

from typing import Any

from eventrunner.source.spec import SourceSpec
from eventrunner.storage.jetstream import JetStreamApi

__all__ = ["ACK_WAIT", "ensure_consumer"]

ACK_WAIT = 3.0
"""Seconds after which a message of an adapter that died goes to another one. Living ones extend it.

What was on its way to an adapter when it died waits so long, so this is most of the five seconds within which events
are to flow again."""

_MAX_ACK_PENDING = 65_536
_REPLICAS_ALLOWED = 8
"""Adapters that may work on one consumer at full speed."""


async def ensure_consumer(api: JetStreamApi, spec: SourceSpec) -> None:
    """Creates the consumer, or updates it to the manifest. Raises JetStreamError, Unavailable."""
    events = (spec.in_flight + 2) * spec.batch.max_events * _REPLICAS_ALLOWED
    config: dict[str, Any] = {
        "name": spec.consumer,
        "durable_name": spec.consumer,
        "filter_subject": spec.filter_subject,
        "deliver_policy": "all",
        "replay_policy": "instant",
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT * 10**9),
        # The source bounds deliveries itself, because the server only forgets a message that has had too many.
        "max_deliver": -1,
        "max_ack_pending": min(max(1000, events), _MAX_ACK_PENDING),
    }
    name = f"CONSUMER.CREATE.{spec.stream}.{spec.consumer}"
    await api.request(name, {"stream_name": spec.stream, "config": config})
