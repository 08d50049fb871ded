"""Replays over a real event store and a real NATS server, crashes included."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from eventrunner.errors import NotFound, Unavailable
from eventrunner.events import Event, decode_batch, decode_event, encode_batch, encode_event
from eventrunner.events.event import USAGE_ATTRIBUTES, micros
from eventrunner.events.packing import unpack
from eventrunner.handlers.event_engine import EventEngine
from eventrunner.replay.handler import Replayer
from eventrunner.replay.ledger import ReplayLedger
from eventrunner.replay.outbox import Outbox, flagged
from eventrunner.replay.record import Replay, State, Target, task_event
from eventrunner.replay.targets import Takers
from eventrunner.replay.worker import ReplayWorker
from eventrunner.source.streams import apply_streams, read_streams
from eventrunner.stage import Batch
from eventrunner.storage.event_store import EventStore
from eventrunner.storage.jetstream import JetStreamApi, JetStreamError, connect
from eventrunner.storage.mirror import Mirror
from eventrunner.storage.records import Consumer, RuleSet, RuleVersion, Tenant
from eventrunner.storage.stores import open_store
from nats.aio.client import Client
from support_nats import NatsServer, nats_server

from tests.replay_suite import ReplaySuite

STREAMS = Path(__file__).parents[3] / "knative" / "base" / "streams.yaml"
RULES = """
rule Big { when Event.data.amount >= 90 then
  Out.amount = Event.data.amount; Emit("alert"); Tag("size", "big"); Retract("Big"); }
rule Low { when Event.data.amount < 5 then Drop("low"); Retract("Low"); }
"""
START = datetime(2026, 1, 1, tzinfo=UTC)
SINCE = micros(START.isoformat())


def stored_event(number: int, tenant: str = "acme") -> Event:
    moment = (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    event = Event(id=f"e{number}", source="/s", type="order", tenantid=tenant, time=moment, receivedtime=moment)
    event.usagein, event.subject = 300, "even" if number % 2 == 0 else "odd"
    event.set_payload(b'{"amount":%d}' % number, None)
    return event


class Clock:
    """Moves only when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 10, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class TestInSqlite(ReplaySuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventStore]:  # type: ignore[override]
        store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
        store.migrate()
        yield store
        store.close()


@dataclass
class Lab:
    registry: Mirror
    store: EventStore
    clock: Clock

    def replay(self, target: Target, **more: Any) -> Replay:
        values = {"since": SINCE, "until": SINCE + 10**12, "first": SINCE, "last": SINCE + 99 * 10**6, **more}
        number = len(self.keys) + 1
        replay = Replay("acme", f"r{number}", values.pop("since"), values.pop("until"), target, **values)
        self.keys.append(replay.id)
        return ReplayLedger(self.registry, self.clock.now).create(replay)

    def __post_init__(self) -> None:
        self.keys: list[str] = []

    def worker(self, outbox: Outbox | None = None, store: EventStore | None = None) -> ReplayWorker:
        store = store or self.store
        takers = Takers(self.registry.get, store, outbox or Outbox(self.registry))
        ledger = ReplayLedger(self.registry, self.clock.now)
        return ReplayWorker(ledger, store, takers, monotonic=self.clock.monotonic, sleep=self.clock.sleep)

    def finish(self, replay: Replay, worker: ReplayWorker | None = None) -> Replay:
        while (worker or self.worker()).work("acme", replay.id):
            pass
        return self.get(replay)

    def get(self, replay: Replay) -> Replay:
        return ReplayLedger(self.registry, self.clock.now).get("acme", replay.id)

    def results(self) -> list[tuple[Event, str]]:
        """Events on RESULTS, each with the consumer that it is for."""

        async def read(client: Client) -> list[tuple[Event, str]]:
            stream = client.jetstream()
            state = (await stream.stream_info("RESULTS")).state
            found = []
            for sequence in range(1, state.last_seq + 1):
                message = await stream.get_msg("RESULTS", seq=sequence)
                headers, body = message.headers or {}, message.data or b""
                if headers.get("Content-Encoding"):
                    body = unpack(body, 10**8)
                events = decode_batch(body)
                assert len(events) == int(headers["Eventrunner-Count"])
                found += [(event, headers.get("Eventrunner-Only", "")) for event in events]
            return found

        return self.registry.run(read)


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def lab(nats: NatsServer, tmp_path: Path) -> Iterator[Lab]:
    """A hundred stored events, the rule set `r` in two versions, the consumer `c`."""
    asyncio.run(_reset(nats.url))
    store = open_store(f"sqlite:///{tmp_path / 'events.db'}")
    store.migrate()
    # Through the engine without rules, as they would have come.
    EventEngine(store, lambda _: None, dict)(Batch(encode_batch([stored_event(number) for number in range(100)])))
    registry = Mirror(nats.url, ("tenants", "rules", "consumers"))
    versions = [RuleVersion(1, RULES.replace("90", "98")), RuleVersion(2, RULES)]
    registry.put("rules", "acme.r", RuleSet("acme", "r", active=2, versions=versions).to_json())
    registry.put("tenants", "acme", Tenant("acme").to_json())
    registry.put("consumers", "acme.c", Consumer("acme", "c").to_json())
    yield Lab(registry, store, Clock())
    registry.close()
    store.close()


