"""Broker and Trigger as the local broker endpoint needs them: which events go to which service, tried how often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from eventrunner.errors import ConfigurationError
from eventrunner.local import kinds

__all__ = ["Broker", "DeliverySpec", "Trigger", "read_broker", "read_trigger"]


@dataclass(frozen=True, slots=True)
class DeliverySpec:
    retry: int = 3
    """Tries after the first."""
    exponential: bool = True
    delay: float = 0.2
    """Seconds before the first retry."""
    timeout: float = 30.0
    """Seconds of one try."""

    def wait(self, attempt: int) -> float:
        """Seconds before retry number `attempt`, counted from 0."""
        return self.delay * (2**attempt if self.exponential else attempt + 1)


@dataclass(frozen=True, slots=True)
class Broker:
    name: str
    namespace: str
    delivery: DeliverySpec


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    namespace: str
    broker: str
    attributes: Mapping[str, str]
    """Each must be equal; empty text matches any value."""
    subscriber: str
    path: str
    delivery: DeliverySpec | None
    """None: the broker's."""

    def matches(self, attributes: Mapping[str, str]) -> bool:
        return all(name in attributes and wanted in ("", attributes[name]) for name, wanted in self.attributes.items())


def read_broker(manifest: kinds.Broker) -> Broker:
    """Raises ConfigurationError."""
    delivery = manifest.spec.delivery
    return Broker(
        manifest.metadata.name, manifest.metadata.namespace, _delivery(delivery) if delivery else DeliverySpec()
    )


def read_trigger(manifest: kinds.Trigger) -> Trigger:
    """Raises ConfigurationError."""
    spec = manifest.spec
    if not (spec.subscriber.uri == "" or spec.subscriber.uri.startswith("/")):
        raise ConfigurationError("the uri of a subscriber with a ref must be a path.")
    return Trigger(
        name=manifest.metadata.name,
        namespace=manifest.metadata.namespace,
        broker=spec.broker,
        attributes=spec.filter.attributes if spec.filter else {},
        subscriber=spec.subscriber.service(),
        path=spec.subscriber.uri or "/",
        delivery=_delivery(spec.delivery) if spec.delivery else None,
    )


def _delivery(spec: kinds.Delivery) -> DeliverySpec:
    if spec.backoff_policy not in ("linear", "exponential"):
        raise ConfigurationError(f"backoffPolicy must be linear or exponential, not {spec.backoff_policy!r}.")
    return DeliverySpec(
        spec.retry, spec.backoff_policy == "exponential", _seconds(spec.backoff_delay), _seconds(spec.timeout)
    )


_ISO_DURATION: Final = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


def _seconds(text: str) -> float:
    match = _ISO_DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is not an ISO 8601 duration such as PT0.5S.")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds
