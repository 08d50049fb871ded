from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from eventrunner.errors import ConfigurationError, InvalidInput
from eventrunner.source.durations import parse_go, parse_iso
from eventrunner.source.filters import parse_filters
from eventrunner.source.sink import sink_url
from eventrunner.source.spec import (
    Backoff,
    BatchLimits,
    Delivery,
    Destination,
    Format,
    Ordering,
    Reference,
    SubjectPattern,
    parse_source,
    read_sources,
)

BASE = Path(__file__).parents[3] / "knative/base"


def source(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sources.eventrunner.dev/v1alpha1",
        "kind": "JetStreamSource",
        "metadata": {"name": "engine", "namespace": "er"},
        "spec": {"stream": "EVENTS", "sink": {"uri": "http://sink/"}, **spec},
    }


def errors_of(manifest: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        parse_source(manifest)
    return {error.field: error.message for error in caught.value.fields}


def test_the_sources_that_ship_are_sound_and_feed_the_stage_of_their_name() -> None:
    specs = {spec.name: spec for spec in read_sources([BASE])}
    assert set(specs) == {"event-runner", "event-engine", "analytics", "metering", "replayer"}
    assert all(spec.sink.ref is not None and spec.sink.ref.name == name for name, spec in specs.items())
    assert all(spec.dead_letter.pattern == f"deadletter.{name}.{{tenantid}}" for name, spec in specs.items())
    assert specs["event-runner"].reply == SubjectPattern("events.{tenantid}")
    assert specs["analytics"].batch == BatchLimits(20_000, 12 * 2**20, 0.25)


def test_what_a_manifest_leaves_out_has_a_default() -> None:
    spec = parse_source(source())
    assert spec.consumer == "engine"
    assert spec.filter_subject == ">"
    assert spec.batch == BatchLimits()
    assert spec.delivery == Delivery()
    assert (spec.delivery.retry_after_max, spec.delivery.max_deliver) == (300.0, 50)
    assert spec.ordering is Ordering.UNORDERED
    assert spec.reply is None
    assert spec.dead_letter.of("acme") == "deadletter.engine.acme"
    assert spec.usage.of("acme") == "usage.acme"


def test_reads_every_field() -> None:
    spec = parse_source(
        source(
            filterSubject="events.*",
            consumer="c",
            batch={"maxEvents": 7, "maxBytes": "2Ki", "linger": "PT1.5S"},
            inFlight=3,
            ordering="ByTenant",
            format="binary",
            delivery={
                "retry": 0,
                "backoffPolicy": "linear",
                "backoffDelay": "PT2S",
                "timeout": "PT1M",
                "retryAfterMax": "PT10M",
                "maxDeliver": 7,
            },
            sink={"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}, "uri": "/path"},
            reply={"ref": {"kind": "Broker", "name": "b", "namespace": "other"}},
            usage={"subject": "u.{tenantid}"},
            deadLetter={"subject": "{tenantid}.d"},
            filters=[{"exact": {"type": "t"}}],
        )
    )
    assert (spec.filter_subject, spec.consumer, spec.in_flight) == ("events.*", "c", 3)
    assert spec.batch == BatchLimits(7, 2048, 1.5)
    assert spec.delivery == Delivery(0, Backoff.LINEAR, 2.0, 60.0, 600.0, 7)
    assert (spec.ordering, spec.format) == (Ordering.BY_TENANT, Format.BINARY)
    assert spec.sink == Destination(Reference("Service", "s", "er", "v1"), "/path")
    assert spec.reply == Destination(Reference("Broker", "b", "other", "-"))
    assert spec.dead_letter.of("t") == "t.d"
    assert spec.filters is not None
    assert spec.filters({"type": "t"})


def test_every_wrong_field_is_named() -> None:
    wrong = source(
        stream="a.b",
        surprise=1,
        batch={"maxEvents": 0, "maxBytes": "lots", "linger": "5s", "extra": 1},
        inFlight="two",
        ordering="Sorted",
        format="avro",
        delivery={"retry": -1, "backoffPolicy": "wild", "timeout": "PT0S", "retryAfterMax": "5m", "maxDeliver": 0},
        sink={"uri": "ftp://x"},
        reply={"subject": "events.all"},
        deadLetter={"subject": "a b"},
        filters=[{"exact": {"type": 1}}, {"like": {}}, {"any": []}, "text"],
    )
    wrong["apiVersion"] = "v1"
    del wrong["metadata"]
    found = errors_of(wrong)
    assert set(found) >= {
        "apiVersion",
        "metadata.name",
        "spec.stream",
        "spec.surprise",
        "spec.batch.maxEvents",
        "spec.batch.maxBytes",
        "spec.batch.linger",
        "spec.batch.extra",
        "spec.inFlight",
        "spec.ordering",
        "spec.format",
        "spec.delivery.retry",
        "spec.delivery.backoffPolicy",
        "spec.delivery.timeout",
        "spec.delivery.retryAfterMax",
        "spec.delivery.maxDeliver",
        "spec.sink.uri",
        "spec.reply.subject",
        "spec.deadLetter.subject",
        "spec.filters[0].exact.type",
        "spec.filters[1].like",
        "spec.filters[2].any",
        "spec.filters[3]",
    }


def test_a_sink_is_required() -> None:
    manifest = source()
    del manifest["spec"]["sink"]
    assert errors_of(manifest) == {"spec.sink": "is required"}
    assert "spec.sink" in errors_of(source(sink={}))


_NO_WILDCARDS = "may have no wildcards in its subject, and {tenantid} and {type} only as whole tokens"


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_a_sink_of_nats_is_sent_structured_events(scheme: str) -> None:
    uri = f"{scheme}://user:secret@host:4222/results.{{tenantid}}.{{type}}"
    spec = parse_source(source(sink={"uri": uri}))
    assert (spec.sink.uri, spec.format) == (uri, Format.STRUCTURED)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("nats://user:secret@host:4222", "must be nats://SERVER:PORT/SUBJECT, not 'nats://host:4222'"),
        ("nats:///results", "must be nats://SERVER:PORT/SUBJECT, not 'nats:///results'"),
        ("nats://host/results.*", _NO_WILDCARDS),
        ("nats://host/a..b", _NO_WILDCARDS),
        ("nats://host/x-{type}", _NO_WILDCARDS),
        ("nats://host/{type}.x", "may have {type} only at the end of its subject"),
        ("ftp://user:secret@host/", "must be an http, https or nats URL, not 'ftp://host/'"),
    ],
)
def test_a_sink_of_nats_needs_a_server_and_a_subject(uri: str, problem: str) -> None:
    assert errors_of(source(sink={"uri": uri})) == {"spec.sink.uri": problem}