async def _reset(url: str) -> None:
    client = await connect(url, name="test")
    api = JetStreamApi(client)
    for stream in ("RESULTS", "KV_replays"):
        with contextlib.suppress(JetStreamError):
            await api.request(f"STREAM.DELETE.{stream}")
    await apply_streams(api, read_streams([STREAMS]))
    await client.close()


TO_RULES, TO_CONSUMER = Target(rules="r", version=2), Target(consumer="c")


class CrashError(BaseException):
    """Of the process: nothing handles it."""


class CrashingOutbox(Outbox):
    """The process dies after it has sent for the n-th time, or before."""

    def __init__(self, registry: Mirror, after: int, *, before: bool) -> None:
        super().__init__(registry)
        self.left, self.before = after, before

    def send(self, tenant: str, replay_id: str, groups: Sequence[Sequence[bytes]], *, only: str = "") -> None:
        self.left -= 1
        if self.before and self.left < 0:
            raise CrashError
        super().send(tenant, replay_id, groups, only=only)
        if self.left < 0:
            raise CrashError


class TestConsumer:
    def test_gets_every_event_once_flagged_and_nobody_else_does(self, lab: Lab) -> None:
        before = [lab.store.get("acme", "/s", f"e{number}") for number in range(100)]
        replay = lab.finish(lab.replay(TO_CONSUMER))
        assert (replay.state, replay.progress, replay.counts.sent) == (State.DONE, 1.0, 100)
        results = lab.results()
        assert [event.id for event, _ in results] == [f"e{number}" for number in range(100)]
        assert {only for _, only in results} == {"acme-c"}
        assert {(event.extensions or {})["replayid"] for event, _ in results} == {replay.id}
        assert {event.usagein for event, _ in results} == {300}
        # The event store is as it was.
        assert [lab.store.get("acme", "/s", f"e{number}") for number in range(100)] == before
        assert lab.store.count("acme") == 100

    def test_gets_the_chosen_ones_only(self, lab: Lab) -> None:
        chosen = {"since": SINCE + 10 * 10**6, "until": SINCE + 20 * 10**6, "filters": [{"exact": {"subject": "odd"}}]}
        replay = lab.finish(lab.replay(TO_CONSUMER, **chosen))
        assert [event.id for event, _ in lab.results()] == ["e11", "e13", "e15", "e17", "e19"]
        assert (replay.counts.read, replay.counts.matched) == (10, 5)
        assert lab.finish(lab.replay(TO_CONSUMER, type="other")).counts.read == 0

    def test_no_faster_than_the_rate(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER, rate=4.0)
        slices = 0
        while lab.worker().work("acme", replay.id):
            slices += 1
            assert 0 < lab.get(replay).progress < 1
        # The last page need not be waited for.
        assert 24 <= lab.clock.seconds <= 25.5
        assert slices == 2
        assert len(lab.results()) == 100

    def test_a_rate_of_less_than_an_event_in_a_lease_keeps_the_lease(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER, rate=0.1, until=SINCE + 2 * 10**6)
        assert lab.worker().work("acme", replay.id)
        assert lab.clock.seconds == pytest.approx(10)
        assert lab.finish(replay).counts.sent == 2

    def test_one_that_is_removed_ends_the_replay_with_the_reason(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER)
        lab.registry.delete("consumers", "acme.c")
        failed = lab.finish(replay)
        assert (failed.state, failed.error) == (State.FAILED, "Tenant acme has no consumer c.")
        assert failed.document()["error"] == failed.error


