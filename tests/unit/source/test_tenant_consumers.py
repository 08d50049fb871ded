"""What the template that ships becomes for a consumer's record."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from eventrunner.errors import ConfigurationError
from eventrunner.local import kinds
from eventrunner.local.manifests import load_manifests
from eventrunner.local.services import read_service
from eventrunner.source.spec import Ordering, SourceSpec, SubjectPattern, parse_source
from eventrunner.source.tenant_consumers import is_tenants_durable, kubernetes_name, manifests, read_template
from eventrunner.storage.records import Consumer, Subscription
from msgspec import convert

KNATIVE = Path(__file__).parents[3] / "knative"
TEMPLATE = KNATIVE / "templates" / "tenant-consumer.yaml"


def record(**subscription: Any) -> Consumer:
    return Consumer(
        "acme",
        "Late_flights",
        "acme=Late_flights",
        subscription=Subscription(**subscription),
        created="2026-11-29T10:00:00.120000Z",
    )


def made(**subscription: Any) -> tuple[kinds.Service, SourceSpec]:
    service, source = manifests(record(**subscription), read_template(TEMPLATE))
    return convert(service, kinds.Service), parse_source(source)


def passes(spec: SourceSpec, **event: str) -> bool:
    return spec.filters is None or spec.filters(event)


def test_the_service_is_locked_down_as_all_others_and_told_which_consumer_it_runs() -> None:
    template = read_template(TEMPLATE)
    service, source = manifests(record(), template)
    name = kubernetes_name("acme", "Late_flights")
    assert re.fullmatch("consumer-acme-late-flights-[0-9a-f]{16}", name)
    found = read_service(convert(service, kinds.Service), {"eventrunner-consumer-settings": {"A": "b"}})
    assert (found.name, found.function, found.scaling.min_scale) == (name, "tenant-consumer", 0)
    assert found.env["EVENTRUNNER_CONSUMER"] == "acme/Late_flights"
    assert found.env["EVENTRUNNER_SINK_AUDIENCE"] == f"serving.knative.dev/service/eventrunner/{name}"
    # What others are told, and every secret, is not for it.
    assert not set(found.env) - {"A", "THREADS", "EVENTRUNNER_CONSUMER", "EVENTRUNNER_SINK_AUDIENCE"}
    assert "secret" not in TEMPLATE.read_text().replace("any secret", "")
    others = read_yaml(KNATIVE / "base" / "services" / "event-engine.yaml")
    ours, theirs = (item["spec"]["template"]["spec"] for item in (service, others))
    assert ours["containers"][0]["securityContext"] == theirs["containers"][0]["securityContext"]
    assert ours["automountServiceAccountToken"] is False
    for document in (service, source, service["spec"]["template"]):
        assert document["metadata"]["labels"]["eventrunner.dev/tenant"] == "acme"
        assert document["metadata"]["annotations"]["eventrunner.dev/consumer"] == "acme/Late_flights"
    # The template itself stays what it is.
    assert template == read_template(TEMPLATE)


def read_yaml(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def test_the_source_reads_the_tenants_subject_and_no_other() -> None:
    service, source = made()
    assert (source.stream, source.filter_subject, source.consumer) == ("RESULTS", "results.acme", "acme=Late_flights")
    assert is_tenants_durable(source.consumer)
    assert source.sink.ref is not None
    assert source.sink.ref.name == service.metadata.name
    assert source.start_time == "2026-11-29T10:00:00.12Z"
    assert source.ordering is Ordering.UNORDERED
    assert source.filters is None
    _, before = made(stream="events", ordered=True)
    assert (before.stream, before.filter_subject, before.ordering) == ("EVENTS", "events.acme", Ordering.BY_TENANT)


def test_no_request_waits_for_room_in_the_replicas() -> None:
    service, source = made()
    assert source.in_flight <= 8 * service.spec.template.spec.container_concurrency
    assert source.delivery.timeout <= service.spec.template.spec.timeout_seconds


def test_dead_letters_tell_which_consumer_gave_the_event_up() -> None:
    assert made()[1].dead_letter == SubjectPattern("deadletter.consumer-Late_flights.{tenantid}")


def test_types_and_sources_are_filters_and_a_star_stands_for_all_that_begin_so() -> None:
    _, source = made(types=["order.*", "invoice"], sources=["/shop"])
    assert passes(source, type="order.made", source="/shop")
    assert passes(source, type="invoice", source="/shop")
    assert not passes(source, type="invoice.late", source="/shop")
    assert not passes(source, type="order", source="/shop")
    assert not passes(source, type="order.made", source="/other")
    assert made(types=["order", "*"])[1].filters is None


@pytest.mark.parametrize(
    ("one", "other"), [(("a-b", "c"), ("a", "b-c")), (("A", "x"), ("a", "x")), (("t" * 63, "n1"), ("t" * 63, "n2"))]
)
def test_no_two_consumers_have_one_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = {kubernetes_name(*one), kubernetes_name(*other)}
    assert len(names) == 2
    # A revision's name has six characters more, and has to fit into a label.
    assert all(re.fullmatch("[a-z][-a-z0-9]{0,56}", name) for name in names)


def test_a_template_that_lacks_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("{kind: Service}")
    with pytest.raises(ConfigurationError, match="one Service and one JetStreamSource"):
        read_template(tmp_path / "template.yaml")


def test_the_template_is_not_part_of_what_runs_by_itself() -> None:
    assert "tenant-consumer" not in load_manifests(KNATIVE / "base").services
