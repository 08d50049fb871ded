"""Events through a real guest (`tests/guests`), which does what the type of the event says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from eventrunner.errors import Forbidden, InvalidInput, Unavailable
from eventrunner.events import USAGE_TYPE, Event, decode_event, encode_batch
from eventrunner.events.costs import Cost
from eventrunner.events.handed import handed_body
from eventrunner.handlers.consumer_guest import ActiveGuest, Source
from eventrunner.handlers.consumer_messages import subject_of
from eventrunner.handlers.consumer_publishing import MOST_HOPS
from eventrunner.handlers.consumer_run import Item
from eventrunner.handlers.tenant_consumer import TenantConsumer
from eventrunner.stage import Batch, Outcomes
from eventrunner.storage.modules import module_name
from eventrunner.storage.records import Consumer, Limits, StoredModule, Subscription
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Call
from support_guests import component_guest, require_toolchain

RECEIVED = "2026-11-01T00:00:00.000000Z"
PLENTY = Limits(fuel=10**11, milliseconds=30_000)
_cache = ModuleCache(shared_engine())


@pytest.fixture(autouse=True)
def _toolchain() -> None:
    require_toolchain()


@dataclass
class Clock:
    """Moves on when somebody sleeps, and by `step` whenever it is looked at."""

    now: float = 0.0
    step: float = 0.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class OwnSubjects:
    def may_publish(self, tenant: str, subject: str) -> bool:
        return subject.split(".")[:2] in (["results", tenant], ["events", tenant]) and subject.count(".") > 1


@dataclass
class World:
    record: Consumer
    code: bytes | None = None
    keys: dict[str, bytes] = field(default_factory=lambda: {"acme.key": b"its key"})
    clock: Clock = field(default_factory=Clock)
    attempts: list[tuple[str, int, str]] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    stored: bytes = b""

    def __post_init__(self) -> None:
        self.code = component_guest()
        self.write()
        source = Source(lambda: self.stored or None, lambda: self.keys, lambda _: self.code, self._compile)
        guest = ActiveGuest("acme/test", shared_engine(), source)
        self.handler = TenantConsumer(guest, OwnSubjects(), self._attempted, 1024 * 1024, self.clock)

    def write(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.record, name, value)
        self.stored = self.record.to_json()

    def _compile(self, code: bytes, keys: Iterable[bytes]) -> Guest:
        if b"its key" not in keys:
            raise InvalidInput("its key is revoked")
        self.compiled.append(module_name(code))
        return load_guest(shared_engine(), _cache, code)

    def _attempted(self, item: Item, call: Call, problem: str) -> None:
        self.attempts.append((item.event.id, item.attempts, problem))

    def handle(self, *events: Event) -> Outcomes:
        return self.handler(Batch(encode_batch(events)))


@pytest.fixture
def world() -> World:
    code = component_guest()
    module = StoredModule(module_name(code), len(code), "component", [], [])
    return World(Consumer("acme", "test", module=module, limits=PLENTY))


def event(id: str, type: str, data: Any = None, **attributes: Any) -> Event:
    made = Event(id=id, source="/s", type=type, tenantid="acme", receivedtime=RECEIVED)
    if data is not None:
        made.set_payload(json.dumps(data).encode(), None)
    for name, value in attributes.items():
        made.set_extension(name, value)
    return made


def kinds(outcomes: Outcomes) -> list[tuple[str, str]]:
    records = [json.loads(bytes(item.data)) for item in outcomes.usage]
    return [(record["subject_id"], record["kind"]) for record in records]


def failures(outcomes: Outcomes) -> list[tuple[str, int, str]]:
    return [(failure.event.id, failure.code, failure.reason) for failure in outcomes.failures]


def test_the_body_is_the_event_without_what_the_platform_counted() -> None:
    sent = event("1", "order", {"usagein": 5}, region="eu")
    sent.usagein, sent.usageout, sent.usagecpu, sent.usagemem, sent.usagerules = 1, 2, 3, 4, 5
    body = json.loads(handed_body(sent))
    assert body == {
        "id": "1",
        "source": "/s",
        "type": "order",
        "specversion": "1.0",
        "tenantid": "acme",
        "receivedtime": RECEIVED,
        "data": {"usagein": 5},
        "region": "eu",
    }


def test_a_subject_is_one_that_nats_takes() -> None:
    assert subject_of("results", "acme", "order.paid") == "results.acme.order.paid"
    assert subject_of("events", "acme", "a b.*..>\t") == "events.acme.a_b._._.__"


def test_what_is_published_is_a_new_event_that_says_where_it_comes_from(world: World) -> None:
    cause = event("1", "echo", {"n": 1}, causehops=2, replayid="r")
    cause.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    outcomes = world.handle(cause)
    (made,) = outcomes.derived
    assert made.id not in ("", "1")
    assert (made.source, made.type, made.json_data) == ("/s", "echo", b'{"n": 1}')
    assert (made.receivedtime, made.traceparent) == (RECEIVED, cause.traceparent)
    assert made.extensions == {
        "causeid": "1",
        "causeconsumer": "test",
        "causehops": 3,
        "afterrules": True,
        "replayid": "r",
    }


def test_a_redelivery_publishes_the_same_events_and_uses_the_same(world: World) -> None:
    first, second = (world.handle(event("1", "echo"), event("2", "publish-times")) for _ in range(2))
    assert [item.id for item in first.derived] == [item.id for item in second.derived]
    assert [item.id for item in first.usage] == [item.id for item in second.usage]
    assert len({item.id for item in first.derived + first.usage}) == 3


def test_bytes_that_are_no_event_are_wrapped_into_one(world: World) -> None:
    (made,) = world.handle(event("1", "count")).derived
    assert (made.source, made.type, made.json_data, made.datacontenttype) == ("/s", "count", b"1", "application/json")


def test_an_event_of_a_replay_is_on_no_bill(world: World) -> None:
    assert kinds(world.handle(event("1", "echo", replayid="r"), event("2", "echo"))) == [("2", "handled")]


def test_an_error_is_tried_three_times_and_is_then_a_dead_letter_with_its_text(world: World) -> None:
    outcomes = world.handle(event("1", "refuse"), event("2", "echo"), event("3", "trap"))
    (refused, trapped) = failures(outcomes)
    assert refused[:2] == ("1", 422)
    assert decode_event(refused[2].encode()).id == "1"
    assert trapped[:2] == ("3", 500)
    assert "unreachable" in trapped[2]
    assert [attempt[:2] for attempt in world.attempts] == [
        ("1", 1),
        ("2", 1),
        ("3", 1),
        ("1", 2),
        ("3", 2),
        ("1", 3),
        ("3", 3),
    ]
    assert world.clock.slept == [0.05, 0.2]
    assert kinds(outcomes) == [("1", "failed"), ("2", "handled"), ("3", "failed")]


def test_an_ordered_consumer_is_not_handed_the_next_event_before_this_one_is_settled(world: World) -> None:
    world.write(subscription=Subscription(ordered=True))
    world.handle(event("1", "trap"), event("2", "echo"))
    assert [attempt[:2] for attempt in world.attempts] == [("1", 1), ("1", 2), ("1", 3), ("2", 1)]


@pytest.mark.parametrize(
    ("type", "limits", "code", "reason"),
    [
        ("loop", Limits(fuel=1_000_000, milliseconds=30_000), 504, "over the limit fuel = 1000000"),
        ("loop", Limits(fuel=10**11, milliseconds=10), 504, "over the limit milliseconds = 10"),
        ("bomb", Limits(milliseconds=30_000, memory_bytes=1024 * 1024), 507, "over the limit memory_bytes = 1048576"),
        ("echo", Limits(milliseconds=30_000, output_bytes=10), 413, "over the limit output_bytes = 10"),
    ],
)
def test_what_is_over_a_limit_is_a_dead_letter_that_names_it(
    type: str, limits: Limits, code: int, reason: str, world: World
) -> None:
    world.write(limits=limits)
    assert failures(world.handle(event("1", type))) == [("1", code, reason)]


def test_what_is_published_elsewhere_fails_and_says_where_it_may_be(world: World) -> None:
    # It has nowhere to answer to.
    ((_, code, reason),) = failures(world.handle(event("1", "answer")))
    may = "may publish only to events.acme.<type> or results.acme.<type>"
    assert (code, reason) == (422, f"published to ''; a consumer of acme {may}")


def test_an_event_may_not_come_through_consumers_for_ever(world: World) -> None:
    last, beyond = event("1", "echo", causehops=MOST_HOPS - 1), event("2", "echo", causehops=MOST_HOPS)
    outcomes = world.handle(last, beyond)
    assert [item.extensions["causeid"] for item in outcomes.derived if item.extensions] == ["1"]
    ((id, code, _),) = failures(outcomes)
    assert (id, code) == ("2", 508)
    assert [attempt[:2] for attempt in world.attempts] == [("1", 1), ("2", 1)]


def test_events_of_another_tenant_are_handed_to_nobody(world: World) -> None:
    foreign = event("1", "echo")
    foreign.tenantid = "globex"
    with pytest.raises(Forbidden):
        world.handle(event("2", "echo"), foreign)
    assert world.attempts == []


def test_an_empty_batch_makes_sure_that_the_guest_can_run(world: World) -> None:
    assert world.handle() == Outcomes()
    assert len(world.compiled) == 1


def test_a_module_that_does_not_compile_lets_its_events_wait_until_it_does(world: World) -> None:
    good, world.code = world.code, b"\0asm\1\0\0\0junk"
    with pytest.raises(Unavailable, match="cannot run") as raised:
        world.handle()
    assert raised.value.retry_after
    world.code = good
    world.write(updated="later")
    assert world.handle(event("1", "echo")).derived


def test_a_revoked_key_stops_the_consumer_and_a_new_one_lets_it_run_on(world: World) -> None:
    world.handle(event("1", "echo"))
    world.keys = {"globex.key": b"its key"}
    with pytest.raises(Unavailable, match="revoked"):
        world.handle(event("2", "echo"))
    world.keys = {"acme.other": b"its key"}
    assert world.handle(event("2", "echo")).derived


def test_keys_of_other_tenants_and_what_changes_nothing_load_nothing_anew(world: World) -> None:
    world.write(instance="reuse")
    counts = []
    for moment in ("now", "later", "last"):
        world.write(updated=moment)
        world.keys = world.keys | {f"globex.{moment}": b"x"}
        (made,) = world.handle(event("1", "count")).derived
        counts.append(made.json_data)
    assert counts == [b"1", b"2", b"3"]
    assert len(world.compiled) == 1


def test_changed_limits_are_in_force_at_once(world: World) -> None:
    assert world.handle(event("1", "echo")).derived
    world.write(limits=Limits(milliseconds=30_000, output_bytes=10))
    assert failures(world.handle(event("2", "echo")))


def test_a_consumer_that_is_gone_lets_its_events_wait(world: World) -> None:
    world.handle(event("1", "echo"))
    world.stored = b""
    with pytest.raises(Unavailable, match="no consumer acme/test"):
        world.handle(event("2", "echo"))


def test_a_request_ends_in_time_with_the_first_events(world: World) -> None:
    world.clock.step = 1.0
    outcomes = world.handle(*(event(str(number), "echo") for number in range(30)))
    assert outcomes.handled is not None
    assert 0 < outcomes.handled < 15
    assert kinds(outcomes) == [(str(number), "handled") for number in range(outcomes.handled)]


def test_the_first_event_is_always_settled_and_nothing_behind_it_is_begun_again(world: World) -> None:
    world.clock.step = 6.0
    outcomes = world.handle(event("1", "trap"), event("2", "trap"), event("3", "echo"))
    assert outcomes.handled == 1
    assert kinds(outcomes) == [("1", "failed")]


def test_a_reply_is_not_much_larger_than_a_stream_takes(world: World) -> None:
    events = [event(str(number), "echo", "x" * 1_000_000) for number in range(8)]
    outcomes = world.handle(*events)
    assert outcomes.handled == 5
    assert len(outcomes.derived) == 5


def test_usage_adds_up_over_the_attempts(world: World) -> None:
    (once,) = world.handle(event("1", "work", 5)).usage
    (thrice,) = world.handle(event("2", "trap")).usage
    record, failed = json.loads(bytes(once.data)), json.loads(bytes(thrice.data))
    assert once.type == USAGE_TYPE
    assert record["consumer"] == "test"
    assert min(record[name] for name in ("fuel", "usagein", "usagecpu", "usagemem")) > 0
    assert failed["fuel"] > 0
    assert failed["usageout"] == 0


def test_the_reply_of_a_handled_event_has_no_share_of_the_cost_of_the_batch(world: World) -> None:
    outcomes: Outcomes = world.handle(event("1", "echo"), event("2", "refuse"))
    reply: Sequence[Event] = outcomes.to_events("tenant-consumer", Cost(cpu=5, memory=5))
    assert [(item.type, item.usagecpu) for item in reply] == [
        ("echo", 0),
        (USAGE_TYPE, 0),
        (USAGE_TYPE, 0),
        ("refuse", 0),
    ]
    assert reply[-1].extensions is not None
    assert reply[-1].extensions["knativeerrorcode"] == 422
