"""How a consumer does: what the platform that runs it says, and what the analytics have counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from eventrunner.api.backend import Backend
from eventrunner.errors import InvalidInput, Unavailable
from eventrunner.storage.records import (
    CONSUMER_STATUS,
    Consumer,
    ConsumerStatus,
    SkippedMessages,
    skipped_key,
    tenant_key,
)

__all__ = ["Counts", "counts_of", "status_of"]

Counts = Mapping[str, tuple[int, int]]
"""By name: events handled and failed."""
_NOBODY: Final = "Its WebAssembly is checked and stored, and nothing has taken it up yet."


def counts_of(backend: Backend, tenant: str) -> Counts | None:
    """None while the analytics are away: that is no reason to hide the rest."""
    try:
        return backend.analytics.consumer_counts(tenant)
    except Unavailable:
        return None


def status_of(backend: Backend, consumer: Consumer, counts: Counts | None) -> dict[str, Any]:
    handled, failed = (None, None) if counts is None else counts.get(consumer.name, (0, 0))
    known = _known(backend, consumer)
    told: dict[str, Any]
    if known is None:
        told = {"state": "stored", "replicas": 0, "detail": _NOBODY, "updated": None}
    else:
        # What was said of an earlier upload says nothing of this one.
        is_of_this = known.of == consumer.updated
        told = {
            "state": known.state if is_of_this else "starting",
            "replicas": known.replicas,
            "detail": known.detail if is_of_this else "",
            "updated": known.updated,
        }
    return told | {"handled": handled, "failed": failed, "skipped": _skipped(backend, consumer)}


def _skipped(backend: Backend, consumer: Consumer) -> dict[str, Any] | None:
    value = backend.registry.get(CONSUMER_STATUS, skipped_key(consumer.tenant, consumer.name))
    try:
        return None if value is None else msgspec.structs.asdict(SkippedMessages.from_json(value))
    except InvalidInput:
        return None


def _known(backend: Backend, consumer: Consumer) -> ConsumerStatus | None:
    value = backend.registry.get(CONSUMER_STATUS, tenant_key(consumer.tenant, consumer.name))
    try:
        return None if value is None else ConsumerStatus.from_json(value)
    except InvalidInput:
        return None