class TestRules:
    def test_derive_new_events_flagged_and_free_of_usage(self, lab: Lab) -> None:
        replay = lab.finish(lab.replay(TO_RULES))
        counts = replay.counts
        assert (counts.evaluated, counts.derived, counts.known, counts.changed, counts.dropped) == (100, 10, 0, 10, 5)
        assert (counts.fired, counts.emitted) == ({"Big": 10, "Low": 5}, {"alert": 10})
        results = lab.results()
        assert [(event.type, only) for event, only in results] == [("alert", "")] * 10
        for event, _ in results:
            stored = decode_event(lab.store.get(*event.identity) or b"")
            assert stored == event
            assert (event.extensions or {})["replayid"] == replay.id
            assert [getattr(event, name) for name in USAGE_ATTRIBUTES] == [0] * 5
        assert lab.store.count("acme") == 110

    def test_again_change_nothing(self, lab: Lab) -> None:
        lab.finish(lab.replay(TO_RULES))
        again = lab.finish(lab.replay(TO_RULES)).counts
        assert (again.derived, again.known, again.conflicts) == (0, 10, 0)
        assert (len(lab.results()), lab.store.count("acme")) == (10, 110)

    def test_do_not_send_again_what_they_derived_when_the_events_came(self, lab: Lab) -> None:
        record = lab.registry.get("rules", "acme.r")
        assert record is not None
        events = [stored_event(number) for number in range(200, 210)]
        engine = EventEngine(lab.store, lambda _: None, lambda: {"acme.r": record})
        engine(Batch(encode_batch(events)))
        assert lab.store.count("acme") == 120
        counts = lab.finish(lab.replay(TO_RULES, since=SINCE + 200 * 10**6)).counts
        assert (counts.evaluated, counts.derived, counts.known) == (10, 0, 10)
        assert (lab.results(), lab.store.count("acme")) == ([], 120)

    def test_keep_the_version_that_was_asked_for(self, lab: Lab) -> None:
        assert lab.finish(lab.replay(Target(rules="r", version=1))).counts.derived == 2
        assert "no rule set r with a version 3" in lab.finish(lab.replay(Target(rules="r", version=3))).error

    def test_a_changed_rule_of_the_same_name_leaves_what_is_stored(self, lab: Lab) -> None:
        lab.finish(lab.replay(TO_RULES))
        record = lab.registry.get("rules", "acme.r")
        assert record is not None
        rules = RuleSet.from_json(record)
        rules.versions = [*rules.versions, RuleVersion(3, RULES.replace("Out.amount", "Out.total"))]
        lab.registry.put("rules", "acme.r", rules.to_json())
        counts = lab.finish(lab.replay(Target(rules="r", version=3))).counts
        assert (counts.derived, counts.conflicts) == (0, 10)
        assert len(lab.results()) == 10

    def test_that_fail_are_counted_with_examples(self, lab: Lab) -> None:
        text = 'rule Bad { when Event.data.amount > 49 then Emit(1); Retract("Bad"); }'
        lab.registry.put("rules", "acme.bad", RuleSet("acme", "bad", versions=[RuleVersion(1, text)]).to_json())
        replay = lab.finish(lab.replay(Target(rules="bad", version=1)))
        assert (replay.state, replay.counts.failed, len(replay.errors)) == (State.DONE, 50, 10)
        assert replay.errors[0] == {
            "id": "e50",
            "source": "/s",
            "rule": "Bad",
            "message": "Emit takes a string, not an integer",
        }


