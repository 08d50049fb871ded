"""The Kubernetes kinds that are run here, field by field as far as they are understood.

Reference: Knative's API (https://knative.dev/docs/serving/reference/serving-api/, …/eventing/reference/eventing-api/).
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventrunner.errors import ConfigurationError

__all__ = ["Broker", "ConfigMap", "Container", "Delivery", "Destination", "JetStreamSource", "Service", "Trigger"]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class _Open(msgspec.Struct, rename="camel"):
    pass


class Metadata(_Strict):
    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Kind(_Strict):
    api_version: str
    kind: str
    metadata: Metadata


class ConfigMap(_Kind):
    data: dict[str, str] = {}


class _Reference(_Strict):
    name: str
    optional: bool = False


class EnvFrom(_Strict):
    config_map_ref: _Reference | None = None
    secret_ref: _Reference | None = None


class EnvVar(_Strict):
    name: str
    value: str = ""


class _HttpGet(_Strict):
    path: str = "/"
    port: int | str = 0


class Probe(_Strict):
    http_get: _HttpGet | None = None
    tcp_socket: dict[str, Any] | None = None
    initial_delay_seconds: float = 0
    period_seconds: float = 0
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Container(_Strict):
    """What keeps a pod within its bounds (image, resources, security) is read and has no meaning for a process here."""

    image: str
    name: str = ""
    image_pull_policy: str = ""
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    ports: list[dict[str, Any]] = []
    resources: dict[str, Any] = {}
    security_context: dict[str, Any] = {}
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    startup_probe: Probe | None = None


class PodSpec(_Strict):
    containers: list[Container]
    container_concurrency: int = 0
    timeout_seconds: float = 300
    service_account_name: str = ""
    automount_service_account_token: bool = True
    enable_service_links: bool = True
    security_context: dict[str, Any] = {}


class _Template(_Strict):
    spec: PodSpec
    metadata: Metadata = msgspec.field(default_factory=Metadata)


class _ServiceSpec(_Strict):
    template: _Template


class Service(_Kind):
    spec: _ServiceSpec


class Reference(_Strict):
    kind: str
    name: str
    api_version: str = ""
    namespace: str = ""


class Destination(_Strict):
    ref: Reference | None = None
    uri: str = ""
    audience: str = ""

    def service(self) -> str:
        """The Knative Service it points to. Raises ConfigurationError for any other destination."""
        if self.ref is None or (self.ref.kind, self.ref.api_version) != ("Service", "serving.knative.dev/v1"):
            raise ConfigurationError("only a ref to a Service of serving.knative.dev/v1 can be a destination here.")
        return self.ref.name


class _SourceSpec(_Open):
    sink: Destination


class JetStreamSource(_Open):
    """Only what this package needs of it; the adapter reads and checks the whole."""

    metadata: Metadata
    spec: _SourceSpec


class Delivery(_Strict):
    retry: int = 0
    backoff_policy: str = "exponential"
    backoff_delay: str = "PT0.2S"
    timeout: str = "PT30S"


class _BrokerSpec(_Strict):
    config: dict[str, Any] = {}
    delivery: Delivery | None = None


class Broker(_Kind):
    spec: _BrokerSpec = msgspec.field(default_factory=_BrokerSpec)


class _Filter(_Strict):
    attributes: dict[str, str] = {}


class _TriggerSpec(_Strict):
    broker: str
    subscriber: Destination
    filter: _Filter | None = None
    delivery: Delivery | None = None


class Trigger(_Kind):
    spec: _TriggerSpec
