from __future__ import annotations

from eventrunner.events import Event, encode_batch
from eventrunner.events.envelopes import RAW_TYPE, describe_request, envelope
from eventrunner.events.packing import bracket, pack
from eventrunner.events.sections import Section
from eventrunner.handlers.event_runner import EventRunner
from eventrunner.stage import Batch
from eventrunner.storage.records import Tenant


def _batch(*events: Event) -> Batch:
    return Batch(encode_batch(events))


def _event(id: str, type: str = "order.paid") -> Event:
    return Event(id=id, source="/s", type=type, tenantid="acme")


def _raw(payload: bytes) -> Event:
    event = envelope(payload, "application/json", id="r1", request=describe_request({}, {}))
    event.tenantid = "acme"
    return event


def _runner(**tenant: object) -> EventRunner:
    record = Tenant(id="acme", **tenant).to_json()  # type: ignore[arg-type]
    return EventRunner(lambda _: record)


def test_events_pass_unchanged_without_routes() -> None:
    events = [_event("1"), _event("2")]
    assert _runner()(_batch(*events)).results == events


def test_a_raw_payload_becomes_an_event_by_the_tenants_adapter() -> None:
    runner = _runner(adapters=[{"name": "a", "type": "{kind}", "source": "/s", "id": "{n}"}])
    (event,) = runner(_batch(_raw(b'{"kind":"x","n":7}'))).results
    assert (event.id, event.type, event.tenantid) == ("7", "x", "acme")


def _packed(*events: Event) -> Batch:
    members = pack(encode_batch(list(events))[1:-1])
    return Batch(bracket(members), packed=True, sections=[Section("acme", len(events), members)])


def test_packed_events_without_routes_are_not_even_decoded() -> None:
    batch = _packed(_event("1"), _event("2"))
    assert _runner()(batch).passed == batch.sections


def test_packed_events_are_looked_into_where_a_raw_payload_or_a_route_asks_for_it() -> None:
    runner = _runner(adapters=[{"name": "a", "type": "{kind}", "source": "/s", "id": "{n}"}])
    outcomes = runner(_packed(_event("1"), _raw(b'{"kind":"x","n":7}')))
    assert ([event.id for event in outcomes.results], outcomes.passed) == (["1", "7"], [])
    outcomes = _runner(routes=[{"name": "all", "set": {"type": "v2"}}])(_packed(_event("1")))
    assert [event.type for event in outcomes.results] == ["v2"]
    assert outcomes.passed == []


def test_a_payload_that_no_adapter_fits_is_a_dead_letter_with_the_reason() -> None:
    outcomes = _runner()(_batch(_event("1"), _raw(b"1")))
    assert [event.id for event in outcomes.results] == ["1"]
    assert "No adapter fits" in outcomes.failures[0].reason
    assert outcomes.failures[0].code == 422
    # As it came in, so that it can be tried again once there is an adapter.
    assert (outcomes.failures[0].event.type, outcomes.failures[0].event.extensions) == (
        RAW_TYPE,
        {"rawrequest": "{}"},
    )


def test_routes_transform_discard_and_refuse() -> None:
    runner = _runner(
        routes=[
            {"name": "paid", "when": {"type": "order.paid"}, "set": {"type": "v2.paid"}},
            {"name": "noise", "when": {"type": "ping"}, "discard": True},
        ]
    )
    outcomes = runner(_batch(_event("1"), _event("2", "ping"), _event("3", "other")))
    assert [event.type for event in outcomes.results] == ["v2.paid"]
    assert [event.id for event in outcomes.dropped] == ["2"]
    assert [failure.event.id for failure in outcomes.failures] == ["3"]


def test_a_changed_tenant_record_counts_at_once() -> None:
    records = [Tenant(id="acme").to_json()]
    runner = EventRunner(lambda _: records[-1])
    assert runner(_batch(_event("1"))).results
    records.append(Tenant(id="acme", routes=[{"name": "none", "when": {"type": "x"}}]).to_json())
    assert runner(_batch(_event("1"))).failures