class TestDryRun:
    def test_says_what_a_replay_would_do_and_does_nothing(self, lab: Lab) -> None:
        dry = lab.finish(lab.replay(TO_RULES, dry_run=True))
        assert (lab.results(), lab.store.count("acme")) == ([], 100)
        real = lab.finish(lab.replay(TO_RULES))
        assert dry.counts == real.counts
        assert dry.counts.derived == 10
        shown = dry.document()["examples"]
        assert len(shown) == 10
        assert shown[0] == {"source": "/s", "id": "e0", "fired": ["Low"], "dropped": "low"}
        known = lab.finish(lab.replay(TO_RULES, dry_run=True)).counts
        assert (known.derived, known.known) == (0, 10)

    def test_counts_what_a_consumer_would_get(self, lab: Lab) -> None:
        assert lab.finish(lab.replay(TO_CONSUMER, dry_run=True, rate=0.1)).counts.sent == 100
        assert lab.results() == []
        assert lab.clock.seconds == 0


class TestCrash:
    @pytest.mark.parametrize("before", [True, False])
    @pytest.mark.parametrize("target", [TO_RULES, TO_CONSUMER])
    def test_at_any_page_loses_and_doubles_nothing(self, lab: Lab, target: Target, before: bool) -> None:
        undisturbed = lab.finish(lab.replay(target, rate=80.0)).counts if target is TO_CONSUMER else None
        replay = lab.replay(target, rate=80.0)
        crashes = 0
        for after in range(6):
            try:
                lab.finish(replay, lab.worker(CrashingOutbox(lab.registry, after, before=before)))
            except CrashError:
                crashes += 1
        assert crashes >= 1
        done = lab.finish(replay)
        sent = [event.id for event, _ in lab.results() if (event.extensions or {})["replayid"] == replay.id]
        assert len(sent) == len(set(sent)) == (100 if target is TO_CONSUMER else 10)
        if undisturbed is not None:
            assert done.counts == undisturbed
        else:
            assert (done.counts.derived, done.counts.known, done.counts.fired["Big"]) == (10, 0, 10)
            assert lab.store.count("acme") == 110

    def test_sends_what_is_stored_even_if_the_rule_looks_at_the_clock(self, lab: Lab) -> None:
        text = 'rule Now { when Event.data.amount > 97 then Out.at = Now(); Emit("now"); Retract("Now"); }'
        lab.registry.put("rules", "acme.now", RuleSet("acme", "now", versions=[RuleVersion(1, text)]).to_json())
        replay = lab.replay(Target(rules="now", version=1))
        with pytest.raises(CrashError):
            lab.worker(CrashingOutbox(lab.registry, 0, before=True)).work("acme", replay.id)
        done = lab.finish(replay)
        assert (done.counts.derived, done.counts.conflicts) == (2, 0)
        for event, _ in lab.results():
            assert lab.store.get(*event.identity) == encode_event(event)
        assert len(lab.results()) == 2

    def test_another_worker_waits_for_the_lease_to_run_out(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER)
        with pytest.raises(CrashError):
            lab.worker(CrashingOutbox(lab.registry, 0, before=True)).work("acme", replay.id)
        assert lab.get(replay).lease is not None
        assert not lab.worker().work("acme", replay.id)
        assert 14 <= lab.clock.seconds <= 16
        assert lab.get(replay).state is State.DONE

    def test_a_lease_of_a_dead_worker_runs_out_although_the_clock_was_set_back(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER)
        with pytest.raises(CrashError):
            lab.worker(CrashingOutbox(lab.registry, 0, before=True)).work("acme", replay.id)
        lab.clock.seconds -= 3600
        before = lab.clock.seconds
        assert lab.finish(replay).counts.sent == 100
        assert lab.clock.seconds - before < 60

    def test_one_that_takes_over_ends_the_slower_one(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER, rate=80.0)

        class SlowOutbox(Outbox):
            def send(self, *args: Any, **kwargs: Any) -> None:
                super().send(*args, **kwargs)
                lab.clock.sleep(60)
                lab.finish(replay)

        assert not lab.worker(SlowOutbox(lab.registry)).work("acme", replay.id)
        assert lab.get(replay).counts.sent == 100
        assert len(lab.results()) == 100

    def test_somebody_who_does_not_let_go_is_told_of(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER)
        ledger = ReplayLedger(lab.registry, lab.clock.now)
        held = ledger.hold("acme", replay.id)
        assert held is not None
        sleep = lab.clock.sleep

        def renew(seconds: float) -> None:
            sleep(seconds)
            held.save()

        worker = lab.worker()
        worker._sleep = renew
        with pytest.raises(Unavailable, match="Somebody else"):
            worker.work("acme", replay.id)

    def test_what_is_away_is_waited_for_and_counts_nothing_twice(self, lab: Lab) -> None:
        class AwayOutbox(Outbox):
            away = True

            def send(self, *args: Any, **kwargs: Any) -> None:
                super().send(*args, **kwargs)
                if AwayOutbox.away:
                    AwayOutbox.away = False
                    raise Unavailable("gone")

        replay, worker = lab.replay(TO_CONSUMER), lab.worker(AwayOutbox(lab.registry))
        with pytest.raises(Unavailable):
            worker.work("acme", replay.id)
        assert (lab.get(replay).state, lab.get(replay).lease, lab.get(replay).counts.sent) == (State.RUNNING, None, 0)
        assert lab.finish(replay, worker).counts.sent == 100
        assert len(lab.results()) == 100


