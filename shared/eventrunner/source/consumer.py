"""The durable consumer of a source."""

from __future__ import annotations

from typing import Any

from eventrunner.errors import ConfigurationError
from eventrunner.source.spec import Ordering, SourceSpec
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError

__all__ = ["ACK_WAIT", "PIN_GROUP", "ensure_consumer"]

ACK_WAIT = 3.0
"""Seconds after which a message of an adapter that died goes to another one. Living ones extend it.

What was on its way to an adapter when it died waits so long, so this is most of the five seconds within which events
are to flow again."""

PIN_GROUP = "adapters"
"""The consumer of an ordered source has one group of clients, of which it serves one at a time."""

_PINNED = "pinned_client"
_MAX_ACK_PENDING = 65_536
_REPLICAS_ALLOWED = 8
"""Adapters that may work on one consumer at full speed."""


async def ensure_consumer(api: JetStreamApi, spec: SourceSpec) -> None:
    """Creates the consumer, or updates it to the manifest. Raises ConfigurationError when the server will not have it
    so, Unavailable."""
    config = _config(spec)
    try:
        answer = await api.request(
            f"CONSUMER.CREATE.{spec.stream}.{spec.consumer}", {"stream_name": spec.stream, "config": config}
        )
    except JetStreamError as error:
        raise ConfigurationError(
            f"The consumer {spec.consumer} of the stream {spec.stream} cannot be made as the source wants it: "
            f"{error.description}. If it is there and set up otherwise, give the source another `consumer`, or remove "
            f"it: nats consumer rm {spec.stream} {spec.consumer}"
        ) from error
    if spec.ordering is Ordering.BY_TENANT and answer["config"].get("priority_policy") != _PINNED:
        raise ConfigurationError(
            f"The source {spec.name} asks for `ordering: {spec.ordering}`, for which the NATS server must pin its "
            "consumer to one client, and this one does not: use nats-server 2.11 or newer, or leave `ordering` out."
        )


def _config(spec: SourceSpec) -> dict[str, Any]:
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
    if spec.ordering is Ordering.BY_TENANT:
        config |= {
            "priority_policy": _PINNED,
            "priority_groups": [PIN_GROUP],
            "priority_timeout": int(ACK_WAIT * 10**9),
        }
    return config
