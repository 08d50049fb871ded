"""Which rules the engine runs: the platform's, then the tenant's; and that nobody's set stops anybody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.handlers.active_rules import ActiveRules
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.rules import RuleSet as CompiledRules
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.jetstream import JetStreamApi, connect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import RuleSet, RuleVersion, Tenant
from eventrunner.storage.stores import open_store
from prometheus_client import REGISTRY
from support_nats import nats_server

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    yield store
    store.close()


def record(owner: str, name: str, text: str, active: int = 1) -> bytes:
    return RuleSet(owner, name, active=active, versions=[RuleVersion(1, text)]).to_json()


def registry_of(**texts: str) -> dict[str, bytes]:
    """Keyword `owner__name`; the platform's are `platform__name`."""
    found = {}
    for key, text in texts.items():
        owner, _, name = key.partition("__")
        owner = "_platform" if owner == "platform" else owner
        found[f"{owner}.{name}"] = record(owner, name, text)
    return found


def engine(store: EventStore, records: Mapping[str, bytes]) -> EventEngine:
    return EventEngine(store, lambda tenant: Tenant(tenant).to_json(), lambda: records)


def event(id: str = "1", tenant: str = "acme", amount: int = 7) -> Event:
    made = Event(id=id, source="/s", type="order", tenantid=tenant, receivedtime="2026-01-01T00:00:00.000000Z")
    made.set_payload(b'{"amount":%d}' % amount, None)
    made.usagein = 300
    return made


def run(handler: EventEngine, *events: Event) -> Outcomes:
    return handler(Batch(encode_batch(events)))


def results(outcomes: Outcomes) -> list[Event]:
    return [item for part in outcomes.written for item in decode_batch(b"[" + part.members + b"]")]


def derived(outcomes: Outcomes) -> list[Event]:
    return [item for part in outcomes.written_derived for item in decode_batch(b"[" + part.members + b"]")]


def rule(name: str, condition: str, actions: str, salience: int = 0) -> str:
    return f'rule {name} salience {salience} {{ when {condition} then {actions} Retract("{name}"); }}\n'


class TestPlatform:
    def test_its_rules_run_first_and_the_tenants_see_what_they_made(self, store: EventStore) -> None:
        records = registry_of(
            platform__p=rule("P", "Event.data.amount > 1", 'Event.data.amount = 100; Tag("by", "platform");'),
            acme__a=rule("A", "Event.data.amount == 100", 'Tag("seen", Event.by);', salience=1000),
        )
        (result,) = results(run(engine(store, records), event()))
        assert result.extensions is not None
        assert (result.extensions["by"], result.extensions["seen"]) == ("platform", "platform")
        assert result.decoded_data() == {"amount": 100}

    def test_they_hold_for_tenants_without_rules_too(self, store: EventStore) -> None:
        records = registry_of(platform__p=rule("P", "Event.data.amount > 5", 'Drop("no");'))
        outcomes = run(engine(store, records), event("1"), event("2", amount=1), event("3", tenant="globex"))
        assert [item.id for item in results(outcomes)] == ["2"]
        assert [item.id for item in outcomes.dropped] == ["1", "3"]

    def test_a_tenant_cannot_retract_or_replace_them(self, store: EventStore) -> None:
        records = registry_of(
            platform__p=rule("Guard", "true", 'Tag("guarded", "yes");'),
            acme__a='rule A salience 9 { when true then Retract("Guard"); Retract("A"); }'
            + rule("Guard", "true", 'Tag("guard", "own");'),
        )
        (result,) = results(run(engine(store, records), event()))
        assert result.extensions == {"guarded": "yes"}

    def test_rules_of_the_same_name_derive_different_events(self, store: EventStore) -> None:
        records = registry_of(
            platform__p=rule("Same", "true", 'Emit("a");'), acme__a=rule("Same", "true", 'Emit("b");')
        )
        first, second = sorted(derived(run(engine(store, records), event())), key=lambda item: item.type)
        assert first.id != second.id
        assert [item.extensions and item.extensions["causerule"] for item in (first, second)] == [
            "_platform.Same",
            "Same",
        ]

    def test_a_redelivery_after_a_change_of_their_rules_is_what_is_stored(self, store: EventStore) -> None:
        records = registry_of(
            platform__p=rule("P", "true", 'Event.data.amount = 100; Emit("a");'),
            acme__a=rule("A", "true", 'Emit("b");'),
        )
        first = run(engine(store, records), event())
        assert {item.type for item in derived(first)} == {"a", "b"}
        for changed in (
            registry_of(platform__p=rule("P", "true", 'Drop("now");')),
            registry_of(platform__p=rule("P", "true", "Out.n = Event.data.none;")),
            registry_of(platform__p=rule("P", "true", 'Event.data.amount = 3; Emit("c");')),
        ):
            again = run(engine(store, changed), event())
            assert [item.decoded_data() for item in results(again)] == [{"amount": 100}]
            assert {item.id for item in derived(again)} == {item.id for item in derived(first)}
            assert not again.failures
            assert not again.dropped

    def test_they_are_on_nobodys_bill(self, store: EventStore) -> None:
        records = registry_of(platform__p=rule("P", "true", 'Tag("p", 1);'), acme__a=rule("A", "false", "Out.n = 1;"))
        assert [item.usagerules for item in results(run(engine(store, records), event()))] == [1]
        del records["acme.a"]
        assert [item.usagerules for item in results(run(engine(store, dict(records)), event("2")))] == [0]

    def test_a_failure_of_theirs_is_a_dead_letter_that_names_them(self, store: EventStore) -> None:
        records = registry_of(platform__p=rule("P", "true", "Out.n = Event.data.none;"))
        (failure,) = run(engine(store, records), event()).failures
        assert failure.reason == "rule _platform.P: there is no field none"

    def test_a_dead_letter_of_the_tenants_rules_is_the_event_that_came(self, store: EventStore) -> None:
        records = registry_of(
            platform__p=rule("P", "true", 'Event.data.amount = 1; Tag("p", "x"); Emit("e");'),
            acme__a=rule("A", "true", "Out.n = Event.data.none;"),
        )
        outcomes = run(engine(store, records), event())
        (failure,) = outcomes.failures
        assert (failure.event.decoded_data(), failure.event.extensions) == ({"amount": 7}, None)
        assert failure.event.usagerules == 1
        assert derived(outcomes) == []


