"""Which faults come in which order, and how late events may be after them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any, ClassVar

import pytest

from tests.pipeline.faults.catalogue import rounds
from tests.pipeline.faults.faults import GATEWAY, SERVERS, Fault, Kill, KillCassandra, NotPossible
from tests.pipeline.faults.probe import Stuck
from tests.pipeline.faults.project import ROOT, project_parts
from tests.pipeline.faults.proxy import MISBEHAVIOURS
from tests.pipeline.faults.recovery import ASKED, Struck, Yardstick, cold_start
from tests.pipeline.faults.scheduler import Scheduler

_FUNCTIONS = {path.parent.name.replace("_", "-") for path in (ROOT / "functions").glob("*/main.py")}
# No service of the base: there is one for each consumer that a tenant has deployed, and the load here has none.
_FUNCTIONS.remove("tenant-consumer")


_PARTS = project_parts()


def _rounds(count: int, seed: int = 1) -> list[list[Fault]]:
    return list(islice(rounds(_PARTS, Random(seed)), count))


def test_every_function_and_every_server_is_killed_in_every_round() -> None:
    for faults in _rounds(3):
        kinds = {fault.kind for fault in faults}
        assert {f"kill -9 {part}" for part in (*_FUNCTIONS, *SERVERS)} <= kinds
        assert {f"stream {name} full" for name in ("RAW", "EVENTS", "RESULTS", "USAGE", "DEADLETTER")} <= kinds
        assert {f"sink {how}" for how in MISBEHAVIOURS} <= kinds
        assert {"deploy everything anew", "kill -9 everything", "kill -9 Cassandra", "clock jumps"} <= kinds


def test_each_kind_comes_once_before_any_comes_twice() -> None:
    first, second = _rounds(2)
    assert max(Counter(fault.kind for fault in first).values()) == 1
    assert {fault.kind for fault in first} == {fault.kind for fault in second}
    assert [fault.kind for fault in first] != [fault.kind for fault in second]


def test_the_order_follows_from_the_seed() -> None:
    assert _rounds(2, seed=7) == _rounds(2, seed=7)
    assert _rounds(2, seed=7) != _rounds(2, seed=8)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("SIGTERM of a function", {*_PARTS.functions}),
        ("kill -9 of what writes to a full stream", {*_PARTS.streams}),
        ("SIGSTOP for 12 s", {*_PARTS.functions, *SERVERS, GATEWAY}),
        *((f"sink {how}", {*_PARTS.sinks}) for how in MISBEHAVIOURS),
    ],
)
def test_over_the_rounds_a_kind_strikes_every_part(kind: str, parts: set[str]) -> None:
    struck = [fault.detail for faults in _rounds(len(parts)) for fault in faults if fault.kind == kind]
    assert sorted(struck) == sorted(parts)


@dataclass
class _Note:
    """A fault that only says that it came."""

    kind: str
    came: list[str]
    detail: str = ""
    why_missing: str = ""
    refusals: int = 0
    single: ClassVar[bool] = True
    starts_anew: ClassVar[bool] = True
    limit: ClassVar[float] = 15.0

    def missing(self, world: object) -> str:
        return self.why_missing

    async def strike(self, world: object, random: Random) -> float:
        if self.refusals:
            self.refusals -= 1
            raise NotPossible(f"{self.kind} sleeps")
        self.came.append(self.kind)
        return time.monotonic()


@dataclass
class _Play:
    came: list[str] = field(default_factory=list)
    way: float = 0.0
    cold: float = 0.0

    def scheduler(self, faults: list[_Note], seconds: float, **more: Any) -> Scheduler:
        async def pass_through() -> None:
            await asyncio.sleep(self.way)

        async def measure() -> float:
            return self.cold

        world: Any = None
        yardstick = Yardstick(way=0.0, cold=0.0, measure=measure)
        notes = iter(lambda: list(faults), None)
        arguments = {"pass_through": pass_through, "yardstick": yardstick, **more}
        return Scheduler(world, notes, random=_Hurried(), seconds=seconds, **arguments)


class _Hurried(Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


def test_a_round_is_finished_if_that_is_asked_for() -> None:
    play = _Play(way=0.01)
    faults = [_Note(f"{number}", play.came) for number in range(20)]
    asyncio.run(play.scheduler(faults, seconds=0.05, whole_round=True).run())
    assert play.came == [f"{number}" for number in range(20)]


def test_a_run_that_ends_early_says_what_did_not_come_and_why() -> None:
    play = _Play(way=0.02)
    faults = [_Note("first", play.came), _Note("never", play.came, why_missing="there is none")]
    faults += [_Note(f"{number}", play.came) for number in range(20)]
    scheduler = play.scheduler(faults, seconds=0.1)
    asyncio.run(scheduler.run())
    assert scheduler.skipped["never"] == "there is none"
    assert scheduler.skipped["19"] == "the run was over before its turn came"
    assert "first" not in scheduler.skipped


def test_what_does_not_run_just_then_is_tried_again_later_in_the_round() -> None:
    play = _Play()
    faults = [_Note("sleepy", play.came, refusals=2), _Note("other", play.came), _Note("dead", play.came, refusals=99)]
    scheduler = play.scheduler(faults, seconds=0.0, whole_round=True)
    asyncio.run(scheduler.run())
    assert play.came == ["other", "sleepy"]
    assert scheduler.skipped == {"dead": "tried 5 times: dead sleeps"}


def test_the_fault_after_which_nothing_comes_through_is_named() -> None:
    async def stuck() -> None:
        raise Stuck("nothing comes")

    play = _Play()
    scheduler = play.scheduler([_Note("end", play.came, "of it")], seconds=1.0, pass_through=stuck)
    with pytest.raises(Stuck, match=r"after end of it, 0\.\d s from the start: nothing comes"):
        asyncio.run(scheduler.run())


def test_recovery_is_measured_from_the_end_of_the_fault_to_the_event_that_came_through() -> None:
    play = _Play(way=0.2)
    scheduler = play.scheduler([_Note("kill", play.came)], seconds=0.0, whole_round=True)
    asyncio.run(scheduler.run())
    (struck,) = scheduler.struck
    assert 0.2 <= struck.recovery < 1
    assert not struck.is_late


@pytest.mark.parametrize(
    ("starts_anew", "cold", "now", "allowed"),
    [
        (True, 0.3, 0.3, 5.0),
        (True, 1.0, 0.5, 7.0),
        (True, 1.0, 2.0, 10.0),
        (True, 0.3, 20.0, 64.0),
        (False, 0.3, 0.3, 15.0),
        (False, 0.3, 2.0, 30.0),
    ],
)
def test_a_slow_machine_is_given_more_time(starts_anew: bool, cold: float, now: float, allowed: float) -> None:
    async def measure() -> float:
        return now

    yardstick = Yardstick(0.5, cold, measure)
    assert asyncio.run(yardstick.allowed(ASKED + 0.1, 15.0, starts_anew=starts_anew)) == allowed


def test_nothing_is_measured_after_a_recovery_within_the_figure() -> None:
    async def measure() -> float:
        raise AssertionError

    assert asyncio.run(Yardstick(0.5, 0.3, measure).allowed(ASKED, 15.0, starts_anew=True)) == 15.0


def test_an_event_that_comes_after_the_time_allowed_is_late() -> None:
    struck = Struck("kill -9 api", "", 3.0, recovery=5.1, allowed=5.0, single=True)
    assert struck.is_late
    assert str(struck) == "kill -9 api at 3.0 s: events flowed after 5.10 s, 5.00 s are allowed"


def test_a_cold_start_takes_time() -> None:
    assert 0.05 < asyncio.run(cold_start()) < 30


def test_what_nothing_asks_on_one_machine_is_not_tried() -> None:
    world: Any = None
    missing = {fault.kind: fault.missing(world) for fault in _rounds(1)[0] if isinstance(fault, Kill)}
    assert {kind for kind, why in missing.items() if why} == {"kill -9 authorizer"}
    assert {*_PARTS.functions, *_PARTS.idle} == _FUNCTIONS


def test_on_sqlite_there_is_no_cassandra_to_kill() -> None:
    world: Any = type("World", (), {"node": None})
    assert KillCassandra().missing(world) == "the event store is SQLite"
