from __future__ import annotations

from eventrunner.events import USAGE_TYPE, Event
from eventrunner.events.costs import Cost
from eventrunner.stage.outcomes import Outcomes


def _event(id: str, **values: int) -> Event:
    return Event(id=id, source="/s", type="t", tenantid="acme", receivedtime="2026-01-01T00:00:00.000000Z", **values)


def test_results_carry_their_share_of_the_cost() -> None:
    (event,) = Outcomes(results=[_event("1", usagecpu=5)]).to_events("engine", Cost(cpu=100, memory=7))
    assert (event.usagecpu, event.usagemem) == (105, 7)


def test_derived_events_bear_no_cost() -> None:
    (event,) = Outcomes(derived=[_event("1")]).to_events("engine", Cost(cpu=100, memory=7))
    assert (event.usagecpu, event.usagemem) == (0, 0)


def test_a_dropped_event_leaves_its_usage_and_nothing_else() -> None:
    (record,) = Outcomes(dropped=[_event("1", usagein=300)]).to_events("engine", Cost(cpu=100))
    assert record.type == USAGE_TYPE
    assert record.tenantid == "acme"
    data = record.decoded_data()
    assert (data["subject_id"], data["kind"], data["usagein"], data["usagecpu"]) == ("1", "dropped", 300, 100)


def test_a_failure_is_a_dead_letter_whose_usage_is_recorded_apart() -> None:
    outcomes = Outcomes()
    outcomes.fail(_event("1", usagein=300), 422, "no route " + "x" * 2000)
    record, letter = outcomes.to_events("event-runner", Cost(cpu=100))
    assert record.decoded_data()["usagein"] == 300
    assert letter.usagein == 0
    assert letter.extensions is not None
    assert letter.extensions["knativeerrordest"] == "/eventrunner/event-runner"
    assert letter.extensions["knativeerrorcode"] == 422
    assert len(str(letter.extensions["knativeerrordata"])) == 1024


def test_a_redelivery_names_its_usage_record_the_same() -> None:
    first, again = (Outcomes(dropped=[_event("1")]).to_events("engine", Cost(cpu=cpu))[0] for cpu in (1, 2))
    assert first.id == again.id


def test_a_replayed_dead_letter_that_fails_again_leaves_its_first_record_alone() -> None:
    first = Outcomes()
    first.fail(_event("1", usagein=300), 422, "no route")
    _, letter = first.to_events("event-runner", Cost(cpu=100))
    again = Outcomes()
    again.fail(letter, 422, "no route")
    assert [event.type for event in again.to_events("event-runner", Cost(cpu=100))] == ["t"]
