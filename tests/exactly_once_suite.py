"""Effect exactly once, from the event engine on: whatever is delivered again, regrouped, reordered or lost in a crash.

An event store's test module inherits `ExactlyOnceSuite` and gives it `store` and `analytics` fixtures. Both may live
longer than an example, so each one has a tenant of its own.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from eventrunner.billing.invoices import make_invoice
from eventrunner.billing.periods import Period
from eventrunner.billing.plans import shipped_plan
from eventrunner.errors import Unavailable
from eventrunner.events import USAGE_TYPE, Event, encode_batch
from eventrunner.events.costs import Cost
from eventrunner.events.event import Identity
from eventrunner.handlers.analytics import EventAnalytics
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.handlers.metering import Metering
from eventrunner.ids import new_id
from eventrunner.stage import Batch
from eventrunner.storage.analytics import Analytics
from eventrunner.storage.analytics_model import Totals
from eventrunner.storage.event_store import EventStore, PutReport, Row
from eventrunner.storage.rebuild import rebuild_page
from eventrunner.storage.records import RuleSet, RuleVersion, Tenant
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

__all__ = ["Crash", "ExactlyOnceSuite"]

_SINCE = datetime(2026, 11, 1, tzinfo=UTC)
_PERIOD = Period.of(_SINCE)

_FIRST = """
rule Big { when Event.data.n >= 8 then Out.n = Event.data.n; Emit("big"); Emit("bigger"); Retract("Big"); }
rule Mark { when Event.data.n == 3 || Event.data.n == 9 then Event.data.marked = true; Tag("mark", "x");
  Event.type = "marked"; Retract("Mark"); }