def test_a_sink_of_nats_takes_no_batches_no_packed_bodies_and_no_token() -> None:
    sink = {"uri": "nats://host/x", "audience": "somebody"}
    assert set(errors_of(source(sink=sink, format="batch", compression="zstd"))) == {
        "spec.format",
        "spec.compression",
        "spec.sink.audience",
    }


def test_a_reply_goes_to_no_sink_of_nats() -> None:
    assert set(errors_of(source(reply={"uri": "nats://host/x"}))) == {"spec.reply.uri"}


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_sources([tmp_path / "nothing.yaml"])
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigurationError, match=r"broken\.yaml"):
        read_sources([tmp_path])


@pytest.mark.parametrize(
    ("ref", "uri", "url"),
    [
        (Reference("Service", "s", "ns"), "", "http://s.ns.svc.cluster.local"),
        (Reference("Service", "s", "ns"), "/in", "http://s.ns.svc.cluster.local/in"),
        (Reference("Service", "here", "ns"), "", "http://127.0.0.1:1/x"),
        (Reference("Service", "here", "ns"), "in", "http://127.0.0.1:1/x/in"),
        (Reference("Broker", "b", "ns"), "", "http://broker-ingress.knative-eventing.svc.cluster.local/ns/b"),
        (None, "https://else.where/", "https://else.where/"),
    ],
)
def test_a_destination_has_an_address(ref: Reference | None, uri: str, url: str) -> None:
    assert sink_url(Destination(ref, uri), {"here": "http://127.0.0.1:1/x"}) == url


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "passes"),
        [
            ([{"exact": {"type": "order.new"}}], True),
            ([{"exact": {"type": "order"}}], False),
            ([{"exact": {"missing": "x"}}], False),
            ([{"prefix": {"type": "order."}}, {"suffix": {"type": ".new"}}], True),
            ([{"prefix": {"type": "order.", "source": "/x"}}], False),
            ([{"not": {"exact": {"source": "/shop"}}}], False),
            ([{"not": {"exact": {"missing": "x"}}}], True),
            ([{"any": [{"exact": {"type": "no"}}, {"exact": {"source": "/shop"}}]}], True),
            ([{"all": [{"exact": {"type": "no"}}, {"exact": {"source": "/shop"}}]}], False),
        ],
    )
    def test_follow_the_cloudevents_rules(self, filters: list[Any], passes: bool) -> None:
        parsed = parse_filters(filters, "filters", errors := [])
        assert not errors
        assert parsed is not None
        assert parsed({"type": "order.new", "source": "/shop"}) is passes


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("PT0.2S", 0.2), ("PT1M", 60), ("P1DT2H3M4S", 93784), ("P2W", 1_209_600), ("PT0S", 0), ("PT1,5S", 1.5)],
    )
    def test_iso_8601(self, text: str, seconds: float) -> None:
        assert parse_iso(text) == seconds

    @pytest.mark.parametrize("text", ["", "P", "PT", "5s", "P1Y", "P1M", "-PT1S", "PT1S ", "P1DT"])
    def test_what_is_not_iso_8601_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="ISO 8601"):
            parse_iso(text)

    def test_go(self) -> None:
        assert parse_go("1h30m") == 5400 * 10**9
        assert parse_go("0.5s") == 5 * 10**8
        for text in ("", "5", "1x", "h"):
            with pytest.raises(ValueError):
                parse_go(text)

    def test_backoff_grows_by_its_policy_with_jitter_and_is_bounded(self) -> None:
        jitter = random.Random(1)
        exponential = [Delivery(policy=Backoff.EXPONENTIAL, delay=1).backoff(n, jitter) for n in range(1, 100)]
        linear = [Delivery(policy=Backoff.LINEAR, delay=1).backoff(n, jitter) for n in range(1, 100)]
        for number in range(4):
            assert 2**number / 2 <= exponential[number] <= 2**number
            assert (number + 1) / 2 <= linear[number] <= number + 1
        assert max(exponential + linear) <= 30