class TestBadSets:
    GOOD = rule("Good", "true", 'Tag("good", "yes");')

    @pytest.mark.parametrize("bad", ["rule broken {", "rule Bad { when true then Nonsense(); }", GOOD])
    def test_one_is_left_out_and_the_tenants_others_go_on(self, store: EventStore, bad: str) -> None:
        records = registry_of(acme__a=self.GOOD, acme__b=bad, acme__c=rule("Last", "true", 'Tag("last", "yes");'))
        (result,) = results(run(engine(store, records), event()))
        assert result.extensions == {"good": "yes", "last": "yes"}

    def test_a_record_that_cannot_be_read_stops_nobody(self, store: EventStore) -> None:
        records = registry_of(acme__a=self.GOOD) | {"globex.x": b"nonsense", "_platform.x": b"{}"}
        found = results(run(engine(store, records), event("1"), event("2", tenant="globex")))
        assert [item.extensions for item in found] == [{"good": "yes"}, None]

    def test_an_attribute_that_an_event_cannot_have_is_a_failure_of_the_rule(self, store: EventStore) -> None:
        records = registry_of(
            acme__a=rule("A", "true", 'Event.time = "yesterday";'), globex__a=rule("B", "true", 'Tag("b", "yes");')
        )
        outcomes = run(engine(store, records), event("1"), event("2", tenant="globex"))
        assert [item.id for item in results(outcomes)] == ["2"]
        assert [item.reason for item in outcomes.failures] == ["rule A: Event.time must be an RFC 3339 timestamp"]

    def test_a_fault_of_the_compiler_stops_nobody(self, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        import eventrunner.handlers.active_rules as module

        compile_rules = module.compile_rules

        def faulty(text: str, *, name: str) -> CompiledRules:
            if name == "bad":
                raise SyntaxError("too many levels of indentation")
            return compile_rules(text, name=name)

        monkeypatch.setattr(module, "compile_rules", faulty)
        records = registry_of(acme__a=self.GOOD, acme__bad=self.GOOD, globex__bad=self.GOOD)
        found = results(run(engine(store, records), event("1"), event("2", tenant="globex")))
        assert [item.extensions for item in found] == [{"good": "yes"}, None]

    def test_who_needs_another_set_does_not_wait_while_one_is_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import eventrunner.handlers.active_rules as module

        compile_rules, going_on = module.compile_rules, threading.Event()

        def slow(text: str, *, name: str) -> CompiledRules:
            assert name != "slow" or going_on.wait(10)
            return compile_rules(text, name=name)

        monkeypatch.setattr(module, "compile_rules", slow)
        records = registry_of(acme__slow=self.GOOD, globex__a=self.GOOD)
        active = ActiveRules(lambda: records)
        waiting = threading.Thread(target=active.get, args=("acme",))
        waiting.start()
        try:
            assert active.get("globex") is not None
            assert waiting.is_alive()
        finally:
            going_on.set()
            waiting.join()
        assert active.get("acme") is not None


class TestChanges:
    def test_only_what_changed_is_compiled_again(self) -> None:
        records = registry_of(acme__a=TestBadSets.GOOD, globex__a=TestBadSets.GOOD)
        active = ActiveRules(lambda: records)
        before = active.get("acme"), active.get("globex")
        records = records | {"globex.a": record("globex", "a", rule("New", "true", "Out.n = 1;"))}
        after = active.get("acme"), active.get("globex")
        assert after[0] is before[0]
        assert after[1] is not before[1]
        records = {}
        assert active.get("acme") is None

    def test_every_engine_follows_within_a_second(self, tmp_path: Path) -> None:
        with nats_server(tmp_path / "nats") as server:
            _apply(server.url)
            mirrors = [Mirror(server.url, ("rules",)) for _ in range(3)]
            engines = [ActiveRules(lambda mirror=mirror: mirror.items("rules")) for mirror in mirrors]  # type: ignore[misc]
            writer = Mirror(server.url, ("rules",))
            assert [active.get("acme") for active in engines] == [None] * 3
            for name in ("One", "Two"):
                writer.put("rules", "acme.a", record("acme", "a", rule(name, "true", "Out.n = 1;")))
                deadline = time.monotonic() + 1
                while any((found := active.get("acme")) is None or found.rules.names != (name,) for active in engines):
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
            for mirror in (*mirrors, writer):
                mirror.close()


def _apply(url: str) -> None:
    import asyncio

    async def apply() -> None:
        client = await connect(url, name="test")
        await apply_streams(JetStreamApi(client), read_streams([ROOT / "knative" / "base" / "streams.yaml"]))
        await client.close()

    asyncio.run(apply())


def firings(tenant: str, name: str) -> float:
    labels = {"tenant": tenant, "rule": name}
    return REGISTRY.get_sample_value("eventrunner_rule_firings_total", labels) or 0.0


def seconds(tenant: str, name: str) -> float:
    labels = {"tenant": tenant, "rule": name}
    return REGISTRY.get_sample_value("eventrunner_rule_seconds_total", labels) or 0.0


def series() -> list[dict[str, Any]]:
    names = ("eventrunner_rule_firings_total", "eventrunner_rule_seconds_total")
    return [dict(sample.labels) for metric in REGISTRY.collect() for sample in metric.samples if sample.name in names]


class TestMetrics:
    def test_firings_are_counted_by_rule_exactly(self, store: EventStore) -> None:
        records = registry_of(
            platform__m=rule("P", "Event.data.amount < 50", 'Tag("p", 1);'),
            metered__m=rule("A", "Event.data.amount >= 90", 'Tag("a", 1);') + rule("B", "false", "Out.n = 1;"),
        )
        handler = engine(store, records)
        before = firings("_platform", "P")
        for start in (0, 50):
            run(handler, *(event(f"m{number}", "metered", number) for number in range(start, start + 50)))
        assert (firings("metered", "A"), firings("metered", "B")) == (10, 0)
        assert firings("_platform", "P") - before == 50

    def test_a_dear_rule_shows_by_its_time_though_it_never_fires(self, store: EventStore) -> None:
        dear = " && ".join(f"Event.subject.Len() != {number + 1000}" for number in range(50))
        text = rule("Dear", f"{dear} && false", "Out.n = 1;") + rule("Cheap", "Event.data.amount < 0", "Out.n = 1;")
        handler = engine(store, registry_of(timed__m=text))
        for number in range(200):
            made = event(f"t{number}", "timed")
            made.subject = "s"
            run(handler, made)
        assert seconds("timed", "Dear") > 3 * seconds("timed", "Cheap") > 0

    def test_a_tenant_cannot_make_any_number_of_series(self, store: EventStore) -> None:
        text = "".join(rule(f"R{number}", "true", "Out.n = 1;") for number in range(300))
        run(engine(store, registry_of(many__m=text)), event("1", "many"))
        own = {item["rule"] for item in series() if item["tenant"] == "many"}
        assert len(own) == 101
        assert firings("many", "other") == 200

    def test_series_of_rules_that_are_gone_end(self, store: EventStore) -> None:
        run(engine(store, registry_of(gone__m=rule("Old", "true", "Out.n = 1;"))), event("1", "gone"))
        assert firings("gone", "Old") == 1
        run(engine(store, registry_of(gone__m=rule("New", "true", "Out.n = 1;"))), event("2", "gone"))
        assert {item["rule"] for item in series() if item["tenant"] == "gone"} == {"New"}

    def test_events_keep_their_order_where_one_is_a_sample(self, store: EventStore) -> None:
        handler = engine(store, registry_of(acme__a=rule("A", "Event.data.amount > 3", 'Tag("a", 1);')))
        found = results(run(handler, *(event(f"o{number}", amount=number) for number in range(40))))
        assert [item.id for item in found] == [f"o{number}" for number in range(40)]
        assert [item.extensions for item in found] == [None] * 4 + [{"a": "1"}] * 36