rule Noise { when Event.data.n == 1 then Drop("noise"); Retract("Noise"); }
rule Bad { when Event.data.n == 2 then Event.data.n = Event.data.nothing; }
"""
# None of the two drops an event from which it derives another: see `handlers.first_verdict`.
_SECOND = """
rule Big { when Event.data.n >= 5 then Emit("other"); Tag("late", "x"); Retract("Big"); }
rule Noise { when Event.data.n == 3 || Event.data.n == 4 then Drop("noise"); Retract("Noise"); }
rule Bad { when Event.data.n == 7 then Event.data.n = Event.data.nothing; }
"""
_RULES = (_FIRST, _SECOND, 'rule None { when false then Log(""); }')


def _size(n: int, other: bool = False) -> int:
    """Bytes that an event came in with; those of the two contents of an identity differ, either way."""
    return 100 + 7 * n + (0 if not other else 31 if n % 3 else -31)


class Crash(Exception):
    pass


@dataclass
class _CrashingStore:
    """Ends the engine before or after one of its calls."""

    store: EventStore
    calls: int
    """How many calls it lives through; the next one dies, before it (even) or after it (odd)."""

    def put(self, rows: Sequence[Row]) -> PutReport:
        return self._call(lambda: self.store.put(rows))

    def stored(self, identities: Collection[Identity]) -> dict[Identity, bytes]:
        return self._call(lambda: self.store.stored(identities))

    def _call(self, work: Callable[[], Any]) -> Any:
        self.calls -= 2
        if self.calls == -2:
            raise Crash
        answer = work()
        if self.calls == -1:
            raise Crash
        return answer


@dataclass
class _World:
    store: EventStore
    analytics: Analytics
    chance: random.Random
    tenant: str = field(default_factory=lambda: f"T{new_id()}")
    rules: str = _FIRST
    crash_inside: Callable[[int], contextlib.AbstractContextManager[None]] = lambda _: contextlib.nullcontext()
    results: list[Event] = field(default_factory=list)
    usage: list[Event] = field(default_factory=list)
    letters: list[Event] = field(default_factory=list)

    def event(self, n: int, other: bool = False) -> Event:
        """Of `n` and its double with `other` content one is a conflict, whichever comes second."""
        event = Event(
            id=f"{n}",
            source=f"/{n % 2}",
            type="t",
            tenantid=self.tenant,
            usagein=_size(n, other),
            receivedtime=f"2026-11-{1 + n:02}T00:00:00.000000Z",
            time=f"2026-11-{1 + n % 7:02}T00:00:00Z",
        )
        event.set_payload(json.dumps({"n": n % 10, "other": other}).encode(), None)
        return event

    def deliver(self, events: Sequence[Event], store: Any = None) -> None:
        """To the engine; what it answers is published."""
        record = RuleSet(self.tenant, "r", 1, [RuleVersion(1, self.rules)]).to_json()
        tenant = Tenant(self.tenant).to_json()
        engine = EventEngine(store or self.store, lambda _: tenant, lambda: {f"{self.tenant}.r": record})
        outcomes = engine(Batch(encode_batch(events)))
        cost = Cost(self.chance.randrange(1, 10**6), self.chance.randrange(1, 10**3))
        for event in outcomes.to_events("event-engine", cost):
            if event.type == USAGE_TYPE:
                self.usage.append(event)
            elif "knativeerrorcode" in (event.extensions or {}):
                self.letters.append(event)
            else:
                self.results.append(event)

    def storm(self, events: Sequence[Event], steps: int, *, change_rules: bool) -> None:
        for _ in range(steps):
            if change_rules:
                self.rules = self.chance.choice(_RULES)
            some = self.chance.choices(events, k=self.chance.randrange(1, 2 * len(events)))
            match self.chance.randrange(4):
                case 0:
                    self.crash(some)
                case 1:
                    self.deliver(some)
                case _:
                    self.analyse(self.chance.sample(self.results, self.chance.randrange(len(self.results) + 1)))
                    self.meter(self.chance.sample(self.usage, self.chance.randrange(len(self.usage) + 1)))

    def crash(self, events: Sequence[Event]) -> None:
        with contextlib.suppress(Crash, Unavailable), self.crash_inside(self.chance.randrange(1, 12)):
            self.deliver(events, _CrashingStore(self.store, self.chance.randrange(8)))

    def settle(self, events: Sequence[Event]) -> None:
        """Everything is delivered at last."""
        self.deliver(events)
        self.analyse(self.results)
        self.meter(self.usage)

    def analyse(self, events: Sequence[Event]) -> None:
        while events:
            size = self.chance.randrange(1, len(events) + 1)
            EventAnalytics(self.analytics)(Batch(encode_batch(events[:size])))
            events = events[size:]

    def meter(self, records: Sequence[Event]) -> None:
        if records:
            Metering(self.analytics)(Batch(encode_batch(records)))

    def rebuild(self) -> int:
        """Events that were missing."""
        restored, cursor = 0, None
        while True:
            page = rebuild_page(self.store, self.analytics, self.tenant, since=None, until=None, cursor=cursor, limit=7)
            restored, cursor = restored + page.restored, page.next_cursor
            if cursor is None:
                return restored

    # --- answers

    def stored(self) -> dict[tuple[str, str], bytes]:
        bodies = self.store.list(self.tenant, limit=10_000).bodies
        found = {(event["source"], event["id"]): body for body in bodies for event in (json.loads(body),)}
        # Cassandra counts identities, of which a crash may leave one without its event.
        assert len(found) == len(bodies) <= self.store.count(self.tenant)
        return found

    def analysed(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(type, data) of each identity, which is the same in all its rows."""
        rows = self.query("SELECT source, id, groupUniqArray((type, data, extensions)) FROM events {} GROUP BY ALL")
        assert all(len(contents) == 1 for *_, contents in rows)
        return {(source, id): tuple(contents[0][:2]) for source, id, contents in rows}

    def query(self, sql: str, column: str = "tenantid") -> Sequence[Any]:
        where = f"WHERE {column} = '{self.tenant}'"
        return self.analytics._clickhouse.query(sql.format(where))

    def delete(self, condition: str) -> None:
        delete = f"ALTER TABLE events DELETE WHERE tenantid = '{self.tenant}' AND ({condition})"
        self.analytics._clickhouse.command(f"{delete} SETTINGS mutations_sync = 2")

    def totals(self) -> Totals:
        return self.analytics.totals(self.tenant, _PERIOD.since, _PERIOD.until)

    def view(self) -> Sequence[Any]:
        """What `tenant_usage` says, which is what is billed."""
        rows = self.query("SELECT * FROM tenant_usage {} ORDER BY ALL", column="tenant_id")
        cpu, memory, *network = ([row[column] for row in rows] for column in range(2, 6))
        totals = self.totals()
        assert [sum(bytes) for bytes in network] == [totals.ingress, totals.egress]
        assert (sum(cpu) * 1e9, sum(memory) * 1048576000) == pytest.approx((totals.cpu, totals.memory))
        return rows

    def answers(self) -> dict[str, Any]:
        totals = self.totals()
        plan = shipped_plan("standard")
        assert plan is not None
        invoice = make_invoice(self.tenant, _PERIOD, plan, totals, status="final", issued=_SINCE)
        days = self.analytics.usage(
            self.tenant, _PERIOD.since, _PERIOD.until, window="day", group_by=("source", "type")
        )
        return {
            "stored": self.stored(),
            "analysed": self.analysed(),
            "counts": self.analytics.counts().get(self.tenant),
            "totals": totals,
            "days": days,
            "view": self.view(),
            "invoice": invoice.to_json(),
        }


