"""The chain comes to what the engine comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eventrunner.handlers.rule_chain import RuleChain
from eventrunner.handlers.verdicts import changed, derive
from eventrunner.rules import compile_rules
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.stores import open_store

from tests.unit.handlers.test_rule_sets import derived, engine, event, registry_of, results, rule, run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    yield store
    store.close()


RULES = {
    "nothing": rule("Not", "Event.data.amount > 100", 'Emit("none");'),
    "changes": rule("Twice", "true", 'Event.data.amount *= 2; Event.subject = "s"; Tag("by", "x"); RouteTo("r");'),
    "derives": rule("Out", "Event.data.amount > 5", 'Out.n = Event.data.amount; Emit("a"); Emit("b");'),
    "drops": rule("Drops", "Event.data.amount > 10", 'Emit("last"); Drop("too much");'),
    "fails": rule("Fails", "Event.data.amount > 5", 'Emit("never"); Out.n = Event.data.none;'),
}


@pytest.mark.parametrize("own", ["", *RULES])
@pytest.mark.parametrize("platform", ["", *RULES])
def test_a_chain_comes_to_what_the_engine_comes_to(store: EventStore, platform: str, own: str) -> None:
    texts = {"platform__p": platform, "acme__a": own}
    outcomes = run(engine(store, registry_of(**{key: RULES[name] for key, name in texts.items() if name})), event())
    chain = RuleChain(*(compile_rules(RULES[name]) if name else None for name in (platform, own)))
    came = event()
    verdict = chain.evaluate(came, {"id": "acme", "name": "", "plan": "standard"})
    shown = [explanation for _, explanation in chain.explain(came, {"id": "acme", "name": "", "plan": "standard"})]
    fired = [name for explanation in shown if explanation.verdict for name in explanation.verdict.fired]
    assert fired == [name.removeprefix("_platform.") for name in (verdict.fired if verdict else ())]
    if verdict is None:
        assert results(outcomes)[0].decoded_data() == came.decoded_data()
        return
    if verdict.error is not None:
        assert [item.reason for item in outcomes.failures] == [f"rule {verdict.error.rule}: {verdict.error.message}"]
        assert not outcomes.written
        return
    assert [item.id for item in outcomes.dropped] == (["1"] if verdict.dropped else [])
    assert {item.type for item in derived(outcomes)} == {item.type for item in verdict.emitted}
    assert {item.id for item in derived(outcomes)} == {item.id for item in derive(came, verdict)}
    for result in results(outcomes):
        wanted = changed(came, verdict)
        extensions = {name: value for name, value in (result.extensions or {}).items() if name != "derivedids"}
        assert (result.decoded_data(), result.subject) == (wanted.decoded_data(), wanted.subject)
        assert extensions == (wanted.extensions or {})


def test_the_tenants_rules_see_what_the_platforms_made() -> None:
    platform = compile_rules(rule("P", "true", "Event.data.amount = 100;"))
    own = compile_rules(rule("A", "Event.data.amount == 100", 'Tag("seen", "yes");'))
    came = event()
    verdict = RuleChain(platform, own).evaluate(came, {})
    assert verdict is not None
    assert (verdict.fired, verdict.data, verdict.tags) == (("_platform.P", "A"), b'{"amount":100}', {"seen": "yes"})
    assert came.decoded_data() == {"amount": 7}
