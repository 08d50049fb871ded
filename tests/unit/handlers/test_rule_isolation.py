"""What is wrong with one tenant's rules is felt by no other tenant."""

from __future__ import annotations

import pytest
from eventrunner.events import Event, decode_batch, encode_batch
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.stage import Batch
from eventrunner.storage.records import RuleSet, RuleVersion, Tenant
from eventrunner.storage.stores import open_store

GOOD = 'rule Good { when Event.data.n > 0 then Event.data.seen = true; Retract("Good"); }'
BAD = {
    "broken": "rule A {",
    "unknown name": 'rule A { when Evnt.type == "x" then Retract("A"); }',
    "endless": "rule A { when Event.data.n > 0 then Event.data.n += 1; }",
    "slow": "rule A { when "
    + " || ".join(f'Event.data.s.Replace("a", "{n}").Len() == 1' for n in range(900))
    + " then Event.data.x = 1; }",
    "quoted": 'rule A { when Event.data["\\"\\n"] == 1 then Retract("Nobody"); }',
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in BAD.items()])
def test_events_of_others_pass_their_rules(text, tmp_path):
    records = {
        f"{tenant}.r": RuleSet(
            tenant=tenant, name="r", active=1, versions=[RuleVersion(version=1, text=rules)]
        ).to_json()
        for tenant, rules in (("bad", text), ("good", GOOD))
    }
    tenants = {name: Tenant(id=name).to_json() for name in ("bad", "good")}
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    try:
        events = [_event(tenant, number) for number in range(3) for tenant in ("bad", "good")]
        outcomes = EventEngine(store, tenants.get, lambda: records)(Batch(encode_batch(events)))
        passed = [event for section in outcomes.written for event in decode_batch(b"[" + section.members + b"]")]
    finally:
        store.close()
    seen = [event.id for event in passed if event.tenantid == "good" and event.decoded_data().get("seen")]
    assert seen == ["0", "1", "2"]
    assert len(passed) + len(outcomes.failures) == len(events)


def _event(tenant: str, number: int) -> Event:
    event = Event(id=str(number), source="/s", type="x", tenantid=tenant, receivedtime="2026-01-01T00:00:00.000000Z")
    event.set_payload(b'{"n":1,"s":"%b"}' % (b"a" * 900_000), None)
    return event
