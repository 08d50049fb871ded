"""A guest is stopped, or its trap told, at each place where its code runs: not only in its handler."""

from __future__ import annotations

import pytest
import wasmtime
from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.outcomes import Call, Handled, Limit, Message, OverLimit, Trapped

from tests.attacks.components import guest
from tests.component_texts import load

FUEL = Limits(fuel=1_000_000, milliseconds=30_000)
TIME = Limits(fuel=10**12, milliseconds=50)
PLACES = {
    "start": {"start": "ATTACK"},
    "realloc for what it is given": {"realloc": "ATTACK"},
    "realloc for what it asked for": {"realloc": "(if (global.get $asked) (then ATTACK))", "handle": "(call $random)"},
    "handler": {"handle": "ATTACK"},
    "after a publish": {"handle": "(call $publish) ATTACK"},
    "post-return": {"post": "ATTACK"},
    "post-return of an error": {"handle": "(i32.store8 (i32.const 64) (i32.const 1))", "post": "ATTACK"},
}


def attacked(place: str, attack: str) -> bytes:
    return guest(**{part: text.replace("ATTACK", attack) for part, text in PLACES[place].items()})


def call(code: bytes, limits: Limits, times: int = 1) -> Call:
    """The last one of an instance that is used again if it may be."""
    host = Host(shared_engine(), load(code), limits, "reuse")
    for _ in range(times):
        done = host.handle(Message("results.acme.any", b"body"))
    return done


def test_the_guest_that_is_attacked_with_works() -> None:
    done = call(guest(handle="(call $random) (call $publish)"), Limits(), 3)
    assert done.outcome == Handled()
    assert done.published == (Message("a", b""),)


@pytest.mark.parametrize("place", PLACES)
def test_an_endless_loop_ends_everywhere(place: str) -> None:
    code = attacked(place, "(loop $l (br $l))")
    assert call(code, FUEL).outcome == OverLimit(Limit.FUEL, 1_000_000)
    assert call(code, TIME).outcome == OverLimit(Limit.TIME, 50)


@pytest.mark.parametrize("place", PLACES)
def test_a_trap_is_told_everywhere_and_nothing_is_published(place: str) -> None:
    done = call(attacked(place, "unreachable"), Limits(), 2)
    assert isinstance(done.outcome, Trapped)
    assert "unreachable" in done.outcome.text
    assert done.published == ()


@pytest.mark.parametrize("place", PLACES)
def test_recursion_ends_everywhere(place: str) -> None:
    done = call(attacked(place, "(call $recurse (i32.const 0))"), Limits())
    assert isinstance(done.outcome, Trapped)
    assert "call stack exhausted" in done.outcome.text


@pytest.mark.parametrize("place", PLACES)
def test_memory_is_bounded_everywhere(place: str) -> None:
    grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"
    limits = Limits(memory_bytes=4 * 1024 * 1024)
    done = call(attacked(place, grow), limits)
    assert done.outcome == OverLimit(Limit.MEMORY, limits.memory_bytes)
    assert done.spent.memory_bytes <= limits.memory_bytes


@pytest.mark.parametrize(
    "place", ["realloc for what it is given", "realloc for what it asked for", "post-return", "start"]
)
@pytest.mark.parametrize("function", ["$random", "$publish"])
def test_the_host_cannot_be_called_while_it_is_calling(place: str, function: str) -> None:
    """A start function may call it: nobody waits for an answer then."""
    done = call(attacked(place, f"(call {function})"), Limits())
    if place == "start":
        assert done.outcome == Handled()
    else:
        assert isinstance(done.outcome, Trapped)
        assert "cannot leave component instance" in done.outcome.text


def test_memory_cannot_be_filled_past_its_end_by_data_or_bulk_operations() -> None:
    for attack in (
        "(memory.fill (i32.const 65000) (i32.const 1) (i32.const 1000000))",
        "(memory.copy (i32.const 65000) (i32.const 0) (i32.const 1000000))",
        "(memory.copy (i32.const 0) (i32.const -1) (i32.const 2))",
        "(i64.store (i32.const -4) (i64.const 1))",
    ):
        assert "out of bounds memory access" in str(call(attacked("handler", attack), Limits()).outcome)


def test_data_outside_of_the_memory_are_told_at_the_start() -> None:
    text = '(core module $evil (memory 1) (data (i32.const 65530) "0123456789")) (core instance (instantiate $evil))'
    outcome = call(guest(before=text), Limits()).outcome
    assert "out of bounds memory access" in str(outcome)


def test_many_instances_are_refused() -> None:
    text = "(core module $one (func))" + "(core instance (instantiate $one))" * 200
    assert "instance count too high" in str(call(guest(before=text), Limits()).outcome)


def test_many_memories_are_refused() -> None:
    module = f"(core module $many {'(memory 0)' * 51})"
    text = module + "(core instance (instantiate $many))" * 2
    assert "memory count too high" in str(call(guest(before=text), Limits()).outcome)


def test_handles_of_resources_are_bounded() -> None:
    before = "(type $mine (resource (rep i32))) (core func $new (canon resource.new $mine))"
    outcome = call(
        guest(
            before=before,
            given='(export "new" (func $new))',
            members='(import "h" "new" (func $new (param i32) (result i32)))',
            handle="(loop $l (drop (call $new (i32.const 1))) (br $l))",
        ),
        Limits(fuel=10**11, milliseconds=30_000),
    ).outcome
    assert "store handle limit exceeded" in str(outcome)


@pytest.mark.parametrize(
    "builtin",
    [
        "waitable-set.new",
        "task.cancel",
        "thread.available_parallelism",
        "thread.yield",
        "backpressure.inc",
        "context.get i32 0",
        "error-context.drop",
    ],
)
def test_threads_and_waiting_are_not_to_be_had(builtin: str) -> None:
    with pytest.raises(InvalidInput, match="does not compile"):
        load(bytes(wasmtime.wat2wasm(f"(component (core func (canon {builtin})))")))
