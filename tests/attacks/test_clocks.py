"""Pollables cost the guest its own time and a bounded number of handles."""

from __future__ import annotations

import pytest
from eventrunner.storage.records import Limits
from eventrunner.wasm.outcomes import Handled, Limit, OverLimit, Trapped

from tests.component_texts import run, written

LONG = Limits(fuel=10**11, milliseconds=30_000)
BEFORE = """
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $p (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))
  (core func $polled (canon lower (func $poll "poll")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
"""
GIVEN = """(with "libc" (instance $libc)) (with "h" (instance (export "subscribe" (func $subscribe))
  (export "poll" (func $polled)) (export "block" (func $block)) (export "drop" (func $drop))))"""
MEMBERS = """
  (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "h" "poll" (func $poll (param i32 i32 i32)))
  (import "h" "block" (func $block (param i32)))
  (import "h" "drop" (func $drop (param i32)))
  (import "libc" "memory" (memory 1))
"""


def clock(body: str) -> bytes:
    return written(BEFORE, body, GIVEN, MEMBERS)


def polling(count: int) -> bytes:
    """The same moment so many times."""
    return clock(f"""(local $at i32) (local $moment i32)
      (local.set $moment (call $subscribe (i64.const 1)))
      (loop $l
        (i32.store offset=8192 (i32.mul (local.get $at) (i32.const 4)) (local.get $moment))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $at) (i32.const {count}))))
      (call $poll (i32.const 8192) (i32.const {count}) (i32.const 64))""")


def test_a_pollable_that_is_dropped_makes_room() -> None:
    body = """(local $left i32) (local.set $left (i32.const 2000))
      (loop $l (call $drop (call $subscribe (i64.const 1)))
        (br_if $l (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"""
    assert run(clock(body), LONG).outcome == Handled()


@pytest.mark.parametrize(("count", "told"), [(0, "poll of an empty list"), (1_001, "at most 1000 are looked at")])
def test_a_list_of_too_many_or_no_pollables_traps(count: int, told: str) -> None:
    outcome = run(
        clock("(call $poll (i32.const 0) (i32.const 0) (i32.const 64))") if not count else polling(count), LONG
    )
    assert isinstance(outcome.outcome, Trapped)
    assert told in outcome.outcome.text


def test_a_thousand_pollables_are_polled() -> None:
    assert run(polling(1_000), LONG).outcome == Handled()


@pytest.mark.parametrize("handle", [0, 7, -1, 1_000_000])
def test_a_handle_that_is_none_traps(handle: int) -> None:
    for body in (f"(call $block (i32.const {handle}))", f"(call $drop (i32.const {handle}))"):
        assert "unknown handle index" in str(run(clock(body), LONG).outcome)


def test_sleeping_again_and_again_ends_with_the_time() -> None:
    body = "(loop $l (call $block (call $subscribe (i64.const 1000000))) (br $l))"
    assert run(clock(body), Limits(milliseconds=100)).outcome == OverLimit(Limit.TIME, 100)


def test_the_largest_durations_are_no_way_around() -> None:
    for duration in (-1, 2**63 - 1, 2**62):
        body = f"(call $block (call $subscribe (i64.const {duration})))"
        assert run(clock(body), Limits(milliseconds=50)).outcome == OverLimit(Limit.TIME, 50)