class TestEnd:
    def test_a_cancelled_replay_stops_within_a_page(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER, rate=80.0)

        class CancellingOutbox(Outbox):
            def send(self, *args: Any, **kwargs: Any) -> None:
                super().send(*args, **kwargs)
                ledger = ReplayLedger(lab.registry, lab.clock.now)
                ledger.change("acme", replay.id, lambda record: setattr(record, "state", State.CANCELLED))

        assert not lab.worker(CancellingOutbox(lab.registry)).work("acme", replay.id)
        assert lab.get(replay).state is State.CANCELLED
        assert len(lab.results()) == 20
        assert not lab.worker().work("acme", replay.id)
        assert len(lab.results()) == 20

    def test_a_task_of_a_replay_that_is_not_there_ends(self, lab: Lab) -> None:
        with pytest.raises(NotFound):
            lab.worker().work("acme", "none")
        outcomes = Replayer(lab.worker())(Batch(encode_batch([task_event("acme", "none")])))
        assert outcomes.counts() == {"published": 0, "derived": 0, "dropped": 0, "failed": 0}

    def test_the_function_asks_again_as_long_as_there_is_more(self, lab: Lab) -> None:
        replay, handler = lab.replay(TO_CONSUMER, rate=5.0), Replayer(lab.worker())
        tasks, slices = [task_event("acme", replay.id)], 0
        while tasks:
            tasks = handler(Batch(encode_batch(tasks))).results
            assert tasks in ([], [task_event("acme", replay.id)])
            slices += 1
        assert slices == 2
        assert lab.get(replay).state is State.DONE
        wrong = handler(Batch(encode_batch([stored_event(1)])))
        assert [failure.code for failure in wrong.failures] == [422]

    def test_two_at_once_do_the_work_once(self, lab: Lab) -> None:
        replay = lab.replay(TO_CONSUMER, rate=80.0)
        lab.clock.sleep(1)
        workers = [threading.Thread(target=_quietly(lambda: lab.finish(replay))) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert (lab.get(replay).state, lab.get(replay).counts.sent, len(lab.results())) == (State.DONE, 100, 100)


def _quietly(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        work()

    return run


def test_the_flag_is_written_without_decoding_and_replaces_an_older_one() -> None:
    event = stored_event(1)
    body = flagged(encode_event(event), "new")
    assert decode_event(body).extensions == {"replayid": "new"}
    assert decode_event(flagged(body, "newer")).extensions == {"replayid": "newer"}
    text = Event(id="1", source="/s", type="t", data=stored_event(1).data)
    text.set_payload(b'{"text":"\\"replayid\\""}', None)
    assert decode_event(flagged(encode_event(text), "x")).decoded_data() == {"text": '"replayid"'}
