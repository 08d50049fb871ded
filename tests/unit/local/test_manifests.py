from __future__ import annotations

from pathlib import Path

import pytest
from eventrunner.errors import ConfigurationError
from eventrunner.local.manifests import load_manifests
from eventrunner.local.project import find_project
from eventrunner.local.services import Server
from eventrunner.source.sink import sink_audience
from eventrunner.source.spec import read_sources

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: echo, namespace: eventrunner}
spec:
  template:
    spec:
      containers:
        - image: echo
          envFrom: [{configMapRef: {name: settings}}]
          env: [{name: B, value: own}]
"""
CGI = SERVICE.replace("namespace: eventrunner", "annotations: {eventrunner.dev/server: cgi}")
SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {A: shared, B: shared}
"""
BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: eventrunner}
spec: {delivery: {retry: 2, backoffPolicy: linear, backoffDelay: PT1.5S}}
"""
TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: all, namespace: eventrunner}
spec:
  broker: default
  filter: {attributes: {type: a, subject: ""}}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: echo}, uri: /in}
"""
SOURCE = """
apiVersion: sources.eventrunner.dev/v1alpha1
kind: JetStreamSource
metadata: {name: feed}
spec: {stream: RAW, sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: echo}}}
"""


def write(folder: Path, *documents: str) -> Path:
    (folder / "all.yaml").write_text("\n---\n".join(documents))
    return folder


def test_what_the_repository_ships_can_be_run() -> None:
    project = find_project()
    manifests = load_manifests(project.manifests)
    stages = {"ingest-http", "ingest-grpc", "event-runner", "event-engine", "analytics", "metering", "replayer"}
    assert set(manifests.services) == stages | {"billing", "api", "authorizer"}
    assert manifests.services["ingest-http"].server is Server.ASGI
    assert manifests.services["ingest-grpc"].server is Server.GRPC
    assert set(manifests.sources.values()) <= set(manifests.services)
    assert [path.name for path in manifests.streams] == ["streams.yaml"]


def test_the_kustomization_names_every_manifest() -> None:
    folder = find_project().manifests
    listed = (folder / "kustomization.yaml").read_text()
    for path in folder.rglob("*.yaml"):
        assert path.name == "kustomization.yaml" or str(path.relative_to(folder)) in listed


def test_the_environment_is_the_config_maps_and_then_the_containers_own(tmp_path: Path) -> None:
    service = load_manifests(write(tmp_path, SERVICE, SETTINGS)).services["echo"]
    assert service.env == {"A": "shared", "B": "own"}


def test_triggers_match_on_every_attribute_of_their_filter(tmp_path: Path) -> None:
    trigger = load_manifests(write(tmp_path, SERVICE, SETTINGS, BROKER, TRIGGER)).triggers[0]
    assert (trigger.subscriber, trigger.path) == ("echo", "/in")
    assert trigger.matches({"type": "a", "subject": "anything"})
    assert not trigger.matches({"type": "a"})
    assert not trigger.matches({"type": "b", "subject": "anything"})


def test_delivery_waits_as_the_broker_says(tmp_path: Path) -> None:
    delivery = load_manifests(write(tmp_path, SERVICE, SETTINGS, BROKER)).brokers[0].delivery
    assert (delivery.retry, [delivery.wait(attempt) for attempt in range(2)]) == (2, [1.5, 3.0])


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((), "all.yaml|No Knative Service"),
        (("{a: [",), "all.yaml is not YAML"),
        (("- 1",), "not an object"),
        (("{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}",), "Deployment x: the kind .* not understood"),
        ((SERVICE.replace("template:", "traffic: []\n  template:"), SETTINGS), r"Service echo: .*`traffic`.*spec"),
        ((SERVICE.replace("image: echo", "{image: echo, command: [sh]}"), SETTINGS), "all.yaml"),
        ((SERVICE, SERVICE, SETTINGS), "declared twice"),
        ((SERVICE,), "ConfigMap settings is not declared"),
        ((CGI, SETTINGS), "wsgi, asgi, grpc"),
        ((SERVICE, SETTINGS, SOURCE.replace("name: echo", "name: nobody")), "feed feeds nobody"),
        ((SERVICE, SETTINGS, TRIGGER), "Broker default, not declared"),
        ((SERVICE, SETTINGS, BROKER.replace("linear", "random")), "Broker default: backoffPolicy"),
        ((SERVICE, SETTINGS, BROKER, TRIGGER.replace("name: echo", "name: nobody")), "calls nobody"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_by_name(tmp_path: Path, documents: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_manifests(write(tmp_path, *documents))


def test_a_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no manifests"):
        load_manifests(tmp_path)


def test_every_function_takes_the_tokens_of_the_sources_that_feed_it() -> None:
    folder = find_project().manifests
    services = load_manifests(folder).services
    sources = read_sources([folder])
    assert len(sources) >= 5
    for source in sources:
        assert source.sink.ref is not None
        env = services[source.sink.ref.name].env
        assert env["EVENTRUNNER_SINK_AUDIENCE"] == sink_audience(source.sink), source.name
        assert env["EVENTRUNNER_SINK_JWKS"].endswith("/.well-known/jwks.json")
