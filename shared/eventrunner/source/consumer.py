"""The durable consumer of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventrunner.errors import ConfigurationError
from eventrunner.source.spec import Ordering, SourceSpec
from eventrunner.storage.jetstream import NOT_FOUND, UNAVAILABLE, JetStreamApi, JetStreamError

__all__ = ["ACK_WAIT", "PIN_GROUP", "delete_consumer", "ensure_consumer"]

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
    """Creates the consumer, or updates it to the manifest.

    Raises ConfigurationError when the server will not have it so, JetStreamError (NOT_FOUND) without the stream,
    Unavailable.
    """
    config = _config(spec)
    # First of all, because a cluster that has lost the leader of all its streams still answers for a consumer.
    if await _is_there(api, spec, config):
        return
    try:
        answer = await api.request(
            f"CONSUMER.CREATE.{spec.stream}.{spec.consumer}", {"stream_name": spec.stream, "config": config}
        )
    except JetStreamError as error:
        if error.http_code in (NOT_FOUND, UNAVAILABLE):
            raise
        raise ConfigurationError(
            f"The consumer {spec.consumer} of the stream {spec.stream} cannot be made as the source wants it: "
            f"{error.description}. If it is there and set up otherwise, give the source another `consumer`, or remove "
            f"it: nats consumer rm {spec.stream} {spec.consumer}"
        ) from error
    if not _is_pinned_as_asked(answer["config"], config):
        raise ConfigurationError(
            f"The source {spec.name} asks for `ordering: {spec.ordering}`, for which the NATS server must pin its "
            "consumer to one client, and this one does not: use nats-server 2.11 or newer, or leave `ordering` out."
        )


async def delete_consumer(api: JetStreamApi, stream: str, consumer: str) -> None:
    """Deleting what is not there is no error. Raises JetStreamError, Unavailable."""
    try:
        await api.request(f"CONSUMER.DELETE.{stream}.{consumer}")
    except JetStreamError as error:
        if error.http_code != NOT_FOUND:
            raise


async def _is_there(api: JetStreamApi, spec: SourceSpec, config: Mapping[str, Any]) -> bool:
    try:
        actual = (await api.request(f"CONSUMER.INFO.{spec.stream}.{spec.consumer}"))["config"]
    except JetStreamError as error:
        if error.http_code != NOT_FOUND:
            raise
        return False
    return all(actual.get(key) == value for key, value in config.items()) and _is_pinned_as_asked(actual, config)


def _is_pinned_as_asked(actual: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    return (actual.get("priority_policy") == _PINNED) == ("priority_policy" in config)


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
    if spec.start_time:
        config |= {"deliver_policy": "by_start_time", "opt_start_time": spec.start_time}
    if spec.ordering is Ordering.BY_TENANT:
        config |= {
            "priority_policy": _PINNED,
            "priority_groups": [PIN_GROUP],
            "priority_timeout": int(ACK_WAIT * 10**9),
        }
    return config
