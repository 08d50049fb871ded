"""A tenant's consumer as Kubernetes objects: the Knative Service that runs it and the JetStreamSource that feeds it,
made of the template that ships (`knative/templates/tenant-consumer.yaml`) and the consumer's record."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eventrunner.access.senders import audience_of
from eventrunner.errors import ConfigurationError
from eventrunner.source.manifests import Manifest, read_manifests
from eventrunner.source.spec import KIND
from eventrunner.storage.records import Consumer, Subscription
from eventrunner.tenancy import EVENTS_STREAM, RESULTS_STREAM, subject

__all__ = [
    "CONSUMER_ANNOTATION",
    "STREAMS",
    "TENANT_LABEL",
    "ConsumerTemplate",
    "consumer_of_durable",
    "is_tenants_durable",
    "kubernetes_name",
    "manifests",
    "read_template",
    "stream_of",
]

TENANT_LABEL: Final = "eventrunner.dev/tenant"
CONSUMER_ANNOTATION: Final = "eventrunner.dev/consumer"
"""`<tenant>/<name>`."""
STREAMS: Final = {"results": RESULTS_STREAM, "events": EVENTS_STREAM}
_SERVICE: Final = "Service"
_SLUG, _DIGITS = 28, 16
"""Characters, so that the name of a revision still fits into a label; and so many digits that nobody finds another
consumer whose Service, and with it whose audience, has the same name."""
_STAR: Final = "*"


@dataclass(frozen=True, slots=True)
class ConsumerTemplate:
    service: Manifest
    source: Manifest


def read_template(path: Path) -> ConsumerTemplate:
    """Raises ConfigurationError."""
    found = {str(item["kind"]): item for item in read_manifests([path], (_SERVICE, KIND))}
    if set(found) != {_SERVICE, KIND}:
        raise ConfigurationError(f"{path} must hold one Service and one {KIND}.")
    return ConsumerTemplate(found[_SERVICE], found[KIND])


def manifests(consumer: Consumer, template: ConsumerTemplate) -> tuple[Manifest, Manifest]:
    """The Service and the source of one consumer."""
    service, source = copy.deepcopy(template.service), copy.deepcopy(template.source)
    name = kubernetes_name(consumer.tenant, consumer.name)
    for document in (service, source, service["spec"]["template"]):
        _mark(document, consumer)
    service["metadata"]["name"] = source["metadata"]["name"] = name
    _add_environment(service, name, consumer)
    _fill_source(source["spec"], name, consumer)
    return service, source


def kubernetes_name(tenant: str, name: str) -> str:
    """Readable, and unique whatever the two are called."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{tenant}-{name}".lower()).strip("-")[:_SLUG].rstrip("-")
    return f"consumer-{slug}-{hashlib.sha256(f'{tenant}/{name}'.encode()).hexdigest()[:_DIGITS]}"


def stream_of(subscription: Subscription) -> str:
    return STREAMS[subscription.stream]


def is_tenants_durable(name: str) -> bool:
    """Whether a durable consumer is one of a tenant's, which no platform's and no operator's own is called like."""
    return "=" in name


def consumer_of_durable(name: str) -> tuple[str, str]:
    """Tenant and name of the consumer whose durable consumer that is."""
    tenant, _, consumer = name.partition("=")
    return tenant, consumer


def _mark(document: Manifest, consumer: Consumer) -> None:
    metadata = document.setdefault("metadata", {})
    metadata.setdefault("labels", {})[TENANT_LABEL] = consumer.tenant
    metadata.setdefault("annotations", {})[CONSUMER_ANNOTATION] = f"{consumer.tenant}/{consumer.name}"


def _add_environment(service: Manifest, name: str, consumer: Consumer) -> None:
    audience = audience_of(service["apiVersion"], _SERVICE, service["metadata"]["namespace"], name)
    container = service["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [
        *container.get("env", ()),
        {"name": "EVENTRUNNER_CONSUMER", "value": f"{consumer.tenant}/{consumer.name}"},
        # What a token names that comes with a batch.
        {"name": "EVENTRUNNER_SINK_AUDIENCE", "value": audience},
    ]


def _fill_source(spec: dict[str, Any], name: str, consumer: Consumer) -> None:
    subscription = consumer.subscription
    stream = stream_of(subscription)
    spec |= {
        "stream": stream,
        "filterSubject": subject(stream, consumer.tenant),
        "consumer": consumer.durable_name,
        "ordering": "ByTenant" if subscription.ordered else "Unordered",
        "deadLetter": {"subject": f"deadletter.consumer-{consumer.name}.{{tenantid}}"},
    }
    if consumer.created:
        # It gets what comes from its first upload on, however often its durable consumer is made again.
        spec["startTime"] = consumer.created
    if filters := _filters(subscription):
        spec["filters"] = filters
    spec["sink"]["ref"]["name"] = name


def _filters(subscription: Subscription) -> list[Mapping[str, Any]]:
    """All of which must hold."""
    sources = [{"exact": {"source": source}} for source in subscription.sources]
    return [{"any": choices} for choices in (_types(subscription.types), sources) if choices]


def _types(types: list[str]) -> list[Mapping[str, Any]]:
    if _STAR in types:
        return []
    return [
        {"prefix": {"type": text.removesuffix(_STAR)}} if text.endswith(_STAR) else {"exact": {"type": text}}
        for text in types
    ]
