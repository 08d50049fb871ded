"""Reads `knative/base`: what the local platform is to run, or why it cannot run it.

A field that is not understood is refused. It would do something in a cluster that nobody would see missing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from eventrunner.errors import ConfigurationError
from eventrunner.local import kinds
from eventrunner.local.services import Service, read_service
from eventrunner.local.triggers import Broker, Trigger, read_broker, read_trigger

__all__ = ["Manifests", "load_manifests"]

_SERVING: Final = "serving.knative.dev/v1"
_EVENTING: Final = "eventing.knative.dev/v1"
_SOURCES: Final = "sources.eventrunner.dev/v1alpha1"
_JETSTREAM: Final = "jetstream.nats.io/v1beta2"
_IGNORED: Final = {
    ("v1", "Namespace"),
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
}
_STREAMS: Final = {(_JETSTREAM, kind) for kind in ("Stream", "KeyValue", "ObjectStore", "Consumer")}


@dataclass(frozen=True, slots=True)
class Manifests:
    services: Mapping[str, Service]
    sources: Mapping[str, str]
    """From the name of a JetStreamSource to the Knative Service that it feeds."""
    brokers: tuple[Broker, ...]
    triggers: tuple[Trigger, ...]
    streams: tuple[Path, ...]
    """The files that declare JetStream streams and buckets."""
    settings: Mapping[str, Mapping[str, str]]
    """The ConfigMaps."""


@dataclass(slots=True)
class _Found:
    services: dict[str, kinds.Service] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Mapping[str, str]] = field(default_factory=dict)
    brokers: list[Broker] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    streams: dict[Path, None] = field(default_factory=dict)


def load_manifests(folder: Path) -> Manifests:
    """All `*.yaml` at and below the folder. Raises ConfigurationError that names the file and the field."""
    found = _Found()
    for path, document in _documents(folder):
        try:
            _take(found, path, document)
        except (msgspec.ValidationError, ConfigurationError) as error:
            name = f"{document.get('kind')} {_name(document)}"
            raise ConfigurationError(f"{path.relative_to(folder)}, {name}: {error}") from error
    return _consistent(folder, found)


def _documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    paths = sorted(folder.rglob("*.yaml"))
    if not paths:
        raise ConfigurationError(f"There are no manifests (*.yaml) in {folder}.")
    for path in paths:
        try:
            documents = list(yaml.load_all(path.read_text(), Loader=_Loader))
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{path.relative_to(folder)} is not YAML: {error}") from error
        for document in documents:
            if document is None:
                continue
            if not isinstance(document, dict):
                raise ConfigurationError(f"{path.relative_to(folder)} holds a document that is not an object.")
            yield path, document


# libyaml is ten times as quick; the wheels of PyYAML have it, a build from source may not.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _take(found: _Found, path: Path, document: dict[str, Any]) -> None:
    kind = (str(document.get("apiVersion")), str(document.get("kind")))
    if kind == (_SERVING, "Service"):
        service = msgspec.convert(document, kinds.Service)
        _put(found.services, service.metadata.name, service)
    elif kind == ("v1", "ConfigMap"):
        config = msgspec.convert(document, kinds.ConfigMap)
        _put(found.settings, config.metadata.name, config.data)
    elif kind == (_SOURCES, "JetStreamSource"):
        source = msgspec.convert(document, kinds.JetStreamSource)
        _put(found.sources, source.metadata.name, source.spec.sink.service())
    elif kind == (_EVENTING, "Broker"):
        found.brokers.append(read_broker(msgspec.convert(document, kinds.Broker)))
    elif kind == (_EVENTING, "Trigger"):
        found.triggers.append(read_trigger(msgspec.convert(document, kinds.Trigger)))
    elif kind in _STREAMS:
        found.streams[path] = None
    elif kind not in _IGNORED:
        raise ConfigurationError(f"the kind {kind[1]} of {kind[0]} is not understood on one machine.")


def _put(known: dict[str, Any], name: str, value: Any) -> None:
    if name in known:
        raise ConfigurationError("declared twice.")
    known[name] = value


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "without a name"


def _consistent(folder: Path, found: _Found) -> Manifests:
    if not found.services:
        raise ConfigurationError(f"No Knative Service is declared in {folder}.")
    services = {}
    for name, manifest in found.services.items():
        try:
            services[name] = read_service(manifest, found.settings)
        except ConfigurationError as error:
            raise ConfigurationError(f"Knative Service {name}: {error}") from error
    for source, service in found.sources.items():
        if service not in services:
            raise ConfigurationError(f"JetStreamSource {source} feeds {service}, which no Knative Service declares.")
    brokers = {(broker.namespace, broker.name) for broker in found.brokers}
    for trigger in found.triggers:
        if (trigger.namespace, trigger.broker) not in brokers:
            raise ConfigurationError(f"Trigger {trigger.name} belongs to the Broker {trigger.broker}, not declared.")
        if trigger.subscriber not in services:
            raise ConfigurationError(f"Trigger {trigger.name} calls {trigger.subscriber}, which is not declared.")
    return Manifests(
        services, found.sources, tuple(found.brokers), tuple(found.triggers), tuple(found.streams), found.settings
    )