_EXAMPLES = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class ExactlyOnceSuite:
    @pytest.fixture
    def store(self) -> EventStore:
        raise NotImplementedError

    @pytest.fixture
    def analytics(self) -> Analytics:
        raise NotImplementedError

    @contextlib.contextmanager
    def crash_inside(self, store: EventStore, step: int) -> Iterator[None]:
        """Within it, a call of the store ends at that step of its work with Crash; none if it rolls back."""
        yield

    @_EXAMPLES
    @given(seed=st.integers(0, 2**32), count=st.integers(1, 25), steps=st.integers(0, 12))
    def test_what_is_delivered_again_in_any_way_changes_nothing(
        self, store: EventStore, analytics: Analytics, seed: int, count: int, steps: int
    ) -> None:
        once = _World(store, analytics, random.Random(seed))
        once.settle([once.event(n) for n in range(count)])
        world = _World(store, analytics, random.Random(seed), crash_inside=partial(self.crash_inside, store))
        events = [world.event(n) for n in range(count)]
        world.storm(events, steps, change_rules=False)
        world.settle(events)
        answers = world.answers()
        assert answers["analysed"] == {
            (source, id): (type, data) for (source, id), (type, data) in _renamed(once, world).items()
        }
        assert answers["stored"].keys() == answers["analysed"].keys()
        assert _without_cost(world.totals()) == _without_cost(once.totals())
        assert answers["totals"].events == count
        assert answers["totals"].ingress == sum(_size(n) for n in range(count))
        world.storm(events, steps, change_rules=False)
        assert world.answers() == answers

    @_EXAMPLES
    @given(seed=st.integers(0, 2**32), count=st.integers(1, 25), steps=st.integers(0, 12))
    def test_rules_that_change_between_deliveries_count_nothing_twice(
        self, store: EventStore, analytics: Analytics, seed: int, count: int, steps: int
    ) -> None:
        world = _World(store, analytics, random.Random(seed), crash_inside=partial(self.crash_inside, store))
        events = [world.event(n) for n in range(count)]
        world.storm(events, steps, change_rules=True)
        world.settle(events)
        answers = world.answers()
        assert answers["stored"].keys() == answers["analysed"].keys()
        ingress = sum(_size(n) for n in range(count))
        assert (answers["totals"].events, answers["totals"].ingress) == (count, ingress)
        world.storm(events, steps, change_rules=True)
        world.settle(events)
        later = world.answers()
        assert later["stored"].keys() == later["analysed"].keys()
        assert {identity: later["stored"][identity] for identity in answers["stored"]} == answers["stored"]
        assert (later["totals"].events, later["totals"].ingress) == (count, ingress)

    @_EXAMPLES
    @given(seed=st.integers(0, 2**32), count=st.integers(1, 25), steps=st.integers(0, 12))
    def test_of_two_events_of_one_identity_the_first_stays_and_the_other_is_a_dead_letter(
        self, store: EventStore, analytics: Analytics, seed: int, count: int, steps: int
    ) -> None:
        # Only events that rules neither drop nor fail: nothing of those is stored that could be another's first.
        world = _World(
            store, analytics, random.Random(seed), crash_inside=partial(self.crash_inside, store), rules=_RULES[2]
        )
        events = [world.event(n) for n in range(count)]
        others = [world.event(n, other=True) for n in range(count)]
        world.storm(events, steps, change_rules=False)
        world.settle(events)
        before = world.answers()
        world.storm(events + others, steps, change_rules=False)
        world.settle(others)
        after = world.answers()
        for name in ("stored", "analysed", "counts"):
            assert after[name] == before[name]
        larger = sum(max(_size(n), _size(n, other=True)) for n in range(count))
        assert (after["totals"].events, after["totals"].ingress) == (count, larger)
        assert {letter.id for letter in world.letters} == {event.id for event in events}
        assert all(json.loads(bytes(letter.data))["other"] for letter in world.letters)
        codes = Counter(letter.extensions["knativeerrorcode"] for letter in world.letters if letter.extensions)
        assert set(codes) == {409}

    @_EXAMPLES
    @given(seed=st.integers(0, 2**32), count=st.integers(1, 25), steps=st.integers(0, 12))
    def test_a_rebuild_of_the_analytics_changes_nothing_that_is_there_and_brings_back_what_is_not(
        self, store: EventStore, analytics: Analytics, seed: int, count: int, steps: int
    ) -> None:
        world = _World(store, analytics, random.Random(seed), crash_inside=partial(self.crash_inside, store))
        events = [world.event(n) for n in range(count)]
        world.storm(events, steps, change_rules=False)
        world.rebuild()
        world.settle(events)
        answers = world.answers()
        assert world.rebuild() == 0
        assert world.answers() == answers
        # Nothing counts that was made again while the real row was on its way.
        world.delete("writtentime > '2290-01-01'")
        assert world.answers() == answers
        world.delete(f"id IN ('{events[0].id}', '{events[-1].id}') OR causeid != ''")
        lost = len(answers["analysed"]) - len(world.analysed())
        assert world.rebuild() == lost
        later = world.answers()
        for name in ("stored", "analysed", "counts"):
            assert later[name] == answers[name]
        assert _without_cost(later["totals"]) == _without_cost(answers["totals"])


def _without_cost(totals: Totals) -> Totals:
    """CPU and memory are measured anew by each delivery; a size has their digits in it."""
    return totals._replace(cpu=0, memory=0, egress=0)


def _renamed(once: _World, world: _World) -> dict[tuple[str, str], tuple[str, str]]:
    """What is analysed in one world, with the ids that derived events have in another: they follow from the tenant."""
    ids = {
        body_of_one["id"]: body_of_other["id"]
        for body_of_one, body_of_other in zip(_derived(once), _derived(world), strict=True)
    }
    return {(source, ids.get(id, id)): content for (source, id), content in once.analysed().items()}


def _derived(world: _World) -> list[dict[str, Any]]:
    events = [json.loads(body) for body in world.stored().values()]
    derived = [event for event in events if "causeid" in event]
    return sorted(derived, key=lambda event: (event["source"], event["causeid"], event["type"]))
