"""A Knative Service as the activator needs it: which function, in which environment, scaled how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from eventrunner.errors import ConfigurationError
from eventrunner.local import kinds
from eventrunner.local.autoscale import Scaling

__all__ = ["Server", "Service", "read_service"]

_AUTOSCALING: Final = "autoscaling.knative.dev/"
_SERVER: Final = "eventrunner.dev/server"


class Server(StrEnum):
    """What runs the function."""

    WSGI = "wsgi"
    ASGI = "asgi"
    """functions-framework, for an asynchronous function."""
    GRPC = "grpc"
    """Itself: a program that listens on $PORT of $HOST."""


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    function: str
    """Which of the project's functions it runs, by the name of its image."""
    server: Server
    env: Mapping[str, str]
    """From the ConfigMaps and the container; secrets are the platform's own affair."""
    concurrency: int
    """Requests that one replica may hold at once; 0 for any number."""
    timeout: float
    """Seconds that one request may take."""
    health: str
    """Path that answers 200 when a replica is ready; empty: a TCP connection says it."""
    scaling: Scaling


def read_service(manifest: kinds.Service, settings: Mapping[str, Mapping[str, str]]) -> Service:
    """`settings` are the ConfigMaps by name. Raises ConfigurationError for what cannot be run here."""
    template = manifest.spec.template
    if len(template.spec.containers) != 1:
        raise ConfigurationError("exactly one container can be run here.")
    container = template.spec.containers[0]
    annotations = {**manifest.metadata.annotations, **template.metadata.annotations}
    server = annotations.get(_SERVER, Server.WSGI)
    if server not in list(Server):
        raise ConfigurationError(f"{_SERVER} must be one of {', '.join(Server)}, not {server!r}.")
    if template.spec.container_concurrency < 0:
        raise ConfigurationError("containerConcurrency must not be negative.")
    probe = container.readiness_probe
    return Service(
        name=manifest.metadata.name,
        function=re.split("[:@]", container.image.rpartition("/")[2])[0],
        server=Server(server),
        env=_environment(container, settings),
        concurrency=template.spec.container_concurrency,
        timeout=template.spec.timeout_seconds,
        health=probe.http_get.path if probe and probe.http_get else "",
        scaling=read_scaling(annotations, template.spec.container_concurrency),
    )


def _environment(container: kinds.Container, settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.env_from:
        reference = source.config_map_ref
        if reference is None:
            continue
        if reference.name not in settings and not reference.optional:
            raise ConfigurationError(f"the ConfigMap {reference.name} is not declared.")
        env.update(settings.get(reference.name, {}))
    env.update((variable.name, variable.value) for variable in container.env)
    return env


def read_scaling(annotations: Mapping[str, str], concurrency: int) -> Scaling:
    """The annotations of Knative's own autoscaler (https://knative.dev/docs/serving/autoscaling/)."""
    found = {
        name.removeprefix(_AUTOSCALING): value for name, value in annotations.items() if name.startswith(_AUTOSCALING)
    }
    if found.pop("class", "kpa.autoscaling.knative.dev") != "kpa.autoscaling.knative.dev":
        raise ConfigurationError("only Knative's own autoscaler is known here (class kpa.autoscaling.knative.dev).")
    if found.pop("metric", "concurrency") != "concurrency":
        raise ConfigurationError("only the metric `concurrency` is known here.")
    utilisation = _number(found.pop("target-utilization-percentage", "70"), "target-utilization-percentage") / 100
    soft = _number(found.pop("target", "100"), "target")
    target = min(soft, concurrency) if concurrency else soft
    window = _seconds(found.pop("window", "60s"), "window")
    scaling = Scaling(
        target=max(target * utilisation, 0.01),
        min_scale=int(_number(found.pop("min-scale", "0"), "min-scale")),
        max_scale=int(_number(found.pop("max-scale", "0"), "max-scale")),
        window=window,
        panic_window=window * _number(found.pop("panic-window-percentage", "10"), "panic-window-percentage") / 100,
        panic_threshold=_number(found.pop("panic-threshold-percentage", "200"), "panic-threshold-percentage") / 100,
        retention=_seconds(found.pop("scale-to-zero-pod-retention-period", "0s"), "scale-to-zero-pod-retention-period"),
    )
    if found:
        raise ConfigurationError(f"unknown annotation {_AUTOSCALING}{min(found)}.")
    return scaling


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1e6:
        raise ConfigurationError(f"{_AUTOSCALING}{name} must be a number that is not negative, not {text!r}.")
    return value


_DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def _seconds(text: str, name: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ConfigurationError(f"{_AUTOSCALING}{name} must be a duration such as 90s or 1m30s, not {text!r}.")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds
