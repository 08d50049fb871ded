from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.events import Event, decode_batch, decode_event, encode_batch
from eventrunner.events.costs import Cost
from eventrunner.events.sections import Section
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.records import RuleSet, RuleVersion, Tenant
from eventrunner.storage.stores import open_store

_RULES = """
rule Big "over a hundred" { when Event.type == "order" && Event.data.amount > 100 then
  Out.amount = Event.data.amount; Emit("alert"); Tag("size", "big"); Event.data.checked = true; Retract("Big"); }
rule Noise { when Event.type == "ping" then Drop("noise"); Retract("Noise"); }
rule Loop { when Event.type == "loop" then Event.data.n = 1; }
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    yield store
    store.close()


def _engine(store: EventStore, text: str = _RULES, active: int = 1) -> EventEngine:
    record = RuleSet(tenant="acme", name="r", active=active, versions=[RuleVersion(version=1, text=text)])
    records = {"acme.r": record.to_json()}
    tenant = Tenant(id="acme").to_json()
    return EventEngine(store, lambda _: tenant, lambda: records)


def _event(id: str, type: str = "order", data: bytes = b'{"amount":7}', tenant: str = "acme") -> Event:
    event = Event(id=id, source="/s", type=type, tenantid=tenant, receivedtime="2026-01-01T00:00:00.000000Z")
    event.set_payload(data, None)
    return event


def _decoded(sections: list[Section]) -> list[Event]:
    return [event for section in sections for event in decode_batch(b"[" + section.members + b"]")]


def _results(outcomes: Outcomes) -> list[Event]:
    return _decoded(outcomes.written)


def _derived(outcomes: Outcomes) -> list[Event]:
    return _decoded(outcomes.written_derived)


def _batch(*events: Event) -> Batch:
    return Batch(encode_batch(events))


def test_an_event_that_no_rule_touches_passes_with_its_bytes(store: EventStore) -> None:
    (event,) = _results(_engine(store)(_batch(_event("1", data=b'{ "amount" : 7.0 }'))))
    assert event.json_data == b'{ "amount" : 7.0 }'
    assert event.usagerules == 3
    assert event.usageout > 0
    assert store.get("acme", "/s", "1") is not None


def test_rules_tag_change_and_derive(store: EventStore) -> None:
    outcomes = _engine(store)(_batch(_event("1", data=b'{"amount":700}')))
    (event,) = _results(outcomes)
    (alert,) = _derived(outcomes)
    assert event.extensions is not None
    assert event.extensions.pop("originaldigest")
    assert event.extensions == {"size": "big", "derivedids": alert.id}
    assert event.decoded_data() == {"amount": 700, "checked": True}
    assert (alert.type, alert.decoded_data()) == ("alert", {"amount": 700})
    assert alert.extensions == {"causeid": "1", "causerule": "Big"}
    assert store.get("acme", "/s", alert.id) is not None


def test_a_redelivery_derives_the_same_event_and_stores_nothing_twice(store: EventStore) -> None:
    engine = _engine(store)
    first = engine(_batch(_event("1", data=b'{"amount":700}'), _event("2")))
    again = engine(_batch(_event("2"), _event("1", data=b'{"amount":700}')))
    assert [event.id for event in _derived(first)] == [event.id for event in _derived(again)]
    assert store.count("acme") == 3


def test_a_dropped_event_is_not_stored(store: EventStore) -> None:
    outcomes = _engine(store)(_batch(_event("1", "ping")))
    assert [event.id for event in outcomes.dropped] == ["1"]
    assert store.count("acme") == 0


def test_a_rule_that_never_ends_makes_a_dead_letter_with_its_name(store: EventStore) -> None:
    outcomes = _engine(store)(_batch(_event("1", "loop"), _event("2")))
    assert "Loop" in outcomes.failures[0].reason
    assert [event.id for event in _results(outcomes)] == ["2"]


def test_tenants_without_active_rules_pass(store: EventStore) -> None:
    event = _event("1", data=b'{"amount":700}', tenant="other")
    assert [result.id for result in _results(_engine(store)(_batch(event)))] == ["1"]
    assert not _derived(_engine(store, active=0)(_batch(_event("2", data=b'{"amount":700}'))))


def test_binary_data_passes_the_rules(store: EventStore) -> None:
    event = _event("1")
    event.set_payload(b"\xff\x00", "image/png")
    (result,) = _results(_engine(store)(_batch(event)))
    assert result.payload() == b"\xff\x00"


def test_what_is_published_is_what_is_stored(store: EventStore) -> None:
    outcomes = _engine(store)(_batch(_event("1", data=b'{"amount":700}'), _event("2", tenant="other")))
    assert [section.tenant for section in outcomes.written] == ["acme", "other"]
    for section, id in zip(outcomes.written, ("1", "2"), strict=True):
        assert section.members == store.get(section.tenant, "/s", id)
    (event,) = _results(_engine(store)(_batch(_event("3"))))
    # The size is of the event without the attribute that says it.
    assert len(store.get("acme", "/s", "3") or b"") == event.usageout + len(f',"usageout":{event.usageout}')


def test_another_event_of_a_known_identity_is_a_dead_letter_and_the_first_goes_on(store: EventStore) -> None:
    engine = _engine(store)
    first = _results(engine(_batch(_event("1"), _event("2"))))[0]
    outcomes = engine(_batch(_event("1", data=b'{"amount":8}'), _event("3")))
    (failure,) = outcomes.failures
    assert (failure.event.id, failure.event.decoded_data(), failure.code) == ("1", {"amount": 8}, 409)
    assert "stored before" in failure.reason
    assert [event.id for event in _results(outcomes)] == ["1", "3"]
    assert _results(outcomes)[0] == first
    assert decode_event(store.get("acme", "/s", "1") or b"") == first


def test_a_redelivery_after_a_change_of_rules_derives_what_is_stored(store: EventStore) -> None:
    big = _event("1", data=b'{"amount":700}')
    (alert,) = _derived(_engine(store)(_batch(big)))
    changed = _engine(store, _RULES.replace("Event.data.amount;", "Event.data.amount + 1;").replace("checked", "x"))
    outcomes = changed(_batch(big))
    assert _derived(outcomes) == [alert]
    # The event itself came as it came before, whatever rules made of it.
    assert outcomes.failures == []
    assert decode_event(store.get("acme", "/s", "1") or b"").decoded_data() == {"amount": 700, "checked": True}


_PLAIN = _event("1", data=b'{"amount":7}')
_BIG = _event("1", data=b'{"amount":700}')
_DROP = 'rule D { when Event.type == "order" then Drop("d"); Retract("D"); }'
_FAIL = 'rule F { when Event.type == "order" then Event.data.n = 1; }'
_OTHER = 'rule O { when Event.type == "order" then Emit("other"); Event.type = "late"; Retract("O"); }'


@pytest.mark.parametrize("changed", [_DROP, _FAIL, _OTHER, 'rule N { when false then Log(""); }'])
@pytest.mark.parametrize("event", [_PLAIN, _BIG], ids=["plain", "big"])
def test_rules_that_were_changed_meanwhile_do_not_touch_what_is_stored(
    store: EventStore, event: Event, changed: str
) -> None:
    first = _engine(store)(_batch(event))
    again = _engine(store, changed)(_batch(event, _event("2", "other")))
    assert _results(first)[0] in _results(again)
    assert [result.id for result in sorted(_results(again), key=lambda result: result.id)] == ["1", "2"]
    assert _derived(again) == _derived(first)
    assert (again.dropped, again.failures) == ([], [])
    assert store.count("acme") == 2 + len(_derived(first))


def test_an_event_that_rules_gave_another_type_and_time_is_known_again(store: EventStore) -> None:
    changing = 'rule O { when true then Event.type = "late"; Event.time = "2026-02-01T00:00:00Z"; Retract("O"); }'
    first = _results(_engine(store, changing)(_batch(_PLAIN)))
    outcomes = _engine(store)(_batch(_PLAIN))
    assert (outcomes.failures, _results(outcomes)) == ([], first)
    other = _event("1", "ping", data=b'{"amount":7}')
    assert [failure.code for failure in _engine(store, changing)(_batch(other)).failures] == [409]


def test_a_replay_derives_anew(store: EventStore) -> None:
    _engine(store)(_batch(_PLAIN))
    replayed = _event("1", data=b'{"amount":7}')
    replayed.set_extension("replayid", "r1")
    (derived,) = _derived(_engine(store, _OTHER)(_batch(replayed)))
    assert (derived.type, derived.extensions and derived.extensions["replayid"]) == ("other", "r1")


@pytest.mark.parametrize("name", ["id", "data", "causeid", "derivedids", "originaldigest", "usagein", "Bad Name", ""])
def test_rules_cannot_write_what_identifies_or_bills_an_event(store: EventStore, name: str) -> None:
    text = f'rule T {{ when Event.type == "order" then Tag("{name}", "x"); Retract("T"); }}'
    outcomes = _engine(store, text)(_batch(_event("1")))
    assert ([failure.code for failure in outcomes.failures], outcomes.written) == ([422], [])


class TestPublishedByConsumers:
    def test_rules_see_what_was_published_to_events_and_not_what_was_published_as_a_result(
        self, store: EventStore
    ) -> None:
        judged, result = _published("1"), _published("2", afterrules=True)
        outcomes = _engine(store)(_batch(judged, result, _event("3", data=b'{"amount":700}')))
        assert sorted(event.id for event in _results(outcomes)) == ["1", "2", "3"]
        causes = [event.extensions["causeid"] for event in _derived(outcomes) if event.extensions]
        assert sorted(map(str, causes)) == ["1", "3"]
        assert store.count("acme") == 5

    def test_what_rules_derive_of_it_is_a_link_of_the_same_chain(self, store: EventStore) -> None:
        (alert,) = _derived(_engine(store)(_batch(_published("1", causehops=4))))
        assert alert.extensions is not None
        assert alert.extensions["causehops"] == 4

    def test_the_first_of_an_identity_stays_and_another_one_is_no_dead_letter(self, store: EventStore) -> None:
        engine = _engine(store)
        engine(_batch(_published("1", afterrules=True)))
        again = engine(_batch(_published("1", b'{"amount":999}', afterrules=True)))
        assert again.failures == []
        (kept,) = _results(again)
        assert kept.json_data == b'{"amount":700}'

    def test_it_was_never_accepted_so_that_a_rule_that_drops_it_ends_no_accepted_event(self, store: EventStore) -> None:
        ping = _published("1")
        ping.type = "ping"
        reply = _engine(store)(_batch(ping, _event("2", "ping"))).to_events("event-engine", Cost(cpu=1))
        kinds = {record["subject_id"]: record["kind"] for event in reply if (record := event.decoded_data())}
        assert kinds == {"1": "discarded", "2": "dropped"}


def _published(id: str, data: bytes = b'{"amount":700}', **extensions: str | int | bool) -> Event:
    event = _event(id, data=data)
    for name, value in {"causeid": "0", "causeconsumer": "c", "causehops": 1, **extensions}.items():
        event.set_extension(name, value)
    return event
